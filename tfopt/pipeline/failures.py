"""The errors of a run: with the name of their stage, and each in one line."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from tfopt.errors import DataError, InputError, StorageError, TfoptError, id_fault, memory_fault, storage_fault
from tfopt.user_code import describe


@contextlib.contextmanager
def disk_faults() -> Iterator[None]:
    """Turns a fault of the disk in the block into a one-line `StorageError`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, TfoptError) or not (why := storage_fault(error)):
            raise
        raise StorageError(f"{why}. What was finished before is still there.") from error


@contextlib.contextmanager
def named_failures(name: str, log: Path) -> Iterator[None]:
    """Puts the stage's name into every error of the block, and the traceback of an unexpected one into the log."""
    try:
        with disk_faults():
            yield
    except InputError as error:
        raise error.reworded(f"{name}: {error}") from error
    except TfoptError as error:
        named = error.reworded(f"{name}: {error}")
        named.log = log
        raise named from error
    except Exception as error:
        if not log.parent.is_dir():
            raise StorageError(f"{name}: {log.parent} was removed while it was written. Run the same again.") from error
        if (why := memory_fault(error)) is not None:
            what = f" ({why})" if why else ""
            raise TfoptError(
                f"{name}: the memory is full{what}. Take a smaller batch_size, or a machine with more."
            ) from error
        if why := id_fault(error):
            raise DataError(f"{name}: {why}", ("data",)) from error
        with contextlib.suppress(OSError):  # the log may be full
            traceback.print_exc()
        failure = TfoptError(f"{name} failed: {describe(error)}. The whole story is in {log}.")
        failure.log, failure.unexpected = log, True
        raise failure from error
