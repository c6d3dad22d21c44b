"""What the config of a model file is made of, besides the plain classes of Keras: found without running any of it."""

from __future__ import annotations

import functools
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tfopt.models.known_classes import CARRIES_CODE, CLASSES, COMPILED, FUNCTIONS
from tfopt.source_names import registered_names

# Where files say that Keras's own classes are from; files of HDF5 say nothing.
_KERAS = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras", "builtins")
# Layers that may have the name of a file in the place of their vocabulary.
_VOCABULARIES = ("StringLookup", "IntegerLookup", "TextVectorization")
# Before the names that the optimizers of Keras 2 are registered by.
_REGISTERED = "Custom>"
# tfopt, and those of its files whose classes and functions are registered with Keras.
_OWN, _OWN_FILES = "tfopt", ("losses.py", "optimizers/**/*.py")


class StoredPart(NamedTuple):
    """A layer, or any other object or function, as a config describes it.

    Args:
        kind: The name of its class, or of the function.
        name: Its own name; `?` where it has none.
        module: The module that it is from; `keras` where the config says nothing.
        foreign: Whether it is none of Keras's plain classes, nor at hand otherwise.
        carries: What loading it would run or read, such as `Python code in the Lambda layer`; empty where nothing is
            known of that.
    """

    kind: str
    name: str
    module: str
    foreign: bool = False
    carries: str = ""


def parts_of(config: Any, objects: Container[str] = (), legacy: bool = False) -> Iterator[StoredPart]:
    """Every object and function that a config describes, at any depth.

    Args:
        config: JSON of bounded depth.
        objects: Names of the classes and functions that are at hand besides Keras's.
        legacy: Whether it is of HDF5 or a SavedModel, whose readers look for a class by its `class_name`, so that the
            name that it is registered by counts only where it is of that class.

    Raises:
        ValueError: The config is of a shape that Keras does not write.
    """
    if isinstance(config, Mapping):
        if "class_name" in config:
            yield _part(config, objects, legacy)
        for value in config.values():
            yield from parts_of(value, objects, legacy)
    elif isinstance(config, list):
        for value in config:
            yield from parts_of(value, objects, legacy)


def _part(config: Mapping[str, Any], objects: Container[str], legacy: bool) -> StoredPart:
    kind, inner, module = config["class_name"], config.get("config"), config.get("module") or "keras"
    registered = config.get("registered_name") or kind
    if not all(isinstance(word, str) and word.isprintable() for word in (kind, module, registered)):
        raise ValueError(f"the name of a class is a text, and there is {kind!r:.40} of {module!r:.40}")
    if kind == "function":
        if not isinstance(inner, str) or not inner.isprintable():
            raise ValueError(f"the name of a function is a text, and there is {inner!r:.40}")
        known = (inner in FUNCTIONS and _is_keras(module)) or _is_own(inner, module)
        return StoredPart(inner, "?", module, not (known or inner in objects))
    if legacy and registered.rpartition(">")[2] != kind:
        registered = kind
    own = inner if isinstance(inner, Mapping) else {}
    name = str(own.get("name") or config.get("name") or "?")
    carries = "" if kind in objects else CARRIES_CODE.get(kind, "")
    if kind in _VOCABULARIES and isinstance(own.get("vocabulary"), str):
        carries = f"the name of a file, {own['vocabulary']!r:.80}, in the layer"
    own_class = _is_own(registered, module) and (legacy or not _is_keras(module))
    known = registered in objects or own_class or (_is_known(kind) and _is_keras(module))
    return StoredPart(kind, name, module, bool(carries) or not known, carries)


def _is_known(kind: str) -> bool:
    return kind in CLASSES or kind in FUNCTIONS or kind.removeprefix(_REGISTERED) in COMPILED


def _is_own(registered: str, module: str) -> bool:
    """Whether a name is one that tfopt registers, of a module of tfopt, or of none: files of HDF5 say nothing."""
    at_home = module.startswith(f"{_OWN}.") or _is_keras(module)
    return registered.startswith(f"{_OWN}>") and at_home and registered in own_names()


@functools.cache
def own_names() -> frozenset[str]:
    """The names by which tfopt's own losses and optimizers are registered, read from their files, as Keras is slow."""
    root = Path(__file__).parents[1]
    return frozenset(name for files in _OWN_FILES for file in root.glob(files) for name in registered_names(file, _OWN))


def _is_keras(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in _KERAS)
