"""The ranges that training has set, by the names of the tensors of the file that is made after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfopt.quantization.aware.scheme import QuantizationScheme
from tfopt.quantization.aware.tensor_matching import parts
from tfopt.quantization.calibration import as_range
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.quantization.weight_matching import stored_kernels


def activation_ranges(
    prepared: PreparedModel,
    before: QuantizationScheme,
    now: QuantizationScheme,
    ends: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    """The trained ranges by tensor name; calibrated ones for tensors that were not trained.

    Args:
        prepared: The trained model, converted to float32.
        before: The scheme that it was trained on.
        now: The scheme of the trained model, whose tensors may have other names.
        ends: The ends of each range by the name of its tensor in `before`.
    """
    at: dict[Any, int] = {**before.points, **before.inputs}
    seen = {before.grids[number].name for number in at.values()}
    trained = {name: pair for name, pair in ends.items() if name in seen}
    known: dict[int, tuple[float, float]] = {}
    for place, number in (*now.points.items(), *now.inputs.items()):
        name = before.grids[at[place]].name if place in at else now.grids[number].name
        if name in trained:
            known[number] = trained[name]
    found = prepared.extremes.ranges("minmax")
    for name, number in now.tensors.items():
        if number in known:
            found[name] = as_range(*known[number])
    return found


def kernel_ranges(
    prepared: PreparedModel,
    before: QuantizationScheme,
    now: QuantizationScheme,
    steps: Mapping[tuple[int, str], np.ndarray],
) -> dict[str, Any]:
    """Ranges of kernels whose scale is not set by their largest weight.

    Args:
        prepared: The trained model, converted to float32.
        before: The scheme that it was trained on.
        now: The scheme of the trained model.
        steps: The learned scales of kernels by part and attribute.
    """
    numbers = {id(part.computes): part.number for part in parts(prepared.model)}
    grids = {(grid.part, grid.attribute): grid for grid in before.kernels}
    found: dict[str, Any] = {}
    for one in stored_kernels(prepared.source):
        name = (numbers[id(one.kernel.place.layer)], one.kernel.attribute)
        grid = grids.get(name)
        if grid is None or not grid.symmetric or (name not in steps and not grid.shared):
            continue
        weights = np.abs(np.asarray(one.kernel.variable.value.numpy()))
        reach = steps[name] * (2 ** (grid.bits - 1) - 1) if name in steps else weights.max()
        shape = [size if axis in one.axes else 1 for axis, size in enumerate(weights.shape)]
        channels = np.broadcast_to(reach, shape).ravel() * np.abs(one.factors)
        constant = prepared.source.constants[one.constant]
        if one.constant in now.per_channel:
            wide = channels.reshape([-1 if axis == one.channels else 1 for axis in range(constant.ndim)])
        else:
            wide = np.full((1,) * constant.ndim, channels.max())
        wide = wide.astype(np.float32)
        found[one.constant] = {"min": -wide, "max": wide}
    return found
