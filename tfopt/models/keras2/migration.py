"""Migration of Keras 2 models to Keras 3: rebuilt layer by layer, weights copied, the outputs of both compared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.errors import ModelError
from tfopt.models.keras2.layer_config import arguments, flat, mapped, tf_keras_library
from tfopt.models.keras2.random_inputs import random_inputs
from tfopt.models.keras2.reconstruction import rebuild
from tfopt.user_code import describe

SAVED_MODEL = "saved_model.pb"
TOLERANCE = 1e-3
HALF_TOLERANCE = 1e-2
"""Tolerance of models that compute in float16 or bfloat16, where every step rounds to 3 or 2 digits."""


@dataclass(frozen=True)
class MigratedModel:
    """A model migrated from Keras 2.

    Args:
        model: The Keras 3 model.
        origin: The Keras 2 model in words, such as `a tf_keras model`.
        max_error: Largest absolute difference between an output of the two models, on random inputs; NaN where they
            were not compared.
        scale: Largest absolute value of that output of the Keras 2 model.
    """

    model: Any
    origin: str
    max_error: float
    scale: float


@dataclass(frozen=True)
class OutputCheck:
    """The comparison of a Keras 2 model with the Keras 3 model made of it, on random inputs.

    Args:
        wanted: Whether the outputs are compared; neither model is run where they are not.
        samples: Maps the Keras 2 model to samples, as `convert` takes them, of the sizes that its inputs leave open.
    """

    wanted: bool = True
    samples: Callable[[Any], Any] | None = None


def is_keras2(thing: Any) -> bool:
    """Whether a model, layer, class or function is of tf_keras; known without importing it."""
    cls = thing if inspect.isclass(thing) else type(thing)
    modules = [getattr(thing, "__module__", None) if inspect.isfunction(thing) else None]
    modules += [base.__module__ for base in cls.__mro__]
    return any(str(module).split(".")[0] == "tf_keras" for module in modules)


def read(path: Path, custom_objects: Mapping[str, Any] | None = None, compiled: bool = True) -> Any:
    """The Keras 2 model in a SavedModel folder or a `.h5` file; code that is stored in it is run.

    Args:
        path: The folder or file.
        custom_objects: Classes and functions that its layers are made of, by name.
        compiled: Whether it is compiled as it was, where its loss and its optimizer are at hand.

    Raises:
        ModelError: tf_keras cannot read it.
    """
    import keras

    tf_keras = tf_keras_library()
    given = {
        name: value
        for name, value in (custom_objects or {}).items()
        if not (inspect.isclass(value) and issubclass(value, keras.layers.Layer))
    }
    try:
        try:
            return tf_keras.models.load_model(path, custom_objects=given, compile=compiled)
        except Exception:  # the loss or the optimizer may be one that is not at hand
            return tf_keras.models.load_model(path, custom_objects=given, compile=False)
    except Exception as error:
        raise ModelError(f"{path} does not load: {describe(error)}", ("model",)) from error


def migrate(
    model: Any,
    origin: str = "a tf_keras model",
    custom_objects: Mapping[str, Any] | None = None,
    comparison: OutputCheck | None = None,
) -> MigratedModel:
    """Migrates a tf_keras model to Keras 3 with its weights, and compares the outputs.

    Args:
        model: A Sequential or functional tf_keras model.
        origin: The model in words, for the report.
        custom_objects: Keras 3 classes of the model's own layers, and functions, by name.
        comparison: How the outputs are compared.

    Raises:
        ModelError: A layer cannot be migrated, or an output differs.
    """
    import keras

    own = {name: value for name, value in (custom_objects or {}).items() if not is_keras2(value)}
    with keras.saving.custom_object_scope(own):
        carried = rebuild(model)
        _compile(model, carried)
    return check_outputs(model, carried, origin, comparison)


def check_outputs(before: Any, after: Any, origin: str, comparison: OutputCheck | None = None) -> MigratedModel:
    """Compares the outputs of a tf_keras model and of its Keras 3 model on the same random inputs.

    Raises:
        ModelError: An output differs by more than the tolerance, or no output is finite.
    """
    from tfopt.models.layers import walk

    comparison = comparison or OutputCheck()
    if not comparison.wanted:
        return MigratedModel(after, origin, np.nan, np.nan)
    worst, numbers = (-1.0, 0.0, 0.0), False
    for inputs in random_inputs(before, comparison.samples):
        for one, other in zip(_run(before, inputs, "Keras 2"), _run(after, inputs, "Keras 3"), strict=True):
            error, scale = _difference(np.asarray(one, np.float64), np.asarray(other, np.float64))
            worst = max(worst, (error / max(scale, 1e-3), error, scale))
            numbers = numbers or bool(np.isfinite(one).any())
    half = any(place.layer.compute_dtype in ("float16", "bfloat16") for place in walk(after))
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    ratio, error, scale = worst
    if not numbers:
        raise ModelError(
            f"{origin} gives nothing but NaN or infinity on random inputs, so nothing can be compared. Look at its "
            "weights.",
            ("model",),
        )
    if not ratio <= tolerance:
        raise ModelError(
            f"{origin} computes something else in Keras 3: an output of up to {scale:.3g} differs by {error:.3g}, "
            f"more than {tolerance:g} of that. Build the model with `import keras`.",
            ("model",),
        )
    return MigratedModel(after, origin, error, scale)


def _run(model: Any, inputs: Any, where: str) -> list[Any]:
    try:
        return flat(model(inputs, training=False))
    except Exception as error:
        raise ModelError(f"{model.name!r} does not run in {where}: {describe(error)}.", ("model",)) from error


def _difference(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The largest difference of two outputs and the largest value of the first; infinite where only one is finite."""
    finite = np.isfinite(one)
    same = np.array_equal(finite, np.isfinite(other)) and np.array_equal(one[~finite], other[~finite], equal_nan=True)
    error = float(np.abs(one - other)[finite].max(initial=0)) if same else np.inf
    return error, float(np.abs(one[finite]).max(initial=0))


def optimizer_of(model: Any) -> Any:
    """A Keras 3 optimizer with the settings of a tf_keras model's; None where there is none, or none of that class."""
    import keras

    try:
        config = model.get_compile_config()["optimizer"]
        cls = getattr(keras.optimizers, config["class_name"].rpartition(">")[2])
        return cls.from_config({key: value for key, value in config["config"].items() if key in arguments(cls)})
    except Exception:
        return None


def _compile(before: Any, after: Any) -> None:
    """Compiles as the tf_keras model is, if Keras 3 has its loss and optimizer; a recipe can name them otherwise."""
    import keras

    try:
        settings = before.get_compile_config()
        loss, metrics = mapped(settings["loss"], lambda part: part), settings.get("metrics")
        if isinstance(loss, dict) and "class_name" in loss:
            loss = keras.saving.deserialize_keras_object(loss)
        named = all(isinstance(metric, str) for metric in flat(metrics))
        after.compile(optimizer_of(before) or "adam", loss, metrics=metrics if named else None)
    except Exception:
        return
