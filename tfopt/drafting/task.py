"""What an output is trained for and scored by: found from the model's head and, where there are some, its targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tfopt.drafting.model_facts import OutputFacts
from tfopt.errors import DataError

Targets = Literal["ids", "one-hot", "multi-hot", "binary", "values"]
_LOGITS = {"from_logits": True}
_SPARSE, _CATEGORICAL, _BINARY = "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"
# Samples on which outputs are told from probabilities.
LOOKED_AT = 64


@dataclass(frozen=True)
class Task:
    """What an output is for.

    Args:
        output: The name of the output.
        targets: The kind of its targets.
        loss: A loss as a recipe has it; None where the model was compiled with one.
        classes: Number of classes; 0 where the targets are values.
        guessed: Whether neither targets nor a loss say what the targets are, but the shape of the output alone.
        threshold: The score above which it is a yes, of outputs that are each one or none.
    """

    output: str
    targets: Targets
    loss: Any
    classes: int = 0
    guessed: bool = False
    threshold: float = 0.5

    @property
    def of_values(self) -> bool:
        """Whether the targets are measured values, and no classes."""
        return self.targets == "values"

    @property
    def described(self) -> str:
        """The task in words."""
        if self.targets == "ids":
            return f"one of {self.classes} classes, by id"
        if self.targets == "one-hot":
            return f"one of {self.classes} classes, one-hot"
        if self.targets == "multi-hot":
            return f"any of {self.classes} labels"
        return "yes or no" if self.targets == "binary" else "values"


def task_of(output: OutputFacts, y: np.ndarray | None, scores: np.ndarray | None = None) -> Task:
    """The task of an output.

    Args:
        output: What the model tells of it.
        y: Its targets `(samples, ...)`; None where there are none.
        scores: What the model gives for some samples, `(samples, ...)`, to know an activation that is not known.

    Raises:
        DataError: The targets are neither classes of the output nor as many values as it gives.
    """
    activation = output.activation or _activation(scores)
    targets = _kind(output, y) if y is not None else _expected(output, activation)
    if y is not None and targets == "values":
        _check_values(output, y)
    guessed = y is None and output.loss is None and activation == "linear"
    classes = 0 if targets == "values" else max(output.width, 2)
    loss = None if _takes(output.loss, targets) else _loss(targets, activation)
    return Task(output.name, targets, loss, classes, guessed, 0.0 if activation == "linear" else 0.5)


def _takes(loss: str | None, targets: Targets) -> bool:
    """Whether the loss that an output was compiled with takes targets of a kind."""
    if loss is None:
        return False
    refused = {"ids": _CATEGORICAL, "one-hot": _SPARSE}.get(targets)
    return refused is None or not loss.startswith(refused.removesuffix("crossentropy"))


def _activation(scores: np.ndarray | None) -> str:
    """The activation that outputs look like."""
    if scores is None or not scores.size or scores.min() < 0 or scores.max() > 1.001:
        return "linear"
    several = scores.ndim > 1 and scores.shape[-1] > 1
    return "softmax" if several and np.allclose(scores.sum(axis=-1), 1, atol=1e-3) else "sigmoid"


def _kind(output: OutputFacts, y: np.ndarray) -> Targets:
    """What targets are, by their values and their shape beside the output's."""
    from tfopt.metrics.decision import multi_hot

    whole = y.dtype.kind in "iub" or bool((y % 1 == 0).all())
    flat = y[..., 0] if y.ndim == len(output.shape) + 1 and y.shape[-1] == 1 else y
    if output.width == 1:
        return "binary" if np.isin(y, (0, 1)).all() and _as_many(output, y) else "values"
    if whole and flat.ndim == len(output.shape) and flat.min() >= 0 and flat.max() < output.width:
        return "ids"
    if y.shape[-1:] != (output.width,) or not np.isin(y, (0, 1)).all():
        return "values"
    return "multi-hot" if multi_hot(y) else "one-hot"


def _as_many(output: OutputFacts, y: np.ndarray) -> bool:
    """Whether targets have as many values for a sample as the output, as far as its sizes are known."""
    return math.prod(y.shape[1:]) == math.prod(size or 1 for size in output.shape) or None in output.shape


def _check_values(output: OutputFacts, y: np.ndarray) -> None:
    if _as_many(output, y):
        return
    span = f"from {y.min():.6g} to {y.max():.6g}"
    raise DataError(
        f"the targets are neither classes of the output {output.name!r}, which gives {output.shape}, nor so many "
        f"values. Give those that the model was trained on. Received: shape {y.shape}, {y.dtype}, {span}.",
        ("data",),
    )


def _expected(output: OutputFacts, activation: str) -> Targets:
    """What targets an output has to have, by its loss, else by its activation."""
    loss = output.loss or ""
    if loss.startswith("sparse_categorical"):
        return "ids"
    if loss.startswith("categorical"):
        return "one-hot"
    if loss.startswith("binary") or (not loss and activation == "sigmoid"):
        several: Targets = "multi-hot" if len(output.shape) == 1 else "values"  # an image of values from 0 to 1
        return "binary" if output.width == 1 and len(output.shape) < 2 else several
    if not loss and (activation == "softmax" or (output.width > 1 and len(output.shape) == 1)):
        return "ids"
    return "values"


def _loss(targets: Targets, activation: str) -> Any:
    """A loss for targets of a kind, as a recipe has it."""
    name = {"ids": _SPARSE, "one-hot": _CATEGORICAL, "multi-hot": _BINARY, "binary": _BINARY, "values": "mse"}[targets]
    logits = activation == "linear" and name != "mse"
    if targets == "one-hot" and activation == "sigmoid":
        return _BINARY
    return {name: dict(_LOGITS)} if logits else name
