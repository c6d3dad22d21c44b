"""Loading of model files and SavedModel folders, and saving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfopt.durable_files import write
from tfopt.errors import ModelError
from tfopt.keras_private import compiled_settings
from tfopt.models import compilation, stored_model
from tfopt.models.backend import keras_on_tensorflow
from tfopt.models.config_audit import StoredPart
from tfopt.models.keras2 import migration
from tfopt.models.keras2.migration import OutputCheck
from tfopt.models.loaded_model import LoadedModel
from tfopt.models.model_config import ModelConfig
from tfopt.models.serialization import keras_file
from tfopt.models.stored_model import StoredModel
from tfopt.user_code import describe


def read(
    path: Path,
    objects: Mapping[str, Any],
    trust: bool = False,
    comparison: OutputCheck | None = None,
    checked: StoredModel | None = None,
) -> LoadedModel:
    """The Keras 3 model in a checked file or SavedModel, its outputs compared with tf_keras's where Keras 2 stored it.

    Args:
        path: A `.keras` or `.h5` file, or a SavedModel folder, that `stored_model.check` found to be whole.
        objects: Classes and functions that its layers are made of, by name.
        trust: Load and run code that is stored in it (a Lambda layer, ops of a SavedModel).
        comparison: How the outputs are compared.
        checked: What `stored_model.check` has just returned; where it is not given, the config is read again.

    Raises:
        ModelError: The file cannot be read, holds code, or has a layer that cannot be migrated to Keras 3.
    """
    stored = checked or stored_model.read(path, objects, trust)
    if stored.config is None:
        compiled = stored_model.check_saved_model(path, objects, trust)
        before = migration.read(path, objects, compiled)
        carried = migration.migrate(before, f"the SavedModel {path.name}", objects, comparison)
        return LoadedModel(carried.model, carried)
    return _read_file(path, stored.config, stored.parts, objects, trust, comparison)


def _read_file(
    path: Path,
    config: ModelConfig,
    parts: Sequence[StoredPart],
    objects: Mapping[str, Any],
    trust: bool,
    comparison: OutputCheck | None,
) -> LoadedModel:
    """The model as Keras 3 reads it, which keeps how it was compiled; migrated layer by layer where it does not."""
    before, origin = _as_keras2(path, config, objects, trust), f"the Keras 2 file {path.name}"
    try:
        model = _loaded(path, config, objects, trust)
    except Exception as error:
        if before is not None:
            carried = migration.migrate(before, origin, objects, comparison)
            return LoadedModel(carried.model, carried)
        foreign = [part for part in parts if part.foreign and not part.carries]
        reason = describe(error)
        if foreign:
            reason = (
                f"it needs the class {foreign[0].kind!r} of {foreign[0].module!r}. "
                "Give the model as a function, file.py:build, in a file that has the class."
            )
        raise ModelError(f"{path} does not load: {reason}", ("model",)) from error
    if before is None:
        return LoadedModel(model)
    if model.compiled and (optimizer := migration.optimizer_of(before)):
        model.compile(**{**compiled_settings(model), "optimizer": optimizer})  # Keras 3 reads none of its settings
    try:
        return LoadedModel(model, migration.check_outputs(before, model, origin, comparison))
    except ModelError:  # Keras 3 read it in its own way
        carried = migration.migrate(before, origin, objects, comparison)
        return LoadedModel(carried.model, carried)


def _as_keras2(path: Path, config: ModelConfig, objects: Mapping[str, Any], trust: bool) -> Any:
    """The tf_keras model of a file that Keras 2 wrote; None of any other, and where tf_keras cannot read it."""
    if (config.keras_version or ("" if config.legacy else "3")).startswith("3"):
        return None
    try:
        return migration.read(
            path, objects, trust or stored_model.may_compile(config.compilation, objects, config.legacy)
        )
    except ModelError:  # for want of a class that Keras 3 may be given
        return None


def _loaded(path: Path, config: ModelConfig, objects: Mapping[str, Any], trust: bool) -> Any:
    import keras

    import tfopt.losses  # noqa: F401  a model may be compiled with one of them: they register with Keras
    from tfopt.optimizers import OPTIMIZERS, SCHEDULES

    for registry in (OPTIMIZERS, SCHEDULES):  # as do these, once their modules are imported
        list(registry)
    settings = {"custom_objects": dict(objects), "safe_mode": not trust}
    if path.suffix != ".keras":
        settings["custom_objects"] = {**_legacy_layers(), **objects}
    first = None
    if trust or stored_model.may_compile(config.compilation, objects, config.legacy):
        try:
            model = keras.models.load_model(path, **settings)
            if compilation.is_known(model):
                return model
        except Exception as error:  # a loss, metric or optimizer may be one that is not at hand
            if not config.compilation:
                raise
            first = error
    try:
        model = keras.models.load_model(path, compile=False, **settings)
    except Exception as error:
        raise error from first
    compilation.restore(model, config, objects, trust)
    return model


def _legacy_layers() -> dict[str, Any]:
    """Readers of the two layers that Keras 2 wrote in a way that Keras 3 refuses; what they make is Keras's own."""
    import keras

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            return keras.layers.DepthwiseConv2D.from_config({k: v for k, v in config.items() if k != "groups"})

    class BatchNormalization(keras.layers.BatchNormalization):
        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            axis = config.get("axis", -1)
            one = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
            return keras.layers.BatchNormalization.from_config({**config, "axis": one})

    return {"DepthwiseConv2D": DepthwiseConv2D, "BatchNormalization": BatchNormalization}


def load(path: Path, custom_objects: Mapping[str, Any] | None = None, trust: bool = False) -> Any:
    """Reads a `.keras` or `.h5` file, or a SavedModel folder of Keras 2.

    Args:
        path: The file or folder.
        custom_objects: Classes and functions that its layers are made of, by name.
        trust: Load and run code that is stored in it (a Lambda layer, ops of a SavedModel).

    Raises:
        ModelError: The file is not there, is not a model, is cut short, needs code that is not at hand, holds code, or
            is of Keras 2 and has a layer that cannot be migrated.
    """
    checked = stored_model.check(path, custom_objects or {}, trust)
    keras_on_tensorflow()
    return read(path, custom_objects or {}, trust, checked=checked).model


def save(model: Any, path: Path) -> None:
    """Writes a `.keras` file, compiled as the model is, with a fresh optimizer of the same settings.

    Raises:
        OSError: It cannot be written; an older one is as it was.
    """
    own = getattr(model, "optimizer", None)
    try:
        if own is not None:
            model.optimizer = type(own).from_config(own.get_config())
            model.optimizer.build(model.trainable_variables)  # Keras warns of a file whose optimizer has no variables
        write(path, keras_file(model))
    finally:
        if own is not None:
            model.optimizer = own
