"""A model as it lies on disk: whether it is whole, what it is made of and its inputs, without running any of its code.

Nothing here but `check_saved_model` imports TensorFlow: a download that failed is told from a model in a moment.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfopt.errors import ModelError, did_you_mean_file
from tfopt.input_limits import refuse_device
from tfopt.models import saved_model
from tfopt.models.config_audit import StoredPart, parts_of
from tfopt.models.foreign_files import refuse_foreign
from tfopt.models.keras2.layer_config import code_in, tf_keras_library, wrapper_in
from tfopt.models.model_config import ModelConfig, check_weights, head_of, not_whole, read_config

FILES = (".keras", ".h5", ".hdf5")
_TFMOT = "tensorflow_model_optimization"
_TRUST = "If the file is yours, write `trust: true` in the recipe, or --trust on the command line."
_CLASS = "Give the model as a function, file.py:build, in a file that has the class, or the class in custom_objects"
# Packages whose classes Keras imports by itself, from a file that is trusted.
_OF_KERAS = ("keras_hub", "keras_cv", "keras_nlp")


@dataclass(frozen=True)
class StoredModel:
    """What the config of a model says, and what the model is made of by it.

    Args:
        config: The config of a file; None of a folder.
        parts: The layers of a file and what they are made of; none of a folder.
    """

    config: ModelConfig | None = None
    parts: Sequence[StoredPart] = ()


def check(path: Path, objects: Container[str] = (), trust: bool = False) -> StoredModel:
    """Checks that a model is there and whole, and holds no code that may not be loaded, before Keras is imported.

    All of a `.keras` file is read, as its checksums cover it.

    Args:
        path: A `.keras` or `.h5` file, or a SavedModel folder.
        objects: Names of the classes and functions that its layers may be made of, besides Keras's.
        trust: Whether code that is stored in it may be loaded and run.

    Returns:
        What its config says, for those who load it.

    Raises:
        ModelError: There is no such file, it is no model of Keras, it is damaged, or it holds code.
    """
    found = read(path, objects, trust)
    if path.is_file():
        check_weights(path)
    return found


def read(path: Path, objects: Container[str] = (), trust: bool = False) -> StoredModel:
    """What a model is made of, which its config alone is read for.

    Args:
        path: A `.keras` or `.h5` file, or a SavedModel folder, whose parts are left to `check_saved_model`.
        objects: Names of the classes and functions that its layers may be made of, besides Keras's.
        trust: Whether code that is stored in it may be loaded and run.

    Raises:
        ModelError: There is no such file, it is no model of Keras, its config is damaged, or it holds code.
    """
    if not path.exists():
        raise ModelError(f"there is no file {path}.{did_you_mean_file(path)}", ("model",))
    if path.is_dir():
        saved_model.check_folder(path)
        return StoredModel()
    refuse_foreign(path)
    refuse_device(path, "the model", ModelError, ("model",))
    if path.suffix not in FILES:
        raise ModelError(
            f"a model is a .keras or .h5 file, or a SavedModel folder of Keras 2, and {path} is none of them. "
            f"Received: a file that begins with {head_of(path)[:8]!r}.",
            ("model",),
        )
    config = read_config(path)
    try:
        parts = list(parts_of(config.model, _at_hand(objects), config.legacy))
        compiled = list(parts_of(config.compilation, _at_hand(objects), config.legacy))
    except ValueError as error:
        raise not_whole(path, str(error)) from error
    refuse_code(path, [*parts, *(part for part in compiled if part.carries)], objects, trust)
    return StoredModel(config, parts)


def may_compile(settings: Any, objects: Container[str], legacy: bool = False) -> bool:
    """Whether all that a model is compiled with is Keras's, or at hand: what is not is left out, as it need not be run.

    Args:
        settings: Settings of `compile` as a file has them.
        objects: Names of the classes and functions that they may be made of, besides Keras's.
        legacy: Whether the file is in HDF5.
    """
    return not any(part.foreign for part in parts_of(settings, _at_hand(objects), legacy))


def refuse_code(path: Path, parts: Iterable[StoredPart], objects: Container[str], trust: bool) -> None:
    """Refuses code, classes that are not Keras's, and wrappers of TF-MOT, whose layers have weights of other names.

    Raises:
        ModelError: There is such a part, and it may not be loaded.
    """
    parts = list(parts)
    for part in parts:
        if (why := code_in(part.kind)) and (path.is_dir() or part.kind != "Lambda"):
            raise ModelError(f"{path} does not load: the layer {part.name!r} ({part.kind}) {why}.", ("model",))
        wrapper = None if part.kind in objects else wrapper_in(part.kind)
        if wrapper and (part.module.startswith(_TFMOT) or part.module == "keras"):  # which is none, in a .h5 file
            raise ModelError(f"{path} does not load: the layer {part.name!r} ({part.kind}) {wrapper}.", ("model",))
    for part in () if trust else parts:
        if part.carries:
            what = f"{part.carries} {part.name!r}"
            raise ModelError(f"{path} carries {what}, and loading it would run or read that. {_TRUST}", ("model",))
        if part.foreign:
            of = "" if part.module in ("keras", "builtins") else f" of {part.module!r}"  # files of HDF5 do not say it
            what = f"it needs the class {part.kind!r}{of}, for {part.name!r}"
            way = f" {_TRUST}" if part.module.startswith(_OF_KERAS) else ""
            raise ModelError(f"{path} does not load: {what}. {_CLASS}.{way}", ("model",))


def check_saved_model(folder: Path, objects: Container[str] = (), trust: bool = False) -> bool:
    """Checks a SavedModel, which is read as data: neither its graph nor its classes are run.

    Args:
        folder: The folder, which `read` found to be whole.
        objects: Names of the classes and functions that its layers may be made of, besides Keras's.
        trust: Whether its graph may do more than arithmetic, and its layers be of classes that are not at hand.

    Returns:
        Whether all that the model is compiled with is Keras's, or at hand.

    Raises:
        ModelError: It is cut short, has no Keras model in it, or holds code.
    """
    tf_keras_library()  # says how it is installed if it is not
    found = saved_model.read(folder, _at_hand(objects))
    refuse_code(folder, [*found.parts, *(part for part in found.compiled if part.carries)], objects, trust)
    if found.foreign_ops and not trust:
        raise ModelError(
            f"{folder} has ops in its graph that are not known to be arithmetic alone: "
            f"{', '.join(found.foreign_ops[:4])}. Loading it could run them. {_TRUST}",
            ("model",),
        )
    return not any(part.foreign for part in found.compiled)


class _AtHand:
    """The names of classes and functions that may be made: those given, and those that this process has registered."""

    def __init__(self, given: Container[str]):
        saving = [getattr(sys.modules.get(name), "saving", None) for name in ("keras", "tf_keras")]
        self._given, self._registered = given, {name for one in saving if one for name in one.get_custom_objects()}

    def __contains__(self, name: object) -> bool:
        # Keras 2 writes the package that a class was registered in before its name.
        return name in self._registered or str(name) in self._given or str(name).rpartition(">")[2] in self._given


def _at_hand(objects: Container[str]) -> Container[str]:
    return objects if isinstance(objects, _AtHand) else _AtHand(objects)


def input_shapes(path: Path) -> dict[str, tuple[int | None, ...]]:
    """The input shapes of a file that Keras 3 wrote, by name, without the batch; empty where its config has none."""
    config = read_config(path).model if path.is_file() else {}
    inner = config.get("config") if config.get("class_name") in ("Functional", "Sequential") else None
    layers = inner.get("layers") if isinstance(inner, dict) else None
    found: dict[str, tuple[int | None, ...]] = {}
    for layer in layers if isinstance(layers, list) else ():
        is_input = isinstance(layer, dict) and layer.get("class_name") == "InputLayer"
        own = layer.get("config") if is_input and isinstance(layer.get("config"), dict) else {}
        shape = own.get("batch_shape")
        if isinstance(shape, list) and all(isinstance(n, int | None) for n in shape):
            found[str(own.get("name"))] = tuple(shape[1:])
    return found
