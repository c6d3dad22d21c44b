"""Reading of NumPy's files, without running anything that is in them."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tfopt.data.arrays import Arrays
from tfopt.errors import DataError
from tfopt.user_code import describe


def read_arrays(path: Path) -> Arrays:
    """The array of a `.npy` file, or those of a `.npz` file by name.

    Raises:
        DataError: The file is cut short, or holds pickled objects.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            return file
        with file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if "Object arrays" in str(error) or _first_byte(path) == pickle.PROTO:
            raise DataError(
                f"{path} holds Python objects (a pickle), which may run any code when they are read. Write plain "
                "arrays of numbers with np.savez, each of samples of one shape.",
                ("data",),
            ) from error
        raise DataError(f"{path} is not a whole {path.suffix} file: {describe(error)}", ("data",)) from error


def _first_byte(path: Path) -> bytes:
    """The first byte of a file; empty where the file cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(1)
    except OSError:
        return b""
