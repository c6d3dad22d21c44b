"""Inputs without targets, for calibration and comparison: from a NumPy file, or of labelled data."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from tfopt.data.array_files import read_arrays
from tfopt.data.arrays import Arrays, Shapes, by_name, check_finite, shape_inputs, take
from tfopt.data.sources import as_data, is_plain, load, resolve
from tfopt.data.splits import Data, Split
from tfopt.errors import DataError
from tfopt.user_code import find_file


class InputSource:
    """Inputs alone, for a command that needs no targets. A file is read at once, anything else when it is first taken.

    Args:
        source: A `.npy` file of one array, a `.npz` file of arrays by input name, or what a recipe's `data` may be, of
            which training samples are taken.
        shapes: The model's input shapes as far as they are known, which a file has to fit.

    Raises:
        DataError: The file is missing or cut short, has no samples or values that are not finite, or its samples do not
            fit the model.
    """

    def __init__(self, source: str, shapes: Shapes = MappingProxyType({})):
        self._arrays, self._source = _inputs_in_file(source)
        if self._arrays is not None and shapes:
            self._arrays = shape_inputs(self._arrays, shapes)
            _check_alike(self._arrays)
        elif shapes and is_plain(self._source):
            self._data.fitted(shapes)

    @cached_property
    def _data(self) -> Data:
        data = self._source if isinstance(self._source, Data) else load(self._source)
        if isinstance(data.train, Split):
            _check_samples("x_train", data.train.x)
        return data

    def take(self, shapes: Shapes, count: int) -> Arrays:
        """A seeded choice of samples.

        Args:
            shapes: The model's input shapes by name, without the batch; empty where it does not know them.
            count: Number of samples.

        Raises:
            DataError: The data cannot be read, or the samples do not fit the model.
        """
        if self._arrays is None:
            return self._data.fitted(shapes).calibration(count, 0)
        arrays = shape_inputs(self._arrays, shapes) if shapes else self._arrays
        have = _check_alike(arrays)
        return take(arrays, np.sort(np.random.default_rng(0).permutation(have)[:count]))


def _inputs_in_file(source: str) -> tuple[Arrays | None, Any]:
    """The arrays of a file of inputs, or None and the labelled data, or its resolved source, in their place."""
    path = Path(os.path.expandvars(source))
    if ":" not in source and path.suffix not in ("", ".py", ".npy", ".npz"):
        raise DataError(
            f"tfopt does not read {path.suffix} files. Write the inputs into a .npy file with np.save, or an .npz file "
            "by input name with np.savez, or name a function that reads the file, as in file.py:function. "
            f"Received: {source!r}.",
            ("data",),
        )
    if path.suffix not in (".npy", ".npz") or source.startswith("npz:"):
        return None, resolve(source, Path.cwd())
    arrays = read_arrays(find_file(str(path), Path.cwd()))
    if isinstance(arrays, dict) and any(name.lower() == "x_train" for name in arrays):
        return None, as_data(arrays)
    if isinstance(arrays, dict) and len(arrays) == 1:
        [arrays] = arrays.values()
    if any(not array.ndim for array in by_name(arrays).values()):
        raise DataError(f"{path} holds a single number. Write samples, of shape (samples, ...).", ("data",))
    _check_samples(str(path), arrays)
    return arrays, None


def _check_alike(arrays: Arrays) -> int:
    """The number of samples, which is the same for all inputs: those of one place belong together."""
    counts = {name: len(array) for name, array in by_name(arrays).items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"every input needs the same number of samples. Received: {told}.", ("data",))
    return min(counts.values())


def _check_samples(what: str, arrays: Arrays) -> None:
    """Checks all samples, of which a few are taken: a row is told as it is in the file."""
    for name, array in by_name(arrays).items():
        where = f"{what}[{name!r}]" if name else what
        if not len(array):
            raise DataError(f"{where} has 0 samples. Give at least one; a hundred or two show the ranges.", ("data",))
        check_finite(where, array)
