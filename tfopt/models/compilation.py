"""The compile settings of a model file, as far as they can be restored: a loss or metric may be code that is not there.

Keras restores all of them or does not read the file; nothing but training and scoring needs them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from tfopt.keras_private import compiled_settings
from tfopt.models.model_config import ModelConfig
from tfopt.models.stored_model import may_compile

# Names that only `compile` knows.
_SHORT = ("accuracy", "acc", "crossentropy", "ce")
# The settings that may be code, and the module of Keras that has its own of them.
_CODE = {"optimizer": "optimizers", "loss": "losses", "metrics": "metrics", "weighted_metrics": "metrics"}


def restore(model: Any, config: ModelConfig, objects: Mapping[str, Any], trust: bool = False) -> None:
    """Compiles a model with what can be restored of its file's settings; without its loss it is left uncompiled.

    Args:
        model: The model, read from the file without its settings.
        config: What the file says of its model.
        objects: Classes and functions that the settings may name.
        trust: Load Python code that is stored in the file.
    """
    import keras

    cls = type(model)
    if cls.compile is not keras.Model.compile or cls.compile_from_config is not keras.Model.compile_from_config:
        return
    settings = config.compilation
    loss = settings.get("loss")
    several = len(getattr(model, "outputs", None) or ()) > 1 or (isinstance(loss, list) and len(loss) > 1)
    made = {name: _restored(name, settings.get(name), objects, trust, config.legacy, several) for name in _CODE}
    found = {name: value for name, value in made.items() if value is not None}
    if "loss" not in found:
        return
    plain = {name: value for name, value in settings.items() if name not in _CODE and name != "optimizer_config"}
    takes = inspect.signature(model.compile).parameters
    try:
        model.compile(**{"optimizer": "adam", **{k: v for k, v in plain.items() if k in takes}, **found})
    except (TypeError, ValueError):  # settings of another release
        model.compile("adam", found["loss"])


def _restored(
    setting: str, written: Any, objects: Mapping[str, Any], trust: bool, legacy: bool, several: bool = False
) -> Any:
    """A setting made from its description, of metrics those that are there; None where it is code that is not.

    Args:
        setting: Name of the setting.
        written: Its description.
        objects: Classes and functions that it may name.
        trust: Load Python code that is stored in the file.
        legacy: Whether the file is in HDF5.
        several: Whether a list has an entry for each output of the model, all of which keep their places.
    """
    import keras

    if written is None:
        return None
    try:
        if not (trust or may_compile(written, objects, legacy)):
            made = None
        elif isinstance(written, Mapping) and "class_name" in written and "module" not in written:  # in .h5 files
            made = getattr(keras, _CODE[setting]).deserialize(written, custom_objects=dict(objects))
        else:
            made = keras.saving.deserialize_keras_object(written, custom_objects=dict(objects), safe_mode=not trust)
    except Exception:  # it runs the constructors of the user's classes
        made = None
    if made is not None and _all_known(setting, made):
        return made
    if setting == "loss":
        return None
    if isinstance(written, Mapping) and "class_name" not in written:
        named = {name: _restored(setting, one, objects, trust, legacy) for name, one in written.items()}
        return {name: part for name, part in named.items() if part is not None} or None
    if not isinstance(written, list):
        return None
    parts = [_restored(setting, one, objects, trust, legacy) for one in written]
    known = [part for part in parts if part is not None]
    return (parts if several else known) if known else None


def is_known(model: Any) -> bool:
    """Whether Keras knows what a model is compiled with; of an `.h5` file it takes any name of a loss or metric."""
    return all(_all_known(name, setting) for name, setting in compiled_settings(model).items() if name in _CODE)


def _all_known(setting: str, made: Any) -> bool:
    import keras

    for name in keras.tree.flatten(made):
        if isinstance(name, str) and name not in _SHORT:
            try:
                getattr(keras, _CODE[setting]).get(name)
            except ValueError:
                return False
    return True


def code_of(model: Any) -> dict[str, Any]:
    """The classes and functions that are not Keras's in a model's compile settings, by name."""
    import keras

    settings = compiled_settings(model)
    parts = keras.tree.flatten([settings.get(name) for name in _CODE])
    code = [part if inspect.isfunction(part) else type(part) for part in parts if part is not None]
    return {one.__name__: one for one in code if one.__module__.split(".")[0] not in ("keras", "builtins", "tfopt")}
