"""What a tool said of files, kept for the next that asks in this process: its results, and its refusals."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from tfopt.errors import ConversionError

T = TypeVar("T")

MOST_BYTES = 2**26


class UnfinishedError(ConversionError):
    """A tool was ended by a signal or a limit: it may come to another end the next time."""


class Memo(Generic[T]):
    """Results by key, such as the digest of a file with settings; those asked for longest ago go first.

    Args:
        size: Bytes that a result takes, about.
        most_bytes: Bytes that all take at most; a result of more is not kept.
    """

    def __init__(self, size: Callable[[T], int], most_bytes: int = MOST_BYTES):
        self._size, self._most = size, most_bytes
        self._kept: OrderedDict[Hashable, tuple[T | ConversionError, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result of a key, made where it is not kept.

        Args:
            key: The key.
            make: Makes it. A `ConversionError` is kept as well, unless it is an `UnfinishedError`.

        Raises:
            ConversionError: It was raised by `make`, now or earlier.
        """
        found = self.known(key)
        if found is not None:
            return found
        try:
            made = make()
        except UnfinishedError:
            raise
        except ConversionError as error:
            self._keep(key, copy.copy(error), len(str(error)))  # without the traceback, whose frames hold files
            raise
        self.keep(key, made)
        return made

    def known(self, key: Hashable) -> T | None:
        """The result of a key; None where it is not kept.

        Raises:
            ConversionError: There is none, as the file was refused.
        """
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            found, _ = self._kept[key]
        if isinstance(found, ConversionError):
            raise copy.copy(found)
        return found

    def keep(self, key: Hashable, result: T) -> None:
        """Keeps a result, in place of any older one of its key."""
        self._keep(key, result, self._size(result))

    def _keep(self, key: Hashable, result: T | ConversionError, size: int) -> None:
        with self._lock:
            self._kept.pop(key, None)
            if size > self._most:
                return
            self._kept[key] = (result, size)
            while sum(each for _, each in self._kept.values()) > self._most:
                self._kept.popitem(last=False)
