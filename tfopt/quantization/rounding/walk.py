"""One pass through the ops of a float file, with the float values and those of the quantized net side by side.

Each kernel is chosen when its op is reached, on inputs that all choices before it have made; values are let go of once
the last op has read them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tfopt.quantization.bias_ranges import least_ends
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.rounding.clipping import least_error_scales
from tfopt.quantization.rounding.edited_file import ChosenKernel
from tfopt.quantization.rounding.grids import activation_grids
from tfopt.quantization.rounding.op_runner import OpRunner
from tfopt.quantization.rounding.plan import Plan, RoundedOp
from tfopt.quantization.rounding.problem import KernelProblem, Moments, Rows, least_squares
from tfopt.quantization.rounding.work import MOMENT_ROWS
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import Op, read

# Rows whose products are summed at once.
CHUNK = 4096


@dataclass(frozen=True)
class WalkSettings:
    """What a pass works with.

    Args:
        ranges: `min` and `max` by tensor name of the activations.
        base: The quantized file of nearest integers, whose grids and ops without a kernel are those of the result.
        correct: Whether biases are corrected.
        clipping: `mse` or `none`.
        keeps_state: Whether the samples are the pieces of one sequence.
        seed: Seed of what is drawn.
        share: The share of their steps that roundings take which learn in steps, 0-1.
        part: Called with the finished fraction, 0-1.
    """

    ranges: Mapping[str, Mapping[str, np.ndarray]]
    base: bytes
    correct: bool = False
    clipping: str = "none"
    keeps_state: bool = False
    seed: int = 0
    share: float = 1.0
    part: Callable[[float], None] = lambda done: None


@dataclass
class Choices:
    """What a pass has chosen.

    Args:
        kernels: Kernels by tensor name.
        biases: Biases `(channels,)` by op number.
    """

    kernels: dict[str, ChosenKernel] = field(default_factory=dict)
    biases: dict[int, np.ndarray] = field(default_factory=dict)


def walk(source: FloatModel, samples: Mapping[str, np.ndarray], plan: Plan, settings: WalkSettings) -> Choices:
    """Chooses the kernels and biases of a file.

    A kernel that several ops read is chosen on the inputs of all of them, seen in a pass of their own before.

    Args:
        source: The float file.
        samples: Inputs `(samples, ...)` by input name.
        plan: What is done to each op.
        settings: What the pass works with.

    Raises:
        ConversionError: An op does not run alone.
    """
    shared = {name for name, ops in plan.by_kernel.items() if len(ops) > 1 and ops[0].rounding.choose}
    known: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    if shared:
        known = _Pass(source, samples, plan, settings).gather(shared)
    return _Pass(source, samples, plan, settings).choose(known)


class _Pass:
    """The state of one pass."""

    def __init__(self, source: FloatModel, samples: Mapping[str, np.ndarray], plan: Plan, settings: WalkSettings):
        self.source, self.plan, self.settings = source, plan, settings
        self.model = flatbuffer.view(source.content)
        self.choices = Choices()
        self.grids, self.integers = activation_grids(settings.base), flatbuffer.view(settings.base)
        made = read(settings.base).ops[: len(self.integers.subgraphs[0].operators)]
        self.made = {op.outputs[0].name: (number, op) for number, op in enumerate(made) if op.outputs}
        graph = self.model.subgraphs[0]
        self.ops = source.ops[: len(graph.operators)]
        self.runs = 0
        self.floats, self.quantized = dict[str, np.ndarray](), dict[str, np.ndarray]()
        for name, array in samples.items():
            signature = {entry.name.decode(): entry.tensorIndex for entry in self.model.signatureDefs[0].inputs}
            tensor = graph.tensors[signature[name]]
            size = max(int(tensor.shape[0]), 1) if len(tensor.shape) else 1
            self.runs = max(len(array) // size, 1)
            rows = np.resize(array, (self.runs * size, *array.shape[1:]))
            self._keep(tensor.name.decode(), *[rows.reshape(self.runs, size, *array.shape[1:])] * 2)
        reads = ((number, tensor.name) for number, op in enumerate(self.ops) for tensor in op.inputs)
        self.last = {name: number for number, name in reads}

    def gather(self, shared: set[str]) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
        """Rows of the inputs of each op that reads one of some kernels, with all kernels as they are stored."""
        found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in shared}
        for number, op in enumerate(self.ops):
            rounded = self.plan.ops.get(number)
            if rounded and rounded.kernel in shared:
                readers = len(self.plan.by_kernel[rounded.kernel])
                found[rounded.kernel].append(self._rows(rounded, max(MOMENT_ROWS // readers, 1)))
            if rounded:
                self.choices.kernels.setdefault(rounded.kernel, _stored(rounded))
            self._step(number, op)
        return found

    def choose(self, known: Mapping[str, list[tuple[np.ndarray, np.ndarray]]]) -> Choices:
        """Chooses each kernel and bias in order."""
        for number, op in enumerate(self.ops):
            rounded = self.plan.ops.get(number)
            if rounded:
                if rounded.kernel not in self.choices.kernels:
                    self.choices.kernels[rounded.kernel] = self._chosen(rounded, known.get(rounded.kernel))
                if self.settings.correct and rounded.bias:
                    self.choices.biases[number] = self._bias(rounded)
            self._step(number, op)
            self.settings.part((number + 1) / len(self.ops))
        return self.choices

    def _chosen(self, op: RoundedOp, known: list[tuple[np.ndarray, np.ndarray]] | None) -> ChosenKernel:
        """The kernel of an op on its grid, or on the clipped one."""
        if op.fixed:
            return _stored(op)
        weights = self.source.constants[op.kernel].astype(np.float64)
        own = op.columns.split(weights)
        scales = op.columns.split(np.broadcast_to(op.grid.scales, weights.shape))[..., :1]
        if self.settings.clipping == "mse" and op.grid.scales.size > 1:
            scales = self._clipped(op, own, scales)
        integers = np.clip(np.rint(own / scales), op.grid.low, op.grid.high)
        if op.rounding.choose is not None:
            parts = known or [self._rows(op, MOMENT_ROWS)]
            floats, quantized = (np.concatenate(side, axis=1) for side in zip(*parts, strict=True))
            if np.isfinite(floats).all() and np.isfinite(quantized).all():
                integers = op.rounding.choose(self._problem(op, own, scales, (floats, quantized)))
        joined = op.columns.join(np.ascontiguousarray(integers)).astype(np.int32)
        by_channel = op.columns.join(np.broadcast_to(scales, own.shape))
        others = tuple(axis for axis, size in enumerate(op.grid.scales.shape) if size == 1)
        kept = by_channel.max(axis=others, keepdims=True) if op.grid.scales.size > 1 else op.grid.scales
        return ChosenKernel(joined, kept, op.grid.high)

    def _problem(
        self, op: RoundedOp, own: np.ndarray, scales: np.ndarray, rows: tuple[np.ndarray, np.ndarray]
    ) -> KernelProblem:
        moments = _moments(*rows, centred=self.settings.correct and bool(op.bias))
        target, gram = least_squares(own, moments)
        seen = None
        if op.rounding.rows:
            bias = self.source.constants[op.bias] if op.bias else np.zeros(own.shape[0] * own.shape[1])
            bias = bias.reshape(own.shape[0], 1, own.shape[1]).astype(np.float32)
            weights = own.astype(np.float32).transpose(0, 2, 1)
            outputs = rows[0] @ weights + bias
            mean = bias + moments.mean_float[:, None].astype(np.float32) @ weights
            inputs = rows[1] - moments.mean_quantized[:, None].astype(np.float32)
            seen = Rows(inputs, outputs, mean, op.columns.bounds)
        settings = self.settings
        return KernelProblem(own, scales, op.grid.low, op.grid.high, gram, target, seen, settings.seed, settings.share)

    def _clipped(self, op: RoundedOp, own: np.ndarray, scales: np.ndarray) -> np.ndarray:
        """Scales of the least squared error, at which the bias still fits."""
        least = np.full(scales.shape, 0.0)
        if op.bias and op.data in self.settings.ranges:
            ends = least_ends(self.source.constants[op.bias], self.settings.ranges[op.data])
            least = ends.reshape(least.shape) / op.grid.high * (1 + 1e-6)
        found = least_error_scales(own, scales, least, op.grid.low, op.grid.high)
        return found.astype(np.float32).astype(np.float64)

    def _bias(self, op: RoundedOp) -> np.ndarray:
        """The bias that takes up the mean error of the op's outputs, as far as 32 bits hold it.

        References:
            Nagel et al., Data-free quantization through weight equalization and bias correction, arXiv:1906.04721,
            section 4.2.
        """
        before, chosen = self.source.constants[op.bias], self.choices.kernels[op.kernel]
        own = op.columns.split(self.source.constants[op.kernel].astype(np.float64))
        values = op.columns.split(chosen.values.astype(np.float64))
        floats, quantized = (op.columns.mean(_flat(side[op.data])) for side in (self.floats, self.quantized))
        error = np.einsum("gij,gj->gi", own, floats) - np.einsum("gij,gj->gi", values, quantized)
        found = before + np.where(np.isfinite(error), error, 0).reshape(before.shape)
        if op.data in self.settings.ranges:
            ends = np.broadcast_to(chosen.scales * chosen.high, self.source.constants[op.kernel].shape)
            ends = op.columns.split(ends)[..., 0].reshape(before.shape)
            most = ends / least_ends(np.ones(before.shape), self.settings.ranges[op.data]) * (1 - 1e-6)
            found = np.where(np.abs(found) > most, before, found)
        return found.astype(np.float32)

    def _rows(self, op: RoundedOp, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of an op's inputs, `(groups, count, columns)` of the float and the quantized net."""
        floats, quantized = _flat(self.floats[op.data]), _flat(self.quantized[op.data])
        count = op.columns.count(floats)
        chosen = np.arange(count)
        if count > most:
            chosen = np.sort(np.random.default_rng((self.settings.seed, op.number)).choice(count, most, replace=False))
        return op.columns.rows(floats, chosen), op.columns.rows(quantized, chosen)

    def _step(self, number: int, op: Op) -> None:
        """Runs one op in both nets, and lets go of what it was the last to read."""
        keeps = self.settings.keeps_state
        rounded, replaced = self.plan.ops.get(number), dict[str, np.ndarray]()
        if rounded and rounded.kernel in self.choices.kernels:
            replaced[rounded.kernel] = self.choices.kernels[rounded.kernel].values
        if rounded and number in self.choices.biases:
            replaced[rounded.bias] = self.choices.biases[number]
        run = OpRunner(self.model, number, op, keeps_state=keeps)
        floats = run([self.floats[name] for name in run.reads], self.runs)
        quantized = None if rounded else self._in_integers(op)
        if quantized is None:
            run = OpRunner(self.model, number, op, replaced, keeps) if replaced or keeps else run
            quantized = run([self.quantized[name] for name in run.reads], self.runs)
        names = [self.model.subgraphs[0].tensors[int(i)].name.decode() for i in self._outputs(number)]
        for name, one, other in zip(names, floats, quantized, strict=True):
            self._keep(name, one, other)
        done = {t.name for t in op.inputs if self.last.get(t.name) == number}
        done |= {name for name in names if self.last.get(name, -1) < 0}
        for name in done:
            self.floats.pop(name, None)
            self.quantized.pop(name, None)

    def _in_integers(self, op: Op) -> list[np.ndarray] | None:
        """What the op of the quantized file gives, whose arithmetic in integers is its own; None where it has none."""
        number, made = self.made.get(op.outputs[0].name, (-1, None)) if op.outputs else (-1, None)
        if made is None or made.name != op.name or any(tensor.name not in self.grids for tensor in made.outputs):
            return None
        run = OpRunner(self.integers, number, made, keeps_state=self.settings.keeps_state)
        if any(name not in self.quantized for name in run.reads):
            return None
        given = [self.quantized[name] for name in run.reads]
        integers = [
            self.grids[name].integers(value) if name in self.grids else value
            for name, value in zip(run.reads, given, strict=True)
        ]
        found = run(integers, self.runs)
        return [self.grids[tensor.name].values(value) for tensor, value in zip(made.outputs, found, strict=True)]

    def _outputs(self, number: int) -> np.ndarray:
        return self.model.subgraphs[0].operators[number].outputs

    def _keep(self, name: str, floats: np.ndarray, quantized: np.ndarray) -> None:
        """Keeps values, those of the quantized net on their grid."""
        grid = self.grids.get(name)
        on_grid = grid is not None and quantized.dtype == np.float32
        self.floats[name] = floats
        self.quantized[name] = grid(quantized) if grid is not None and on_grid else quantized


def _stored(op: RoundedOp) -> ChosenKernel:
    """The kernel as the quantizer stores it."""
    return ChosenKernel(op.grid.integers.astype(np.int32), op.grid.scales, op.grid.high)


def _flat(values: np.ndarray) -> np.ndarray:
    """Values `(runs, batch, ...)` as those of samples."""
    return values.reshape(-1, *values.shape[2:])


def _moments(floats: np.ndarray, quantized: np.ndarray, centred: bool) -> Moments:
    """The moments of rows `(groups, count, columns)`; around 0 where no bias takes up the difference of the means."""
    mean_float, mean_quantized = (centred * side.mean(axis=1, dtype=np.float64) for side in (floats, quantized))
    groups, count, size = quantized.shape
    gram, cross = np.zeros((groups, size, size)), np.zeros((groups, size, size))
    for start in range(0, count, CHUNK):
        mine = quantized[:, start : start + CHUNK] - mean_quantized[:, None].astype(np.float32)
        theirs = floats[:, start : start + CHUNK] - mean_float[:, None].astype(np.float32)
        gram += mine.transpose(0, 2, 1) @ mine
        cross += theirs.transpose(0, 2, 1) @ mine
    return Moments(gram / count, cross / count, mean_float, mean_quantized)
