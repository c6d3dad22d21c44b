"""Files that are there whole or not at all, whatever ends the process or the machine while they are written.

Bytes go to a file beside the one to write, reach the disk, and take its name by a rename, which file systems make in
one step. A result's folder appears in the same way, once everything in it has reached the disk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from tfopt.errors import StorageError

# Begins and ends the name of a file that is not whole yet, or not yet in its place; its process is named in between.
_HIDDEN, _NEW = ".", ".new"
_NEW_OF = re.compile(r"\.(\d+)-[0-9a-f]+\.new$")
# Ends the name of what was damaged and is kept beside what is made anew.
DAMAGED = ".damaged"
# What some file systems answer where a folder is to be synced; its names are as safe there as they get.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


def write(path: Path, content: bytes | memoryview | str) -> None:
    """Writes a file, in place of an older one, whose permissions it keeps.

    Args:
        path: The file.
        content: Its bytes, or text that is written in UTF-8.

    Raises:
        OSError: The file cannot be written; an older one is as it was.
    """
    write_together({path: content})


def write_together(files: Mapping[Path, bytes | memoryview | str]) -> None:
    """Writes files that belong together: each takes its name once all are on the disk.

    Each is whole or not there, and content that cannot be written changes none of them. They take their names one after
    the other: where the process ends between two renames, or the second one fails, some are new and others are not.
    What reads them together has to tell, as by a digest of one in another.

    Args:
        files: Content by file, as `write` takes it.

    Raises:
        OSError: A file cannot be written, or cannot take its name.
    """
    made: dict[Path, Path] = {}
    try:
        for named, content in files.items():
            data = content.encode(errors="replace") if isinstance(content, str) else content
            if named.exists() and not named.is_file():  # a device or a pipe, or a folder, which is refused
                named.write_bytes(data)
                continue
            path = Path(os.path.realpath(named))  # a link stays one, unless it leads to itself
            new = path.with_name(f"{_HIDDEN}{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_NEW}")
            with new.open("xb") as file:
                made[path] = new
                _keep_mode(path, new)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path, new in made.items():
            os.replace(new, path)
        for folder in {path.parent for path in made}:
            sync(folder)
    finally:
        for new in made.values():
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)


def _keep_mode(path: Path, new: Path) -> None:
    """Gives a new file the permissions of the older one that it takes the place of, if there is one."""
    if not path.exists():  # nor where a link leads to itself
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode != stat.S_IMODE(new.stat().st_mode):  # some file systems have one mode for all, and refuse another
        new.chmod(mode)


def leftovers(folder: Path) -> list[Path]:
    """The files that processes were writing in a folder when they were killed: nobody misses them.

    Those of this process are among them, which writes nothing while it asks: in a container all have the same number.
    """
    found = []
    for path in folder.glob(f"{_HIDDEN}*{_NEW}"):
        of = _NEW_OF.search(path.name)
        if of and path.is_file() and not path.is_symlink() and not runs_elsewhere(int(of[1])):
            found.append(path)
    return found


def runs_elsewhere(process: int) -> bool:
    """Whether a number is that of another process of this machine that runs."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def set_aside(path: Path) -> Path:
    """Renames a file or a folder that is damaged, in place of an older one that was; returns what it is called now.

    Raises:
        OSError: It cannot be renamed.
    """
    aside = path.with_name(f"{path.name}{DAMAGED}")
    remove(aside)
    rename(path, aside)
    return aside


def rename(path: Path, to: Path) -> None:
    """Renames a file or a folder whose content is on the disk already, and has the new name reach it too.

    Raises:
        OSError: It cannot be renamed.
    """
    os.rename(path, to)
    sync(to.parent)
    if path.parent != to.parent:
        sync(path.parent)


def sync(path: Path) -> None:
    """Has a file, or the names in a folder, reach the disk.

    Raises:
        OSError: The disk failed.
    """
    if os.name == "nt" and path.is_dir():  # where folders cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not path.is_dir() or error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path, skip: str = "") -> None:
    """Has a folder with all that is in it reach the disk.

    Args:
        folder: The folder.
        skip: Name of folders in it that need not.

    Raises:
        OSError: The disk failed.
    """
    for root, folders, files in os.walk(folder, topdown=True):
        folders[:] = [name for name in folders if name != skip]
        for name in files:
            if not Path(root, name).is_symlink():
                sync(Path(root, name))
        sync(Path(root))


def remove(path: Path) -> None:
    """Removes a file, a link or a folder with all in it; nothing where there is none.

    Raises:
        OSError: It cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def storage_errors(path: Path, way: str = "What was finished before is still there.") -> Iterator[None]:
    """Turns an `OSError` of the block (a full disk, a read-only folder) into a one-line `StorageError`.

    Args:
        path: The file or folder that the block writes.
        way: The sentence that helps; that of a run if not given.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise StorageError(f"{path} cannot be written: {why}. {way}") from error
