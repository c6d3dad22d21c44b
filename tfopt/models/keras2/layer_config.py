"""The Keras 3 class and config of a tf_keras layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tfopt.errors import ModelError

WAY_OUT = "Replace it, or build the model with `import keras`"
# Config keys of Keras 2 that hold a layer's state, or that change no output.
_STATE = {"batch_input_shape", "implementation", "input_length", "rng_type", "vocabulary_size"}
_STATE |= {"key_shape", "query_shape", "value_shape"}
_CODE = {"ClassMethod", "InstanceMethod", "InstanceProperty", "SlicingOpLambda", "TFOpLambda", "TensorFlowOpLayer"}
# Where a wrapper keeps the layers that its config describes: Bidirectional gives its own copies other names.
_HELD = {
    "layer": ("forward_layer", "layer"),
    "backward_layer": ("backward_layer",),
    "cell": ("cell",),
    "cells": ("cells",),
}


# Wrappers of TF-MOT by their class names, and how the model gets rid of them.
_WRAPPERS = {
    "PruneLowMagnitude": "Take it off with tfmot.sparsity.keras.strip_pruning",
    "ClusterWeights": "Take it off with tfmot.clustering.keras.strip_clustering",
    **dict.fromkeys(
        ("QuantizeAnnotate", "QuantizeLayer", "QuantizeWrapper", "QuantizeWrapperV2"),
        "Give the model as it was before quantize_model, and train it in the stage qat",
    ),
}


def wrapper_in(kind: str) -> str | None:
    """Why a layer of that class cannot be loaded if it is a wrapper of TF-MOT; None for any other class."""
    way = _WRAPPERS.get(kind.split(">")[-1])
    return f"is TF-MOT's wrapper. {way}" if way else None


def tf_keras_library() -> Any:
    """tf_keras, which TF-MOT brings with it; a program that never meets a Keras 2 model does not import it.

    Raises:
        ModelError: tf_keras is not installed.
    """
    try:
        import tf_keras  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise ModelError(
            "a Keras 2 model is read by tf_keras. Install it: pip install tf_keras.", ("model",)
        ) from error
    return tf_keras


def flat(structure: Any) -> list[Any]:
    """The tensors of a structure, those of a dict in the order of its keys."""
    import tensorflow as tf

    return tf.nest.flatten(structure)


def mapped(structure: Any, function: Callable[[Any], Any]) -> Any:
    """A structure of plain lists, tuples and dicts, with `function` applied to every value in it."""
    if isinstance(structure, dict):
        return {key: mapped(value, function) for key, value in structure.items()}
    if isinstance(structure, list | tuple):
        values = [mapped(value, function) for value in structure]
        return tuple(values) if isinstance(structure, tuple) else values
    return function(structure)


def code_in(kind: str) -> str | None:
    """Why a layer of that class cannot be migrated if it holds code; None for any other class."""
    if kind in _CODE:
        return "is TensorFlow code between layers, such as x + 1. Write it with layers, such as Add or Rescaling"
    return f"is Python code, which does not carry over to Keras 3. {WAY_OUT}" if kind == "Lambda" else None


def class_of(old: Any) -> tuple[Any, bool]:
    """The Keras 3 class of a tf_keras layer, and whether it is Keras's own.

    Raises:
        ModelError: The layer holds code, or Keras 3 has no such class.
    """
    import keras

    tf_keras = tf_keras_library()

    kind, module = type(old).__name__, type(old).__module__
    if why := code_in(kind):
        raise refusal(old, why)
    if module.startswith("tensorflow_model_optimization") and (why := wrapper_in(kind)):
        raise refusal(old, why)
    for name in (kind, f"Custom>{kind}", tf_keras.saving.get_registered_name(type(old))):
        found = keras.saving.get_registered_object(name)
        if inspect.isclass(found) and issubclass(found, keras.layers.Layer):
            return found, False
    if not module.startswith("tf_keras.") or ".saving." in module:  # the latter are made up for what it does not know
        raise refusal(old, "is of your own class for Keras 2. Give its Keras 3 class, of that name, in custom_objects")
    found = getattr(keras.layers, kind, None)
    if found is None:
        raise refusal(old, f"is of a class that Keras 3 does not have. {WAY_OUT}")
    return found, True


def migrated_config(old: Any, cls: Any, builtin: bool) -> dict[str, Any]:
    """The config of a tf_keras layer as Keras 3 writes it.

    Args:
        old: The tf_keras layer.
        cls: The Keras 3 class of the layer.
        builtin: Whether the class is Keras's own.

    Raises:
        ModelError: A setting that Keras 3 does not have is not at Keras 2's default.
    """
    config = {key: value for key, value in old.get_config().items() if key not in _STATE}
    config["name"] = name_of(old)
    policy = old.dtype_policy.name if hasattr(old, "dtype_policy") else old._dtype_policy.name
    config["dtype"] = None if policy.startswith("_") else policy
    if not builtin:
        return config
    if type(old).__name__.startswith("SpatialDropout"):
        for key in ("trainable", "noise_shape"):  # of Dropout, which its own constructor does not take
            config.pop(key, None)
    if type(old).__name__ == "LeakyReLU":
        config["negative_slope"] = float(config.pop("alpha"))
    if type(old).__name__ == "BatchNormalization" and isinstance(config["axis"], list | tuple):
        if len(config["axis"]) > 1:
            raise refusal(old, f"normalizes over several axes, {list(config['axis'])}. {WAY_OUT}")
        config["axis"] = config["axis"][0]
    if "vocabulary" in config:
        config["vocabulary"] = old.get_vocabulary(include_special_tokens=False)  # what it adapted to is not in there
    defaults = arguments(type(old))
    for key in sorted(set(config) - set(arguments(cls))):
        unused = key.endswith("_initializer")  # of a weight that is copied, or that the layer does not have
        if not unused and (key not in defaults or config[key] != defaults[key]):
            raise refusal(old, f"has {key}={config[key]!r}, which Keras 3 cannot do. {WAY_OUT}")
        del config[key]
    return config


def arguments(cls: Any) -> dict[str, Any]:
    """The constructor arguments of a class and its bases by name, with their defaults."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            found.update({p.name: p.default for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)})
    return found


def inner(old: Any) -> dict[str, Any]:
    """The layers that a wrapper holds, by constructor argument."""
    tf_keras = tf_keras_library()

    found = {}
    for key, attributes in _HELD.items():
        parts = next((value for name in attributes if (value := getattr(old, name, None)) is not None), None)
        if parts is not None and all(isinstance(p, tf_keras.layers.Layer) for p in flat(parts)):
            found[key] = parts
    return found


def name_of(old: Any) -> str:
    """A layer's name without the slashes that Keras 3 refuses."""
    return old.name.replace("/", "_")


def reason(error: Exception) -> str:
    """An error's cause in one line; Keras says it last, behind the whole config."""
    lines = str(error).rpartition("Exception encountered: ")[2].strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:200]


def refusal(old: Any, why: str) -> ModelError:
    """The error for a layer that cannot be migrated."""
    return ModelError(f"the layer {old.name!r} ({type(old).__name__}) {why}.", ("model",))
