"""Arrays, one or several by name: taken by index, checked, and shaped as a model takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfopt.errors import DataError

Arrays = np.ndarray | dict[str, np.ndarray]
Shapes = Mapping[str, tuple[int | None, ...]]
# Distinct values are counted first in a sample of this size.
_SAMPLE = 4096


def take(arrays: Arrays, index: Any) -> Arrays:
    """The samples at `index`, of an array or of each array of a dict."""
    return {k: v[index] for k, v in arrays.items()} if isinstance(arrays, dict) else arrays[index]


def check_values(what: str, array: np.ndarray) -> None:
    """Raises a `DataError` where there are no samples, no numbers, or numbers that are not finite."""
    if len(array) == 0:
        raise DataError(f"{what} is empty. Give every split at least one sample.", ("data",))
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} holds {array.dtype}, not numbers. Turn words into numbers first.", ("data",))
    check_finite(what, array)


def check_finite(what: str, array: np.ndarray) -> None:
    """Raises a `DataError` where there are numbers that are not finite."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
        raise DataError(f"{what} has a NaN or infinite value in sample {bad}. Clean the data first.", ("data",))


def by_name(arrays: Any) -> dict[str, Any]:
    """Arrays by name; a single array has the empty name."""
    return arrays if isinstance(arrays, dict) else {"": arrays}


def shape_inputs(x: Any, shapes: Shapes) -> Any:
    """Inputs, arrays or tensors, as a model of these input shapes takes them.

    Raises:
        DataError: An input is missing, or its samples have another shape.
    """
    if isinstance(x, dict):
        missing = [name for name in shapes if name not in x]
        if missing:
            raise DataError(f"the model has an input {missing[0]!r}, and the data has only {', '.join(x)}.", ("data",))
        return {name: add_channel_axis(x[name], shape, f"the model's input {name!r}") for name, shape in shapes.items()}
    if len(shapes) > 1:
        raise DataError(f"the model has the inputs {', '.join(shapes)}: give x as a dict by these names.", ("data",))
    [(name, shape)] = shapes.items()
    return add_channel_axis(x, shape, f"the model's input {name!r}")


def add_channel_axis(x: Any, shape: Sequence[int | None], what: str) -> Any:
    """Samples of a wanted shape: a missing last axis of 1 is added.

    Args:
        x: `(samples, ...)`, an array or a tensor.
        shape: The wanted shape, without the batch; None or -1 for a dimension of any size.
        what: What takes the samples, in words, for the error message.

    Raises:
        DataError: The samples have another shape.
    """
    want = tuple(None if size is None or size < 0 else int(size) for size in shape)
    given = tuple(x.shape[1:])
    if len(given) + 1 == len(want) and want[-1] == 1:
        x = x[..., None]
    have = tuple(x.shape[1:])
    if len(have) != len(want) or any(None not in (n, m) and n != m for n, m in zip(want, have, strict=True)):
        raise DataError(f"{what} takes samples of shape {want}, and the data's have {given}.", ("data",))
    return x


def count_distinct(values: np.ndarray, most: int) -> int | None:
    """The number of distinct values of an array, zero included; None above `most`."""
    values = values.ravel()
    sample = values[values != 0]
    sample = sample[:: -(-sample.size // _SAMPLE) or 1]
    if np.unique(sample).size > most:
        return None
    count = int(np.unique(values).size)
    return count if count <= most else None
