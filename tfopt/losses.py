"""Losses by name, and the focal loss of class ids, which Keras lacks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras

from tfopt.errors import InputError, did_you_mean

__all__ = ["SparseCategoricalFocalCrossentropy"]


@keras.saving.register_keras_serializable(package="tfopt")
class SparseCategoricalFocalCrossentropy(keras.losses.Loss):
    """The focal loss of class ids: samples that are found easily count little, the rare and hard ones more.

    A sample of class c that is given the probability p costs `-alpha_c (1 - p)^gamma log p`. Labels are `(...)` or
    `(..., 1)`, predictions `(..., classes)`. It is `keras.losses.CategoricalFocalCrossentropy` without one-hot labels.

    Args:
        alpha: The weight of every class, or a list with one for each.
        gamma: How much easy samples are played down, 0 and above; 0 is the crossentropy times alpha.
        from_logits: Whether predictions are logits.
        reduction: As in `keras.losses.Loss`.
        name: The name in logs.
        dtype: As in `keras.losses.Loss`.

    References:
        Lin et al., Focal loss for dense object detection, arXiv:1708.02002.
    """

    def __init__(
        self,
        alpha: float | list[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str = "sparse_categorical_focal_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if gamma < 0:
            raise InputError(f"gamma of the focal loss is 0 or above. Received: {gamma}.", ("loss",))
        self.alpha, self.gamma, self.from_logits = alpha, gamma, from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample, `(...)`."""
        ids = keras.ops.cast(y_true, "int32")
        if len(ids.shape) == len(y_pred.shape):
            ids = keras.ops.squeeze(ids, -1)
        labels = keras.ops.one_hot(ids, y_pred.shape[-1], dtype=y_pred.dtype)
        return keras.losses.categorical_focal_crossentropy(
            labels, y_pred, alpha=self.alpha, gamma=self.gamma, from_logits=self.from_logits
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        own = {"alpha": self.alpha, "gamma": self.gamma, "from_logits": self.from_logits}
        return {**super().get_config(), **own}


def build_loss(spec: Any) -> Any:
    """The loss that a recipe asks for, as `compile` takes it.

    Args:
        spec: A name; `{name: {argument: value}}`; a Keras loss or a function; or a dict of these by output name.

    Raises:
        InputError: There is no such loss, or it does not take these arguments.
    """
    if spec is None or callable(spec):
        return spec
    if isinstance(spec, str):
        own = {"sparse_categorical_focal_crossentropy": SparseCategoricalFocalCrossentropy}
        if spec in own:
            return own[spec]()
        try:
            keras.losses.get(spec)
        except ValueError:
            functions = [name for name, value in vars(keras.losses).items() if name.islower() and callable(value)]
            names = {*functions, *own} - {"get", "serialize", "deserialize"}
            raise InputError(f"Keras has no loss {spec!r}. {did_you_mean(spec, names)}", ("loss",)) from None
        return spec
    if not isinstance(spec, Mapping):
        raise InputError(f"a loss is a name, or a name with its arguments. Received: {spec!r}.", ("loss",))
    known = _classes()
    name, arguments = next(iter(spec.items()), ("", {}))
    if len(spec) == 1 and name not in known and _are_arguments(arguments):
        raise InputError(f"Keras has no loss {name!r}. {did_you_mean(name, known)}", ("loss",))
    if len(spec) > 1 or name not in known or not isinstance(arguments, Mapping | None):
        return {str(output): build_loss(inner) for output, inner in spec.items()}
    try:
        return known[name](**(arguments or {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"the loss {name} does not take this: {str(error).splitlines()[0]}", ("loss",)) from error


def _are_arguments(value: Any) -> bool:
    """Whether a value is a loss's arguments, and not a loss by itself."""
    return isinstance(value, Mapping) and all(not isinstance(v, str | Mapping | None) for v in value.values())


def _classes() -> dict[str, Any]:
    """Keras's losses and tfopt's by their names in snake case."""
    found = [value for value in vars(keras.losses).values() if isinstance(value, type)]
    classes = [cls for cls in found if issubclass(cls, keras.losses.Loss) and cls is not keras.losses.Loss]
    short = {
        "mse": keras.losses.MeanSquaredError,
        "mae": keras.losses.MeanAbsoluteError,
        "kl_divergence": keras.losses.KLDivergence,
    }
    classes.append(SparseCategoricalFocalCrossentropy)
    return {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower(): cls for cls in classes} | short
