"""Which layers of a model bear quantization, and what it saves in each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tfopt.quantization.calibration_data import random_samples
from tfopt.quantization.conversion import prepare, unroll_if_better
from tfopt.quantization.sensitivity import PRECISIONS, Sensitivity, measure
from tfopt.recipe.export import Export


@dataclass(frozen=True)
class QuantizationSensitivity:
    """What quantizing each layer alone costs.

    Args:
        layers: Every layer at every precision that it has, the least error per byte saved first.
        notes: What had to be done to the model before, such as unrolling its loops.
    """

    layers: tuple[Sensitivity, ...]
    notes: tuple[str, ...]


def rank_layers(
    model: keras.Model,
    calibration: Any = None,
    *,
    precisions: Sequence[str] = PRECISIONS,
    part: Callable[[float], Any] = lambda done: None,
) -> QuantizationSensitivity:
    """Quantizes each layer alone, weights and activations, and holds the file on LiteRT against the float one.

    Args:
        model: A built model.
        calibration: Representative inputs, as `convert` takes them; random ones stand in where there are none, which
            shows how it works and no ranking that counts.
        precisions: Those to try, of `int8` and `int4`. A layer that has no form at one is left out at that one.
        part: Is called with the fraction that is done, 0-1.

    Raises:
        InputError: Samples that do not fit the model.
        ConversionError: The model cannot be converted, or the float file gives something else than Keras.

    Example:
        ```python
        for line in tfopt.quantization.rank_layers(model, x[:200]).layers:
            print(line.group.name, line.precision, line.error, line.bytes_saved)
        ```
    """
    samples = random_samples(model) if calibration is None else calibration
    prepared = unroll_if_better(prepare(model, Export(mode="int8"), samples))
    return QuantizationSensitivity(tuple(measure(prepared, precisions, part)), prepared.notes)
