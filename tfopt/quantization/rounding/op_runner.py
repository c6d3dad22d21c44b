"""One op of a float file run alone on LiteRT, on the values of many samples at once where the op allows it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tfopt.errors import ConversionError
from tfopt.output_capture import captured
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import Op

# Samples that are run at once.
BATCH = 32


class OpRunner:
    """Runs one op of a file's first graph, with constants of its own where they are replaced.

    Args:
        model: The parsed file, which stays as it is.
        number: Number of the op in its first graph.
        op: The op, with its facts.
        constants: Float constants to replace, by tensor name.
        keeps_state: Whether the samples are the pieces of one sequence, for an op that keeps state from run to run.

    Raises:
        ConversionError: LiteRT does not load the op alone.
    """

    def __init__(
        self,
        model: Any,
        number: int,
        op: Op,
        constants: Mapping[str, np.ndarray] | None = None,
        keeps_state: bool = False,
    ):
        self._op, self._keeps_state = op, keeps_state
        self.reads, content = _alone(model, number, op, constants or {})
        try:
            with captured():
                self._interpreter = Interpreter(model_content=content, num_threads=1)
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise self._refusal(error) from error
        self._shapes: tuple[tuple[int, ...], ...] | None = None
        self._inputs = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]

    def __call__(self, values: Sequence[np.ndarray], runs: int) -> list[np.ndarray]:
        """Runs the op on the values of its computed inputs, in the order of `reads`.

        Args:
            values: For each of them its values in each run, `(runs, *shape)`.
            runs: Number of runs.

        Returns:
            The values of each output, `(runs, *shape)`.

        Raises:
            ConversionError: LiteRT does not run the op alone.
        """
        try:
            with captured():
                if not values:
                    return [np.broadcast_to(one, (runs, *one.shape)) for one in self._single([])]
                together = self._together(values, runs)
                return self._each(values, range(runs)) if together is None else together
        except (RuntimeError, ValueError) as error:
            raise self._refusal(error) from error

    def _each(self, values: Sequence[np.ndarray], runs: Sequence[int]) -> list[np.ndarray]:
        """The outputs run by run."""
        found = [self._single([value[run] for value in values]) for run in runs]
        return [np.stack(parts) for parts in zip(*found, strict=True)]

    def _together(self, values: Sequence[np.ndarray], runs: int) -> list[np.ndarray] | None:
        """The outputs of many runs at once; None where the op has no axis of samples, or mixes them.

        The first chunk is held against runs of its ends alone.
        """
        fits = all(value.ndim > 1 and value.shape[1] == 1 for value in values)
        if not fits or runs < 3 or self._op.facts.recurrent or self._op.facts.control:
            return None
        ends = self._each(values, [0, min(BATCH, runs) - 1])
        found: list[list[np.ndarray]] = []
        for start in range(0, runs, BATCH):
            try:
                outputs = self._single([value[start : start + BATCH, 0] for value in values])
            except (RuntimeError, ValueError):
                return None
            count = min(BATCH, runs - start)
            if not start and not _same(outputs, ends, count):
                return None
            found.append([output[:, None] for output in outputs])
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def _single(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        shapes = tuple(value.shape for value in values)
        if self._shapes != shapes:
            self._shapes = None  # a size that the op does not take leaves nothing allocated
            for index, shape in zip(self._inputs, shapes, strict=True):
                self._interpreter.resize_tensor_input(index, shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for index, value in zip(self._inputs, values, strict=True):
            self._interpreter.set_tensor(index, value)
        if not self._keeps_state:
            self._interpreter.reset_all_variables()
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]

    def _refusal(self, error: Exception) -> ConversionError:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return ConversionError(
            f"rounding runs ops one by one, and LiteRT does not run {self._op.name} so: {reason}. Take nearest."
        )


def _same(outputs: Sequence[np.ndarray], ends: Sequence[np.ndarray], count: int) -> bool:
    """Whether outputs of many samples have an axis for them, and are at its ends what each sample alone gives."""
    for many, alone in zip(outputs, ends, strict=True):
        if many.shape != (count, *alone.shape[2:]) or alone.shape[1] != 1:
            return False
        found, expected = many[[0, -1]].astype(np.float64), alone[:, 0].astype(np.float64)
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=1e-6)
        if not np.allclose(found, expected, rtol=1e-4, atol=1e-5 * largest, equal_nan=True):
            return False
    return True


def _alone(model: Any, number: int, op: Op, constants: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], bytes]:
    """A file of one op, and the names of the computed tensors that it takes."""
    graph = model.subgraphs[0]
    own, part, inner = copy.copy(graph.operators[number]), schema.ModelT(), schema.SubGraphT()
    part.version, part.description = model.version, b""
    whole = op.facts.control is not None  # its inner graphs have ops and constants of their own
    part.buffers = list(model.buffers) if whole else [schema.BufferT()]
    part.operatorCodes = list(model.operatorCodes) if whole else [model.operatorCodes[own.opcodeIndex]]
    own.opcodeIndex = own.opcodeIndex if whole else 0
    inner.tensors, inner.operators = [], [own]
    part.subgraphs = [inner, *(model.subgraphs[1:] if whole else [])]
    kept: dict[int, int] = {}

    def keep(index: int) -> int:
        if index < 0 or index in kept:
            return kept.get(index, index)
        tensor = copy.copy(graph.tensors[index])
        data = constants.get((tensor.name or b"").decode())
        if data is not None:
            tensor.buffer = _added(part, np.frombuffer(np.ascontiguousarray(data, np.float32).tobytes(), np.uint8))
        elif not whole:
            stored = model.buffers[tensor.buffer].data
            tensor.buffer = 0 if stored is None else _added(part, stored)
        inner.tensors.append(tensor)
        kept[index] = len(inner.tensors) - 1
        return kept[index]

    inputs = [int(i) for i in own.inputs]
    own.inputs = np.array([keep(i) for i in inputs], np.int32)
    if own.intermediates is not None:
        own.intermediates = np.array([keep(int(i)) for i in own.intermediates], np.int32)
    own.outputs = np.array([keep(int(i)) for i in own.outputs], np.int32)
    computed = [i for i in dict.fromkeys(inputs) if i >= 0 and is_computed(model, graph.tensors[i])]
    inner.inputs = np.array([kept[i] for i in computed], np.int32)
    inner.outputs = own.outputs
    return tuple(graph.tensors[i].name.decode() for i in computed), flatbuffer.pack(part)


def is_computed(model: Any, tensor: Any) -> bool:
    """Whether a tensor of a parsed file is neither a constant nor a variable."""
    data = model.buffers[tensor.buffer].data
    return not tensor.isVariable and (data is None or not len(data))


def _added(part: Any, data: Any) -> int:
    buffer = schema.BufferT()
    buffer.data = data
    part.buffers.append(buffer)
    return len(part.buffers) - 1
