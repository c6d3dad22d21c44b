"""Whether the labels of a data set are of the kind that a loss takes."""

from __future__ import annotations

import math
import re
from typing import Any

import keras
import numpy as np

from tfopt.data import Arrays, Data, take
from tfopt.errors import DataError, ModelError


def loss_name(loss: Any) -> str | None:
    """The snake-case name of a loss given by name, class or function; None for several losses."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if isinstance(loss, keras.losses.Loss):  # its name is the user's to choose, its class is not
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(loss).__name__).lower()
    name = getattr(loss, "__name__", None)
    return str(name) if name else None


def check_targets(model: keras.Model, data: Data, loss: str | None) -> None:
    """Whether the labels are of the kind that the loss takes.

    Raises:
        DataError: They are not; the error says which loss would take them, or which labels the loss takes.
        ModelError: The loss takes probabilities, and the model gives something else.
    """
    name_of_loss = loss_name(loss or model.loss)
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        return
    shape = tuple(outputs[0].shape[1:])
    for name, split in data.splits().items():
        if isinstance(split.y, np.ndarray):
            _check_one(f"y_{name}", split.y, name_of_loss or "", shape)
    if "crossentropy" in (name_of_loss or "") and not _from_logits(loss or model.loss):
        _check_probabilities(model, take(data.test.x, slice(0, 8)))


def _from_logits(loss: Any) -> bool:
    return isinstance(loss, keras.losses.Loss) and bool(loss.get_config().get("from_logits"))


def _check_probabilities(model: keras.Model, x: Arrays) -> None:
    """Refuses outputs that a crossentropy takes for probabilities and that are none: training on them goes nowhere."""
    outputs = np.asarray(model.predict(x, verbose=0), np.float32)
    if outputs.min() < 0 or outputs.max() > 1.001:
        raise ModelError(
            f"the model's outputs go from {outputs.min():.3g} to {outputs.max():.3g}, and the loss takes them for "
            "probabilities. End the model with a softmax or sigmoid, or compile it with from_logits=True.",
            ("model",),
        )


def _check_one(what: str, y: np.ndarray, loss: str, shape: tuple[int | None, ...]) -> None:
    classes = shape[-1] if shape else None
    squeezed = y[..., 0] if y.ndim == len(shape) + 1 and y.shape[-1] == 1 else y
    wrong = None
    if loss == "sparse_categorical_crossentropy":
        if squeezed.ndim != len(shape):
            wrong = "takes class ids, one a sample: for one-hot labels use categorical_crossentropy"
        elif squeezed.dtype.kind == "f" and (squeezed % 1 != 0).any():
            wrong = "takes whole class ids"
        elif classes is not None and (squeezed.min() < 0 or squeezed.max() >= classes):
            worst = y.min() if y.min() < 0 else y.max()
            wrong = f"takes class ids from 0 to {classes - 1}, one for each output of the model, and there is {worst}"
    elif loss == "categorical_crossentropy":
        if y.ndim == len(shape) or y.shape[-1] != classes:
            wrong = f"takes one-hot labels of width {classes}: for class ids use sparse_categorical_crossentropy"
    elif loss == "binary_crossentropy":
        if y.min() < 0 or y.max() > 1:
            wrong = f"takes labels from 0 to 1, and there is {y.max() if y.max() > 1 else y.min()}"
    elif loss.startswith("mean_") and math.prod(y.shape[1:]) != math.prod(s or 1 for s in shape):
        wrong = f"takes targets of the model's output shape {shape}"
    if wrong:
        raise DataError(
            f"{what} does not fit the loss: {loss} {wrong}. Received: shape {y.shape}, {y.dtype}.", ("data",)
        )
