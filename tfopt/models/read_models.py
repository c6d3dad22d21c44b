"""The models of a run that stages read and never change: each loaded once, with what was computed of it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")
# Models that are kept: a file often has the model that it was made from, and the one that it is held against, in common
# with the one before it.
KEPT = 2


class ReadModels:
    """Models by their files, for those who neither train nor compile them.

    What is computed of such a model is as good as long as the model lives. Of any other model nothing is kept.
    """

    def __init__(self) -> None:
        self._by_file: dict[Hashable, Any] = {}
        self._computed: weakref.WeakKeyDictionary[Any, dict[Hashable, Any]] = weakref.WeakKeyDictionary()

    def admit(self, model: Any, path: Path | None = None) -> None:
        """Takes a model in, which nobody changes from now on.

        Args:
            model: The model.
            path: The file that holds the same, where there is one.
        """
        self._computed.setdefault(model, {})
        if path is not None:
            last = [(file, kept) for file, kept in self._by_file.items() if kept is not model]
            self._by_file = {**dict(last[1 - KEPT :]), _file(path): model}

    def of(self, path: Path, load: Callable[[], Any]) -> Any:
        """The model of a file, loaded if it was not among the last.

        Args:
            path: The file; one that was written anew is another.
            load: Loads it.
        """
        if _file(path) not in self._by_file:
            self.admit(load(), path)
        return self._by_file[_file(path)]

    def computed(self, model: Any, what: Hashable, compute: Callable[[], Value]) -> Value:
        """What is computed of a model: once, where the model is one that nobody changes.

        Args:
            model: The model.
            what: Tells one result from another of the same model.
            compute: Computes it.
        """
        known = self._computed.get(model)
        if known is None:
            return compute()
        if what not in known:
            known[what] = compute()
        return known[what]


def _file(path: Path) -> Hashable:
    """What tells a file from another at the same place."""
    state = path.stat()
    return path, state.st_ino, state.st_mtime_ns, state.st_size
