"""Labelled samples to score models on: those of a file, or the test split of a recipe's data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.data import sources
from tfopt.data.array_files import read_arrays
from tfopt.data.arrays import by_name
from tfopt.data.splits import Data, Samples, Split, same_length
from tfopt.errors import DataError
from tfopt.user_code import find_file


def labelled_samples(source: Any, folder: Path) -> Samples:
    """The samples to score on.

    Args:
        source: An `.npz` file of `x` and `y`, or what a recipe's `data` may be, of which it is the test split; in
            Python also a `Split`, or a pair `(x, y)` of arrays or of dicts of such by name.
        folder: The folder in which files are looked for first.

    Raises:
        DataError: There is no such data, or it has no labels.
    """
    if isinstance(source, Samples):
        return source
    if isinstance(source, Data):
        return source.test
    if isinstance(source, tuple) and len(source) == 2 and not any(isinstance(part, tuple | list) for part in source):
        return _checked(Split(*source))
    if path := npz_file(source, folder):
        arrays = read_arrays(path)
        if isinstance(arrays, dict) and {"x", "y"} <= set(arrays):
            return _checked(Split(arrays["x"], arrays["y"]))
    return sources.load(sources.resolve(source, folder)).test


def check_labelled(source: Any, folder: Path) -> None:
    """Refuses what `labelled_samples` cannot read, without loading it.

    Raises:
        DataError: There is no such data, or it is a file without labels.
    """
    if isinstance(source, str) and Path(source).suffix == ".npy":
        raise DataError(
            f"models are scored on labelled samples, and a .npy file has no labels: np.savez writes x and y into one "
            f".npz file. Received: {source!r}."
        )
    if isinstance(source, str) and not npz_file(source, folder):
        sources.resolve(source, folder)


def npz_file(source: Any, folder: Path) -> Path | None:
    """The `.npz` file that a source names; None where it is none."""
    if not isinstance(source, str | os.PathLike) or Path(source).suffix != ".npz":
        return None
    return find_file(os.path.expandvars(str(source).removeprefix("npz:")), folder)


def _checked(split: Split) -> Split:
    for name, part in (("x", split.x), ("y", split.y)):
        if any(not np.ndim(array) for array in by_name(part).values()):
            raise DataError(f"{name} is a single number. Give an array of shape (samples, ...).", ("data",))
    for array in split.y.values() if isinstance(split.y, dict) else [split.y]:
        same_length("y", array, "x", split)
    split.check("test")
    return split
