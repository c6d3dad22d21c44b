"""The models of a run that stages read and do not change: each loaded once, with what was computed of it.

Stages of the user's own are among those who read, so that nobody's word is taken for it: a model is known by a digest
of its weights, and one that was changed is loaded anew.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Value = TypeVar("Value")
# Models that are kept: a file often has the model that it was made from, and the one that it is held against, in common
# with the one before it.
KEPT = 2


class ReadModels:
    """Models by their files, for those who neither train nor compile them.

    What is computed of such a model is as good as long as the model lives and is what it was. Of any other model
    nothing is kept.
    """

    def __init__(self) -> None:
        self._by_file: dict[Hashable, tuple[Any, str]] = {}
        self._computed: weakref.WeakKeyDictionary[Any, dict[Hashable, Any]] = weakref.WeakKeyDictionary()

    def admit(self, model: Any, path: Path | None = None) -> None:
        """Takes a model in.

        Args:
            model: The model.
            path: The file that holds the same, where there is one.
        """
        self._computed.setdefault(model, {})
        if path is not None:
            last = [(file, kept) for file, kept in self._by_file.items() if kept[0] is not model]
            self._by_file = {**dict(last[1 - KEPT :]), _file(path): (model, state(model))}

    def of(self, path: Path, load: Callable[[], Any]) -> Any:
        """The model of a file, loaded if it was not among the last, or is not what it was then.

        Args:
            path: The file; one that was written anew is another.
            load: Loads it.
        """
        model, before = self._by_file.get(_file(path), (None, ""))
        if model is None or state(model) != before:
            model = load()
            self.admit(model, path)
        return model

    def forget(self) -> None:
        """Lets go of the models, for the memory of what comes next; what was computed of one that lives stays."""
        self._by_file = {}

    def computed(self, model: Any, what: Hashable, compute: Callable[[], Value]) -> Value:
        """What is computed of a model: once, where the model is one of these and is what it was then.

        Args:
            model: The model.
            what: Tells one result from another of the same model.
            compute: Computes it.
        """
        known = self._computed.get(model)
        if known is None:
            return compute()
        before, value = known.get(what, ("", None))
        now = state(model)
        if before != now:
            value = compute()
            known[what] = now, value
        return value


def state(model: Any) -> str:
    """A digest of the weights of a model and of its seeds, and of which of them are trained; not of its metrics."""
    digest = hashlib.blake2b(digest_size=16)
    counted = {id(variable) for variable in getattr(model, "metrics_variables", ())}  # an evaluation changes them
    for variable in (each for each in getattr(model, "variables", ()) if id(each) not in counted):
        values = np.ascontiguousarray(variable)
        digest.update(repr((values.shape, values.dtype.str, bool(variable.trainable))).encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _file(path: Path) -> Hashable:
    """What tells a file from another at the same place."""
    state = path.stat()
    return path, state.st_ino, state.st_mtime_ns, state.st_size
