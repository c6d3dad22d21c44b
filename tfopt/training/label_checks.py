"""Checks that the labels of a data set are of the kind that a loss takes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfopt.data.labels import check_named
from tfopt.data.splits import CHUNK, Data, Split
from tfopt.errors import DataError, ModelError
from tfopt.losses import build_loss
from tfopt.models import signature


def loss_name(loss: Any) -> str | None:
    """The snake-case name of a loss given by name, class or function; None for several losses."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if isinstance(loss, keras.losses.Loss):  # its name is the user's to choose, its class is not
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(loss).__name__).lower()
    name = getattr(loss, "__name__", None)
    return str(name) if name else None


def losses_by_output(model: keras.Model, loss: Any) -> dict[str, Any]:
    """The loss of each output that has one, by output name, from any form that `compile` takes."""
    outputs = signature.output_names(model)
    if isinstance(loss, Mapping):
        return {name: loss[name] for name in outputs if loss.get(name) is not None}
    if isinstance(loss, list | tuple):
        return {name: one for name, one in zip(outputs, loss, strict=False) if one is not None}
    return dict.fromkeys(outputs, loss)


def check_targets(model: keras.Model, data: Data, loss: Any) -> None:
    """Checks that the labels are of the kind that the losses take.

    Args:
        model: The model.
        data: The splits; of one that is streamed only the first samples are checked.
        loss: The recipe's loss, as `losses.build_loss` takes it; None means the model's own.

    Raises:
        DataError: The labels do not fit; the error says which loss takes them, or which labels the loss takes.
        ModelError: The loss takes probabilities, and the model gives something else; or it is for an output that the
            model does not have.
    """
    of_recipe, loss = loss is not None, build_loss(loss) or model.loss
    shapes = signature.output_shapes(model)
    if isinstance(loss, Mapping) and (strangers := [name for name in loss if shapes and name not in shapes]):
        raise ModelError(
            f"the loss is for the output {strangers[0]!r}, and the model's are {', '.join(shapes)}.", ("loss",)
        )
    by_output = losses_by_output(model, loss)
    seen = {name: split if isinstance(split, Split) else split.few(CHUNK) for name, split in data.splits().items()}
    for output, own in by_output.items():
        name_of_loss = loss_name(own) or ""
        for name, split in seen.items():
            check_named(split.y, shapes, f"y_{name}")
            labels = split.y.get(output) if isinstance(split.y, dict) else split.y
            if labels is None:
                raise DataError(
                    f"the output {output!r} has a loss, and y_{name} has only {', '.join(split.y)}.", ("data",)
                )
            what = f"y_{name}" if len(shapes) == 1 and not isinstance(split.y, dict) else f"y_{name}[{output!r}]"
            _check_one(what, labels, name_of_loss, shapes[output], own)
    outputs = signature.outputs_on_samples(model, seen["test"].few(8)) if by_output else {}
    outputs = {name: values.astype(np.float32) for name, values in outputs.items()}
    for output, own in by_output.items():
        if "crossentropy" in (loss_name(own) or "") and not _from_logits(own):
            several = output if len(shapes) > 1 else None
            _check_probabilities(outputs[output], several, loss_name(own) if of_recipe else None)


def check_class_ids(model: keras.Model, data: Data, loss: Any) -> None:
    """Checks that labels which are class ids are of classes that the model has, whether or not anything trains.

    They are class ids where the loss takes such, and where there is no loss but whole numbers of one rank less than an
    output of several classes.

    Args:
        model: The model.
        data: The splits; of one that is streamed only the first samples are checked.
        loss: The recipe's loss, as `losses.build_loss` takes it; None means the model's own.

    Raises:
        DataError: There is an id that no output stands for.
    """
    shapes = signature.output_shapes(model)
    by_output = losses_by_output(model, build_loss(loss) or getattr(model, "loss", None)) if shapes else {}
    for name, split in data.splits().items():
        y = (split if isinstance(split, Split) else split.few(CHUNK)).y
        if not isinstance(y, dict) and len(shapes) > 1:
            continue  # which is refused where they are scored
        for output, shape in shapes.items():
            labels = y.get(output) if isinstance(y, dict) else y
            if labels is not None:
                what = f"y_{name}[{output!r}]" if isinstance(y, dict) else f"y_{name}"
                _check_ids(what, labels, shape, by_output.get(output))


def _check_ids(what: str, y: np.ndarray, shape: tuple[int | None, ...], loss: Any) -> None:
    """Checks labels of an output of that shape, where they are class ids."""
    name, ids = loss_name(loss) or "", _ids(y, shape)
    are_ids = y.dtype.kind in "iu" if loss is None else name.startswith("sparse_categorical_")
    if not are_ids or ids.ndim != len(shape) or shape[-1] in (None, 1):
        return
    if wrong := _strange_id(ids, shape[-1], loss):
        rule = f"loss: {name} {wrong}" if name else f"model: it {wrong}"
        raise DataError(f"{what} does not fit the {rule}. Received: shape {y.shape}, {y.dtype}.", ("data",))


def _from_logits(loss: Any) -> bool:
    return isinstance(loss, keras.losses.Loss) and bool(loss.get_config().get("from_logits"))


def _check_probabilities(values: np.ndarray, output: str | None, of_recipe: str | None) -> None:
    """Refuses outputs that a crossentropy takes for probabilities and that are none: training on them goes nowhere.

    Args:
        values: Some outputs.
        output: Name of the output where the model has several.
        of_recipe: Name of the loss where it is the recipe's, which stands in the place of the model's own.
    """
    if values.min() < 0 or values.max() > 1.001:
        asked = f"{{{of_recipe}: {{from_logits: true}}}}"
        asked = f"{{{output}: {asked}}}" if output else asked
        way = f"write loss: {asked}" if of_recipe else "compile it with from_logits=True"
        raise ModelError(
            f"the model's outputs{f' {output!r}' if output else ''} go from {values.min():.3g} to {values.max():.3g}, "
            f"and the {'recipe' if of_recipe else 'model'}'s loss takes them for probabilities. End the model with a "
            f"softmax or sigmoid, or {way}.",
            ("loss" if of_recipe else "model",),
        )


def _ids(y: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """Labels without a last axis of 1 that the ids of classes may have."""
    return y[..., 0] if y.ndim == len(shape) + 1 and y.shape[-1] == 1 else y


def _strange_id(ids: np.ndarray, classes: int | None, loss: Any) -> str | None:
    """What is wrong with ids that no output stands for, but for the one that the loss leaves out of account."""
    ignored = loss.get_config().get("ignore_class") if isinstance(loss, keras.losses.Loss) else None
    counted = ids if ignored is None else ids[ids != ignored]
    if classes is None or not counted.size or (counted.min() >= 0 and counted.max() < classes):
        return None
    worst = counted.min() if counted.min() < 0 else counted.max()
    return f"takes class ids from 0 to {classes - 1}, one for each output of the model, and there is {worst}"


def _check_one(what: str, y: np.ndarray, loss: str, shape: tuple[int | None, ...], own: Any) -> None:
    classes = shape[-1] if shape else None
    squeezed = _ids(y, shape)
    wrong = None
    if loss.startswith("sparse_categorical_"):
        if squeezed.ndim != len(shape):
            wrong = f"takes class ids, one a sample: for one-hot labels use {loss.removeprefix('sparse_')}"
        elif squeezed.dtype.kind == "f" and (squeezed % 1 != 0).any():
            wrong = "takes whole class ids"
        else:
            wrong = _strange_id(squeezed, classes, own)
    elif loss.startswith("categorical_") and "crossentropy" in loss:
        if y.ndim == len(shape) or y.shape[-1] != classes:
            wrong = f"takes one-hot labels of width {classes}: for class ids use sparse_{loss}"
    elif loss.startswith("binary_"):
        if y.min() < 0 or y.max() > 1:
            wrong = f"takes labels from 0 to 1, and there is {y.max() if y.max() > 1 else y.min()}"
    elif loss.startswith("mean_") and math.prod(y.shape[1:]) != math.prod(s or 1 for s in shape):
        wrong = f"takes targets of the model's output shape {shape}"
    if wrong:
        raise DataError(
            f"{what} does not fit the loss: {loss} {wrong}. Received: shape {y.shape}, {y.dtype}.", ("data",)
        )
