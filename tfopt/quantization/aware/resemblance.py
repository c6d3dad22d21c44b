"""How closely a file's outputs agree with those of the model that was trained to compute as the file will."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfopt.metrics import compare_outputs
from tfopt.models import signature
from tfopt.tflite.interpreter import Runner


@dataclass(frozen=True)
class Resemblance:
    """How closely a file's outputs agree with those of the model in quantization-aware training.

    Args:
        steps: Largest difference of an output, in steps of the output's scale; where the output is not quantized, in
            units of 1/255 of its range.
        agreement: Fraction of samples, 0-1, with the same largest output; 1 for outputs of one value.
    """

    steps: float
    agreement: float


def resemblance(model: keras.Model, content: bytes, samples: Any) -> Resemblance:
    """How close a file is to a model that computes on the file's grids.

    Args:
        model: The model, as it computes in training.
        content: Bytes of the file.
        samples: Inputs `(samples, ...)`, or a dict of such arrays.
    """
    runner = Runner(content)
    taken = samples if isinstance(samples, Mapping) else {next(iter(runner.inputs)): samples}
    outputs = signature.call(model, taken)
    ours = {name: np.asarray(keras.ops.convert_to_numpy(value)) for name, value in outputs.items()}
    theirs = runner(dict(taken))
    steps, agreement = 0.0, 1.0
    for (name, mine), detail in zip(ours.items(), runner.outputs.values(), strict=True):
        step = float(detail["quantization"][0]) or max(float(np.ptp(mine)), 1e-9) / 255
        steps = max(steps, float(np.abs(mine - theirs[name]).max()) / step)
        agreement = min(agreement, compare_outputs({name: mine}, {name: theirs[name]}).get("agreement", 1.0))
    return Resemblance(steps, agreement)
