"""Rewrites huge constants that only set values out of play, such as the -1e9 of a mask in attention.

On one grid with the logits such a constant leaves them no steps: 256 steps from -1e9 to 8 are 4 million wide. The
softmax gives a logit some way below all others the weight 0 just as well, so the float file that is quantized gets the
nearest constant that does: `D`, the width of the values in play and a margin. What the mask has put out of play then
lies below their range, and is cut off at its end. Whether a constant only selects is not read off the graph but tried:
the rewritten file, with values cut off, has to give the outputs that the file gave.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.errors import ConversionError
from tfopt.metrics import compare_outputs
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.masks import Masked, Masks, batches, in_play
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import Op, output_names, read
from tfopt.tflite.interpreter import Runner

# From here on a value can be one that only selects, and values in play are smaller by this factor at least.
_HUGE, _APART = 1e3, 20.0
# A weight of exp(-7) beside the largest, all masked ones together: below half a step of a softmax in 8 bits.
_WEIGHT = 7.0
# The margin where only the order of values counts, as a share of their range.
_SHARE = 0.05
# Least signal-to-noise ratio, in decibels, of the rewritten float file: far above what 8 bits reach.
_SAME_DB = 45.0
# Runs of each kind, with and without values out of play, that the trial compares.
_TRIED_RUNS = 8


def bring_near(source: FloatModel, samples: Mapping[str, np.ndarray]) -> tuple[FloatModel, Masks]:
    """A float file whose huge constants that only select are near the values in play.

    Args:
        source: The float file.
        samples: Representative inputs `(samples, ...)` by input name.

    Returns:
        The file, the same where there is nothing to rewrite, and its masks.
    """
    seeds = list(_seeds(source, samples))
    if not seeds:
        return source, Masks()
    try:
        trial = _Trial(source, seeds, samples)
        if not all(np.isfinite(value).all() for value in trial.expected.values()):
            return source, Masks()
        together = trial.rewritten(seeds)
        if together is not None:
            return together
        done, kept = (source, Masks()), list[_Seed]()
        for seed in seeds:  # one that does not only select shall not spoil it for the others
            if (more := trial.rewritten([*kept, seed])) is not None:
                done = more
                kept.append(seed)
        return done
    except ConversionError:
        return source, Masks()


@dataclass(frozen=True)
class _Seed:
    """A constant or an input with huge values: its tensor, the op that reads it (None for an input) and their sign."""

    tensor: str
    op: int | None
    sign: int
    limit: float


def _seeds(source: FloatModel, samples: Mapping[str, np.ndarray]) -> Iterator[_Seed]:
    """Huge constants that ops combine with activations, and inputs of huge values."""
    known = source.constants
    for index, op in enumerate(source.ops):
        if op.graph or not _carries(op):
            continue
        for tensor in op.inputs:
            if tensor.name in known and (found := _huge(known[tensor.name])):
                sign, limit = found
                yield _Seed(tensor.name, index, -sign if _flips(op, tensor.name) else sign, limit)
    for name, array in samples.items():
        if array.dtype.kind == "f" and not array.all() and (found := _huge(array)):
            yield _Seed(name, None, *found)


def _huge(values: np.ndarray) -> tuple[int, float] | None:
    """The sign of an array's huge values and the limit between them and the others; None without such."""
    huge = np.abs(values) >= _HUGE
    if not huge.any() or len(set(np.sign(values[huge]).tolist())) != 1:
        return None
    least = float(np.abs(values[huge]).min())
    others = np.abs(values[~huge])
    if others.size and others.max() * _APART > least:
        return None
    return int(np.sign(values[huge][0])), min(least, 2e9) / 2


def _carries(op: Op) -> bool:
    """Whether a huge value among an op's inputs is one in its output."""
    facts = op.facts
    return (facts.adds or facts.selects or facts.multiplies or facts.moves_data) and not facts.looks_up


def _flips(op: Op, name: str) -> bool:
    """Whether an op subtracts a tensor."""
    return op.name == "SUB" and op.inputs[1].name == name


class _Trial:
    """What it takes to try whether constants only select.

    Args:
        source: The float file.
        seeds: The constants and inputs that may.
        samples: Representative inputs `(samples, ...)` by input name.
    """

    def __init__(self, source: FloatModel, seeds: Sequence[_Seed], samples: Mapping[str, np.ndarray]):
        self._source, self._final = source, set(output_names(source.content))
        self._paths = {seed: _path(source.ops, seed) for seed in seeds}
        limits: dict[str, float] = {}
        for seed, path in self._paths.items():
            limits |= {name: min(seed.limit, limits.get(name, seed.limit)) for name in path}
        self._playing = in_play(source.content, samples, limits)
        self._few = self._chosen(samples)
        self.expected = Runner(source.content)(self._few)

    def _chosen(self, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Some samples in which each seed puts values out of play, and some in which it does not."""
        runs = batches(self._source.content, samples)
        chosen = set(range(min(_TRIED_RUNS, len(runs))))
        for path in self._paths.values():
            out = set[int]()
            for found in (self._playing[name] for name in path if name in self._playing):
                out |= found.below | found.above
            for some in (sorted(out), sorted(set(range(len(runs))) - out)):
                chosen |= set(some[:: max(len(some) // _TRIED_RUNS, 1)][:_TRIED_RUNS])
        return {name: np.concatenate([runs[number][name] for number in sorted(chosen)]) for name in samples}

    def rewritten(self, seeds: Sequence[_Seed]) -> tuple[FloatModel, Masks] | None:
        """The file with the constants of some seeds brought near, and its masks; None where its outputs are others."""
        masks, near = Masks(), dict[_Seed, float]()
        for seed in seeds:
            path = dict(self._paths[seed])
            seen = {name: self._playing[name] for name in path if name in self._playing}
            if any(found.below and found.above for found in seen.values()):
                return None
            # The samples know better on which side.
            path |= {
                n: bool(found.above) - bool(found.below) for n, found in seen.items() if found.above or found.below
            }
            ends = {name: found.ends for name, found in seen.items()}
            distance, tensors = _masked(self._source.ops, path, self._final, ends, seed)
            near[seed] = distance
            inputs = {seed.tensor: distance} if seed.op is None else {}
            masks = Masks({**masks.tensors, **tensors}, {**masks.inputs, **inputs})
        content = _with_constants(self._source, near)
        got = Runner(_cut_off(content, masks))(masks.clipped(self._few))
        if any(compare_outputs({name: self.expected[name]}, got)["snr_db"] < _SAME_DB for name in self.expected):
            return None
        return replace(self._source, content=content, ops=read(content).ops), masks


def _path(ops: Sequence[Op], seed: _Seed) -> dict[str, int]:
    """The sign of the huge values of a seed in each activation that carries them on, by name."""
    path: dict[str, int] = {}
    if seed.op is None:
        path[seed.tensor] = seed.sign
    for index, op in enumerate(ops):
        if op.graph or not (index == seed.op or (_carries(op) and any(t.name in path for t in op.inputs))):
            continue
        signs = {-path[t.name] if _flips(op, t.name) else path[t.name] for t in op.inputs if t.name in path}
        path |= {t.name: seed.sign if index == seed.op else min(signs) for t in op.outputs}
    return path


def _masked(
    ops: Sequence[Op],
    path: dict[str, int],
    final: set[str],
    playing: Mapping[str, tuple[float, float] | None],
    seed: _Seed,
) -> tuple[float, dict[str, Masked]]:
    """The constant that stands in for the huge ones of a seed, and what is known of the activations of its path."""
    readers = defaultdict[str, list[Op]](list)
    for op in ops:
        for tensor in op.inputs:
            if not op.graph:
                readers[tensor.name].append(op)
    shapes = {tensor.name: tensor.shape for op in ops for tensor in (*op.inputs, *op.outputs)}
    margins: dict[str, float] = {}  # of the activations at whose range values are cut off
    for name in reversed(path):
        ends = playing.get(name)
        onward = [op for op in readers[name] if any(t.name in path for t in op.outputs)]
        if len(onward) == len(readers[name]) and name not in final:
            given = [t.name for op in onward if op.facts.moves_data or op.facts.selects for t in op.outputs]
            if onward and len(given) == len(onward) and all(n in margins and path[n] == path[name] for n in given):
                margins[name] = max(margins[n] for n in given)
        elif ends is not None:
            order = all(op.facts.compares for op in readers[name] if op not in onward) and name not in final
            width = ends[1] - ends[0]
            own = max(_SHARE * width, 1e-3) if order else _WEIGHT + math.log(max((*shapes[name][-1:], 1)))
            margins[name] = max([own, *(margins[t.name] for op in onward for t in op.outputs if t.name in margins)])
    seen = [ends for name, ends in playing.items() if ends is not None]
    reach = max((max(high - low, abs(low), abs(high)) for low, high in seen), default=0.0)
    distance = float(np.float32(reach + max(margins.values(), default=_WEIGHT)))
    tensors = {}
    for name, sign in path.items():
        ends, margin = playing.get(name), margins.get(name)
        masked = Masked(sign, seed.limit, None if ends is None else margin, None)
        end = None if ends is None else masked.beyond(ends, distance if margin is None else margin)
        tensors[name] = replace(masked, end=end)
    return distance, tensors


def _with_constants(source: FloatModel, near: Mapping[_Seed, float]) -> bytes:
    """The file with the huge values of some constants replaced."""
    model = flatbuffer.parse(source.content)
    graph = model.subgraphs[0]
    numbers = {tensor.name.decode(): index for index, tensor in enumerate(graph.tensors)}
    for number, (seed, distance) in enumerate(near.items()):
        if seed.op is None:
            continue
        values = source.constants[seed.tensor]
        new = np.where(np.abs(values) >= seed.limit, np.sign(values) * np.float32(distance), values)
        index = flatbuffer.add_constant(model, graph, f"{seed.tensor}/near{number}", new.astype(np.float32))
        op = graph.operators[seed.op]
        op.inputs = np.array([index if int(i) == numbers[seed.tensor] else int(i) for i in op.inputs], np.int32)
    read_on = {graph.tensors[int(i)].buffer for op in graph.operators for i in op.inputs if i >= 0}
    for seed in near:  # what nothing reads any more would still be in the file
        buffer = graph.tensors[numbers[seed.tensor]].buffer
        if seed.op is not None and buffer not in read_on:
            model.buffers[buffer].data = None
    return flatbuffer.pack(model)


def _cut_off(content: bytes, masks: Masks) -> bytes:
    """The file with the values of masked activations cut off where their range ends, as integers are."""
    model = flatbuffer.parse(content)
    graph = model.subgraphs[0]
    operators = []
    for op in graph.operators:
        operators.append(op)
        op.outputs = np.array(op.outputs, np.int32)
        for position, number in enumerate(op.outputs.tolist()):
            tensor = graph.tensors[number]
            masked = masks.tensors.get(tensor.name.decode())
            if masked is None or masked.margin is None or masked.end is None:
                continue
            raw = flatbuffer.add_activation(graph, f"{tensor.name.decode()}/raw", tensor)
            op.outputs[position] = raw
            kind = schema.BuiltinOperator.MAXIMUM if masked.sign < 0 else schema.BuiltinOperator.MINIMUM
            operators.append(flatbuffer.limit(model, graph, (raw, number), kind, masked.end))
    graph.operators = operators
    return flatbuffer.pack(model)
