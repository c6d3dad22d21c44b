"""Loading a Keras 3 model from a function, a file, a SavedModel or an object, of Keras 3 or Keras 2."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfopt import source_names
from tfopt.errors import InputError, ModelError
from tfopt.models import compilation, files, stored_model
from tfopt.models.backend import keras_on_tensorflow
from tfopt.models.foreign_files import refuse_foreign
from tfopt.models.keras2 import migration, reconstruction
from tfopt.models.keras2.migration import SAVED_MODEL, OutputCheck
from tfopt.models.loaded_model import LoadedModel
from tfopt.models.model_config import read_config
from tfopt.models.stored_model import FILES
from tfopt.user_code import Ref, describe, digest_callable, find_file


def resolve(source: Any, folder: Path) -> Any:
    """Resolves a recipe's `model`: the path of a model, a reference to a function, or the object itself.

    Raises:
        InputError: The file does not exist, or the text is neither a path nor a reference.
    """
    if isinstance(source, Mapping):
        return Ref.parse(source, folder)
    if not isinstance(source, str | os.PathLike):
        return source
    text = os.fspath(source)
    known = any((base / text).is_dir() for base in (folder, Path.cwd()))
    if Path(text).suffix in FILES or (known and text):
        path = find_file(text, folder)
        if not path.is_file() and not (path / SAVED_MODEL).is_file():
            stored_model.check(path)  # which says what it is
        return path
    if ":" not in text:
        refuse_foreign(Path(text))
        raise ModelError(
            "a model is file.py:function, package.module:function, a .keras or .h5 file, or a SavedModel folder. "
            f"Received: {text!r}."
        )
    return Ref.parse(text, folder)


def digest(source: Any) -> str:
    """sha256 of a resolved source: a file's bytes, a function's code, a model object's architecture and weights.

    Raises:
        ModelError: A model object has no config, or is a subclassed tf_keras model.
    """
    if isinstance(source, Path):
        return _digest_folder(source) if source.is_dir() else hashlib.sha256(source.read_bytes()).hexdigest()
    if isinstance(source, Ref):
        return source.digest()
    return _digest_model(source) if hasattr(source, "get_weights") else digest_callable(source)


def _digest_folder(folder: Path) -> str:
    """sha256 over the files of a folder and their names in it."""
    content = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        own = hashlib.sha256(path.read_bytes()).digest()
        content.update(path.relative_to(folder).as_posix().encode() + b"\0" + own)
    return content.hexdigest()


def _digest_model(model: Any) -> str:
    """sha256 of a model object: what it is made of, how it is compiled, the code of its own classes, its weights."""
    if migration.is_keras2(model):
        reconstruction.check(model)
    try:
        compiled = dict(model.get_compile_config() or {})
        described: list[Any] = [model.get_config(), compiled]
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} cannot be saved, as it has no get_config: {describe(error)}. "
            "Write one, or give the function that builds the model."
        ) from error
    if isinstance(compiled.get("optimizer"), dict):
        compiled["optimizer"].get("config", {}).pop("name", None)  # Keras numbers the optimizers of a process
    described += sorted(digest_callable(cls) for cls in _own_classes(model).values())
    content = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for weight in model.get_weights():
        content.update(weight.tobytes())
    return content.hexdigest()


def _own_classes(model: Any) -> dict[str, Any]:
    """The classes of a model and its layers that are not Keras's, by name."""
    from tfopt.models.layers import walk

    classes = {type(part) for part in (model, *(place.layer for place in walk(model)))}
    return {cls.__name__: cls for cls in classes if cls.__module__.split(".")[0] not in ("keras", "tf_keras")}


def check_source(source: Any, trust: bool = False) -> None:
    """Checks what can be told of a resolved source without Keras, which takes seconds to import: that a file is whole.

    Args:
        source: A path; of a reference to a function, or an object, nothing is checked.
        trust: Load Python code that is stored in a file (a Lambda layer).

    Raises:
        ModelError: The file is damaged, is something else than a model, or holds code.
    """
    if isinstance(source, Path):
        stored_model.check(source, trust=trust)


def input_shapes(source: Any) -> dict[str, tuple[int | None, ...]]:
    """The input shapes of a resolved source by name, as far as they are known without Keras; empty where they are not.

    Raises:
        ModelError: The file is damaged.
    """
    return stored_model.input_shapes(source) if isinstance(source, Path) else {}


def compiled_with(source: Any) -> Mapping[str, Any]:
    """The loss and metrics that a resolved source is compiled with, as far as they are plain to see without Keras."""
    if isinstance(source, Path):
        return read_config(source).compilation if source.is_file() else {}
    found = isinstance(source, Ref) and isinstance(source.target, Path)
    return source_names.compiled_with(source.target, source.name) if found else {}


def build(source: Any, trust: bool = False) -> Any:
    """The Keras 3 model of a resolved source.

    Args:
        source: A path, a reference to a function, a function, or a Keras 3 or tf_keras model.
        trust: Load Python code that is stored in a file (a Lambda layer).

    Raises:
        ModelError: The function raised or returned no model, the file cannot be read, the model has no weights yet,
            or it is of Keras 2 and has a layer that cannot be migrated.
    """
    check_source(source, trust)
    return load_source(source, trust).model


def load_source(source: Any, trust: bool = False, comparison: OutputCheck | None = None) -> LoadedModel:
    """As `build` of a source that `check_source` found to be whole, together with the migration of a Keras 2 model."""
    keras = keras_on_tensorflow()
    from tfopt.models import requirements

    if isinstance(source, Path):
        return _named(files.read(source, {}, trust, comparison))
    try:
        arguments = [_hyperparameters()] if _takes_hyperparameters(source) else []
        if isinstance(source, Ref):
            model = source.call(*arguments)
        else:
            model = source(*arguments) if callable(source) and not hasattr(source, "get_weights") else source
    except InputError as error:
        raise ModelError(str(error), error.field) from error
    except Exception as error:
        raise ModelError(f"the model function failed: {describe(error)}") from error
    if migration.is_keras2(model):
        carried = migration.migrate(model, custom_objects=custom_objects(source), comparison=comparison)
        return _named(LoadedModel(carried.model, carried))
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"{source} must return a Keras 3 model. Received: {type(model).__module__}.{type(model).__name__}."
        )
    requirements.check_call(model)
    if not requirements.has_weights(model):
        raise ModelError(
            f"the model of {source} has no weights yet. Give it an Input, or call it once before returning it."
        )
    return _named(LoadedModel(model))


def _named(loaded: LoadedModel) -> LoadedModel:
    """The loaded model, once its names are checked."""
    from tfopt.models.layers import check_names

    check_names(loaded.model)
    return loaded


def _takes_hyperparameters(source: Any) -> bool:
    """Whether a model function is one for keras-tuner: its first parameter is called `hp`."""
    import inspect

    function = source.load() if isinstance(source, Ref) else source
    if not callable(function) or hasattr(function, "get_weights"):
        return False
    try:
        return next(iter(inspect.signature(function).parameters), "") in ("hp", "hyperparameters")
    except ValueError:  # a builtin
        return False


def _hyperparameters() -> Any:
    import keras_tuner

    return keras_tuner.HyperParameters()


def hypermodel(source: Any, seed: int) -> Callable[[Any], Any] | None:
    """A function from keras-tuner's hyperparameters to the model; None for a source that takes none.

    Args:
        source: A resolved source.
        seed: Seed of the model's random weights.
    """
    if isinstance(source, Path) or not _takes_hyperparameters(source):
        return None

    def build(hyperparameters: Any) -> Any:
        from tfopt.models.seeding import deterministic

        with deterministic(seed):
            return source.call(hyperparameters) if isinstance(source, Ref) else source(hyperparameters)

    return build


def as_keras3(
    source: Any,
    custom_objects: Mapping[str, Any] | None = None,
    trust: bool = False,
    comparison: OutputCheck | None = None,
) -> Any:
    """The Keras 3 model of any model that tfopt takes; `load_any` returns its migration from Keras 2 as well."""
    return load_any(source, custom_objects, trust, comparison).model


def load_any(
    source: Any,
    custom_objects: Mapping[str, Any] | None = None,
    trust: bool = False,
    comparison: OutputCheck | None = None,
) -> LoadedModel:
    """Loads any model that tfopt takes, together with the migration of a Keras 2 model.

    Args:
        source: A Keras 3 model, which is returned as it is; a tf_keras model; or the path of a `.keras` or `.h5` file
            or of a SavedModel folder.
        custom_objects: Keras 3 classes and functions that its layers are made of, by name.
        trust: Load Python code that is stored in a file (a Lambda layer).
        comparison: How the outputs of a Keras 2 model are compared.

    Raises:
        ModelError: `source` is none of these, cannot be read, or has a layer that cannot be migrated.
    """
    checked = None
    if isinstance(source, str | os.PathLike):  # before Keras is imported, which takes seconds
        checked = stored_model.check(Path(source), custom_objects or {}, trust)
    keras = keras_on_tensorflow()
    if isinstance(source, keras.Model):
        return LoadedModel(source)
    if migration.is_keras2(source):
        carried = migration.migrate(source, custom_objects=custom_objects, comparison=comparison)
        return LoadedModel(carried.model, carried)
    if isinstance(source, str | os.PathLike):
        return files.read(Path(source), custom_objects or {}, trust, comparison, checked)
    raise ModelError(
        "a model is a Keras 3 or tf_keras model, or the path of a .keras or .h5 file or of a SavedModel folder. "
        f"Received: {source!r:.80}.",
        ("model",),
    )


def custom_objects(source: Any, model: Any = None) -> dict[str, Any]:
    """Classes and functions that a saved model may refer to, by name.

    They are those of its layers, of its compile settings and of its function's file.
    """
    import inspect
    import sys

    function = source.load() if isinstance(source, Ref) else source
    module = sys.modules.get(getattr(function, "__module__", None) or "") if inspect.isfunction(function) else None
    own = vars(module).items() if module else ()
    code = {name: value for name, value in own if inspect.isclass(value) or inspect.isfunction(value)}
    found = {name: value for name, value in code.items() if not migration.is_keras2(value)}
    return found if model is None else {**found, **_own_classes(model), **compilation.code_of(model)}
