"""Optuna's journal of a search with a digest in each line, which a full disk or a kill in the middle leaves whole."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend, JournalFileSymlinkLock

from tfopt.durable_files import DAMAGED, write
from tfopt.errors import DISK_FAULTS, StorageError
from tfopt.sealed_json import seal, unseal

# How the name of Optuna's lock of a file ends, and that of one which is being let go.
LOCK, LET_GO = ".lock", ".rename"


class DamagedJournalError(StorageError):
    """A journal that is not as it was written."""


class Journal(BaseJournalBackend):
    """A journal in a file that processes share, on a disk of theirs.

    A process that is killed while it appends leaves a part of a line behind, as a full disk does. Optuna's own journal
    appends to that part, and is broken from then on; this one takes it away first.

    Args:
        file: The journal's file, which is made if it is not there.
        stale_seconds: Time after which the lock of a process that was killed is taken from it.
    """

    def __init__(self, file: Path, stale_seconds: int):
        self._file = file
        self._lock = JournalFileSymlinkLock(str(file), stale_seconds)
        file.open("ab").close()
        for left in file.parent.glob(f"{glob.escape(file.name)}{LOCK}*{LET_GO}"):  # by a process that was killed
            with contextlib.suppress(OSError):
                left.unlink()
        self._places = [0]  # the byte at which each line that was read begins, and the next one will

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The entries from a number on, in order; the one that another process is writing is not among them.

        Raises:
            DamagedJournalError: A line is not as it was written.
        """
        with self._file.open("rb") as file:
            number = min(log_number_from, len(self._places) - 1)
            file.seek(self._places[number])
            for line in file:
                if not line.endswith(b"\n"):
                    return
                entry = unseal(line)
                if entry is None:
                    raise DamagedJournalError(
                        f"line {number + 1} of the journal {self._file} is damaged. Remove the file to search anew."
                    )
                number += 1
                if number == len(self._places):
                    self._places.append(self._places[-1] + len(line))
                if number > log_number_from:
                    yield entry

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Appends entries, all or none of them, and has them reach the disk.

        Raises:
            OSError: They cannot be written.
        """
        lines = "".join(f"{seal(entry)}\n" for entry in logs).encode()
        with self._held(), self._file.open("r+b") as file:
            end = _end_of_lines(file)
            try:
                file.truncate(end)
                file.seek(end)
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self._file, end)
                raise

    def mend(self) -> int | None:
        """Keeps the lines before the damage, and the journal as it was in a file beside it.

        Returns:
            The number of lines that are kept; None where another process was faster, and nothing is damaged.

        Raises:
            OSError: The files cannot be written.
        """
        with self._held():
            content = self._file.read_bytes()
            lines = content.splitlines(keepends=True)
            whole = list(itertools.takewhile(lambda line: line.endswith(b"\n") and unseal(line) is not None, lines))
            if not any(line.endswith(b"\n") for line in lines[len(whole) :]):
                return None
            write(self._file.with_name(f"{self._file.name}{DAMAGED}"), content)
            write(self._file, b"".join(whole))
            self._places = [0]
            return len(whole)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        self._lock.acquire()
        try:
            yield
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Releases the lock: Optuna gives it another name, from when on it is free, and removes that.

        Another process may have removed the name, and a disk without room takes none.
        """
        try:
            self._lock.release()
        except RuntimeError as error:
            cause = error.__context__
            if isinstance(cause, OSError) and str(cause.filename).endswith(LET_GO):
                return
            if not isinstance(cause, OSError) or cause.errno not in DISK_FAULTS:
                raise
            Path(f"{self._file}{LOCK}").unlink()


def _end_of_lines(file: Any, block: int = 65536) -> int:
    """The byte after the last whole line of a file."""
    place = file.seek(0, os.SEEK_END)
    while place:
        start = max(place - block, 0)
        file.seek(start)
        found = file.read(place - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        place = start
    return 0
