"""Random samples that stand in for a model's data, to try a recipe on that has none yet."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfopt.drafting.model_facts import ModelFacts
from tfopt.drafting.task import Task, task_of
from tfopt.errors import ModelError

SAMPLES = 40


def stand_in(model: Any, facts: ModelFacts) -> Any:
    """Random samples of a model, to try a recipe on."""
    from tfopt.data.splits import Data, Split
    from tfopt.models import signature
    from tfopt.quantization.calibration_data import random_samples

    x = random_samples(model, SAMPLES)
    if x is None:
        raise ModelError("the model does not know its inputs. Give samples: --data.", ("model",))
    inputs = x if len(x) > 1 else next(iter(x.values()))
    scores = signature.keras_outputs(model, inputs)
    y = {one.name: _random_targets(task_of(one, None, scores[one.name]), scores[one.name]) for one in facts.outputs}
    split = Split(inputs, y if len(y) > 1 else next(iter(y.values())))
    return Data(split, split, split)


def _random_targets(task: Task, scores: np.ndarray) -> np.ndarray:
    """Targets of the kind that an output has, for as many samples as there are scores."""
    generator = np.random.default_rng(0)
    if task.of_values:
        return generator.random(scores.shape, dtype=np.float32)
    if task.targets in ("binary", "multi-hot"):
        return generator.integers(0, 2, scores.shape).astype(np.float32)
    ids = generator.integers(0, task.classes, scores.shape[:-1])
    return ids if task.targets == "ids" else np.eye(task.classes, dtype=np.float32)[ids]
