"""Reading of NumPy's files, without running anything that is in them."""

from __future__ import annotations

import pickle
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.data.arrays import Arrays
from tfopt.errors import DataError
from tfopt.input_limits import check_members, refuse_device
from tfopt.user_code import describe

# Bytes up to which the arrays of a file may be compressed by any factor.
_FLOOR = 2**30
_ZIP = b"PK"
# What NumPy and zipfile raise of damaged files; NumPy reads a header as Python's literals, token by token.
_DAMAGE = (
    *(OSError, ValueError, EOFError, RuntimeError, MemoryError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)


def read_arrays(path: Path) -> Arrays:
    """The array of a `.npy` file, or those of a `.npz` file by name.

    Raises:
        DataError: The file is cut short, holds pickled objects or something else than arrays, or is no file.
    """
    refuse_device(path, "the arrays", DataError, ("data",))
    try:
        found = _read(path)
    except _DAMAGE as error:
        if "Object arrays" in str(error) or _first_bytes(path, 1) == pickle.PROTO:
            raise DataError(
                f"{path} holds Python objects (a pickle), which may run any code when they are read. Write plain "
                "arrays of numbers with np.savez, each of samples of one shape.",
                ("data",),
            ) from error
        raise DataError(f"{path} is not a whole {path.suffix} file: {_why(path, error)}", ("data",)) from error
    if isinstance(found, dict) and not found:
        raise DataError(f"{path} has no arrays in it. Write them with np.savez.", ("data",))
    return found


def _read(path: Path) -> Arrays:
    if _first_bytes(path, len(_ZIP)) == _ZIP:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path.stat().st_size, _FLOOR)
    found: Any = np.load(path, allow_pickle=False)
    if isinstance(found, np.ndarray):
        return found
    with found:
        arrays = {name: found[name] for name in found.files}
    if other := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise ValueError(f"{other[0]!r} in it is no array")
    return arrays


def _why(path: Path, error: BaseException) -> str:
    """What is wrong with a file, in words that never advise to unpickle it, as NumPy's do."""
    if isinstance(error, MemoryError):
        return "it claims more numbers than fit into memory."
    if "pickle" not in str(error):
        return f"{error}." if type(error) is ValueError else describe(error)
    begin = _first_bytes(path, 8)
    return "its header is damaged." if begin[:6] == np.lib.format.MAGIC_PREFIX else f"it begins with {begin!r}."


def _first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""
