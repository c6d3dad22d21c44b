"""The start of a training from integers that were chosen together: the weights that round to them, and their scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tfopt.quantization.aware.grids import KernelGrid
from tfopt.quantization.aware.tensor_matching import Part, parts
from tfopt.quantization.bias_matching import stored_bias
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.quantization.rounding.edited_file import ChosenKernel
from tfopt.quantization.rounding.reconstruction import Reconstructed
from tfopt.quantization.weight_matching import StoredKernel, shape_of_scales, stored_kernels

# How far from the point that it rounds to a weight may begin, in steps: half a step is the border to the next point.
REACH = 0.25

Where = tuple[int, str]  # part and attribute of a variable


@dataclass(frozen=True)
class RoundedStart:
    """What a training begins with; variables are named by the number of their part and their attribute.

    Args:
        weights: Kernels whose nearest points on their grids are the chosen integers.
        steps: The scales of these kernels, in shapes that broadcast with them.
        shifts: What is added to biases, `(channels,)`.
        notes: What there is to say of it, sentences without a full stop.
    """

    weights: Mapping[Where, np.ndarray] = field(default_factory=dict)
    steps: Mapping[Where, np.ndarray] = field(default_factory=dict)
    shifts: Mapping[Where, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def give(self, whole: Sequence[Part]) -> None:
        """Gives the weights and the biases to a model.

        Args:
            whole: All parts of the model.
        """
        for (part, attribute), weights in self.weights.items():
            vars(whole[part].computes)[attribute].assign(weights)
        for (part, attribute), shift in self.shifts.items():
            bias = vars(whole[part].computes)[attribute]
            bias.assign(np.asarray(bias.value.numpy()) + shift)


def rounded_start(prepared: PreparedModel, kernels: Sequence[KernelGrid], ranges: str) -> RoundedStart:
    """The start from the file that the settings of a model ask for.

    A weight begins within a quarter of a step of the point that was chosen for it, on the side from which it comes:
    none becomes a zero that would have to stay one, and those of one point stay apart, not values that are shared.

    Args:
        prepared: The model, converted to float32.
        kernels: The grids of its kernels in training.
        ranges: The range method of the file.

    Raises:
        ConversionError: An op of the file does not run alone, or the quantizer does not keep the integers.
    """
    made = prepared.reconstructed(ranges=ranges)
    grids = {(grid.part, grid.attribute): grid for grid in kernels}
    numbers = {id(part.computes): part.number for part in parts(prepared.model)}
    weights, steps = dict[Where, np.ndarray](), dict[Where, np.ndarray]()
    left: list[str] = []
    stored = stored_kernels(prepared.source)
    for one in stored:
        where = (numbers[id(one.kernel.place.layer)], one.kernel.attribute)
        chosen, grid = made.choices.kernels.get(one.constant), grids.get(where)
        if chosen is None or _is_nearest(chosen, prepared.source.constants[one.constant]):
            continue
        step = None if grid is None or grid.shared or where in weights else _steps(one, chosen, grid)
        if step is None:
            left.append(one.kernel.place.path)
            continue
        weights[where], steps[where] = _near(one, chosen, step), step
    shifts, without = _shifts(prepared, stored, made, numbers)
    notes = [f"the training starts from chosen integers; {note}" for note in made.notes]
    notes += _left("its integers", "training has another grid for them", left)
    notes += _left("its corrected bias", "no variable of the model is that bias alone", without)
    return RoundedStart(weights, steps, shifts, tuple(notes))


def _is_nearest(chosen: ChosenKernel, weights: np.ndarray) -> bool:
    """Whether a kernel is as the quantizer rounds it, with a scale by the largest weight."""
    axes = tuple(axis for axis, size in enumerate(chosen.scales.shape) if size == 1)
    reach = np.abs(weights).max(axis=axes, keepdims=True)
    plain = np.allclose(reach, chosen.scales * chosen.high, rtol=1e-5, atol=0)
    return plain and np.array_equal(chosen.integers, np.rint(weights / chosen.scales))


def _steps(one: StoredKernel, chosen: ChosenKernel, grid: KernelGrid) -> np.ndarray | None:
    """The scales of the Keras kernel, before what was folded into the file's; None where its grid has but one."""
    channels = _channels(one, chosen)
    by_channel = channels / np.abs(np.where(one.factors == 0, 1.0, one.factors))
    if grid.axes:
        return one.by_channel(by_channel).astype(np.float32) if grid.axes == one.axes else None
    if np.ptp(by_channel) > 1e-5 * by_channel.max():
        return None
    return np.full(shape_of_scales(one.kernel.variable, ()), by_channel.max(), np.float32)


def _channels(one: StoredKernel, chosen: ChosenKernel) -> np.ndarray:
    """The scale of each output channel of a file's kernel, `(channels,)`."""
    wide = np.ones(chosen.integers.shape[one.channels])
    return wide * np.ravel(chosen.scales)


def _near(one: StoredKernel, chosen: ChosenKernel, step: np.ndarray) -> np.ndarray:
    """The Keras kernel near the points of its grid that were chosen."""
    weights = np.asarray(one.kernel.variable.value.numpy(), np.float64)
    points = one.in_keras(chosen.integers) * one.by_channel(np.where(one.factors < 0, -1, 1))
    away = 2 * (weights / step - points)  # 1 at the border to the next point
    return ((points + REACH * away / (1 + np.abs(away))) * step).astype(np.float32)


def _shifts(
    prepared: PreparedModel, stored: Sequence[StoredKernel], made: Reconstructed, numbers: Mapping[int, int]
) -> tuple[dict[Where, np.ndarray], list[str]]:
    """What corrected biases add to variables of the model, and the layers that have none for theirs."""
    source, of_op = prepared.source, {one.constant: one for one in stored}
    found: dict[Where, list[np.ndarray]] = {}
    without: list[str] = []
    for number, bias in made.choices.biases.items():
        op = source.ops[number]
        _, kernel, place = op.facts.data_kernel_bias or (0, 1, 2)
        before, one = source.constants[op.inputs[place].name], of_op.get(op.inputs[kernel].name)
        known = None if one is None else stored_bias(source.places, one, before.ravel())
        if known is None or id(known.layer) not in numbers:
            without += [owner.path for owner in source.owners[number]]
            continue
        factors = np.where(known.factors == 0, np.inf, known.factors)
        shift = ((bias - before).ravel() / factors).reshape(known.variable.shape)
        found.setdefault((numbers[id(known.layer)], known.attribute), []).append(shift)
    return {where: np.mean(shifts, axis=0) for where, shifts in found.items()}, without


def _left(what: str, why: str, paths: Sequence[str]) -> Iterator[str]:
    """The sentence on layers that start otherwise than their file."""
    names = list(dict.fromkeys(paths))
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"the training of {', '.join(names[:3])}{more} starts without {what}: {why}"
