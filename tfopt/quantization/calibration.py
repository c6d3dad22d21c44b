"""Calibration: the extremes of each activation on representative samples, and the ranges made from them.

The extremes of every sample are kept, so that one pass over the samples serves every range method and
every quantized file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfopt.errors import ConversionError, DataError
from tfopt.output_capture import captured
from tfopt.quantization.root_rewrite import bounds
from tfopt.recipe.modes import RANGES
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import Op

# A range narrower than this counts as empty.
NOTHING = 2e-8
# A reciprocal root counts as bounded from this share of its bound on; its bound stands out where it is this many times
# the largest other value, which would be less than one step of 8 bits.
AT_BOUND, STANDS_OUT = 0.999, 255
# The scale of a sum is at least that of its operands divided by this.
FINEST = 2**13
T = TypeVar("T")


@dataclass(frozen=True)
class ActivationExtremes:
    """The extremes of each activation of a float file, run by run.

    Args:
        names: Tensor names.
        low: Smallest value of each tensor in each run, `(runs, tensors)`; a run is one sample, or one batch of a file
            with a fixed batch.
        high: Largest value, `(runs, tensors)`.
        bounded: Bound by tensor name of reciprocal roots whose extremes leave out the values at their bound.
    """

    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    bounded: Mapping[str, float] = field(default_factory=dict)

    def ranges(self, method: str = "minmax") -> dict[str, dict[str, np.ndarray]]:
        """The range of each tensor, as litert-quantizer takes it.

        Args:
            method: Name of a range method in `RANGES`, such as `minmax`.

        Raises:
            DataError: Too few runs for the method.
        """
        fewest = RANGES[method].fewest
        if len(self.low) < fewest:
            raise DataError(
                f"ranges: {method} needs at least {fewest} calibration samples, or batches of a file that takes them "
                f"at once. Received: {len(self.low)}.",
                ("ranges",),
            )
        low, high = RANGES[method].ends(self.low, self.high)
        return {name: as_range(low[i], high[i]) for i, name in enumerate(self.names)}


def as_range(low: float, high: float) -> dict[str, np.ndarray]:
    """The range of one tensor, as litert-quantizer takes it."""
    return {"min": np.full((1, 1), low, np.float32), "max": np.full((1, 1), high, np.float32)}


def widen_empty_ranges(ops: Sequence[Op], ranges: Mapping[str, Any]) -> dict[str, Any]:
    """Widens empty ranges to ones that LiteRT can work with, such as those of activations that were always 0.

    The quantizer gives such values steps of 4e-12, and LiteRT does not load the file, or ends the process where the
    inputs of an addition have steps 2**19 times those of its output.

    Args:
        ops: The ops of the file, in order.
        ranges: Ranges of every activation by tensor name, as litert-quantizer takes them.
    """
    found = dict(ranges)
    for op in ops:
        widest = max((_width(found[tensor.name]) for tensor in op.inputs if tensor.name in found), default=0.0)
        for tensor in op.outputs:
            if tensor.name not in found:
                continue
            width = _width(found[tensor.name])
            if width <= NOTHING:
                reach = widest / 2 or 1.0
            elif op.facts.adds and width < widest / FINEST:
                reach = widest / FINEST
            else:
                continue
            low, high = min(float(np.min(found[tensor.name]["min"])), -reach), float(np.max(found[tensor.name]["max"]))
            found[tensor.name] = as_range(low, max(high, reach))
    return found


def _width(ends: Mapping[str, Any]) -> float:
    """The width of a range, extended to 0, which every range in a file contains."""
    return max(float(np.max(ends["max"])), 0.0) - min(float(np.min(ends["min"])), 0.0)


def observe_extremes(
    content: bytes, samples: Mapping[str, np.ndarray], keeps_state: bool = False
) -> ActivationExtremes:
    """Runs a float file on samples and records the extremes of every activation outside of loops.

    Args:
        content: Bytes of a float32 `.tflite` with a signature.
        samples: Inputs `(samples, ...)` by input name, in the dtypes of the file.
        keeps_state: Whether the samples are one stream, through which a file with a state keeps it.

    Raises:
        ConversionError: LiteRT cannot run the file, or an activation is not finite.
    """
    return _watched(content, lambda observer: observer.run(samples), keeps_state)


def values_of(
    content: bytes,
    batches: Sequence[Mapping[str, np.ndarray]],
    kept: Callable[[np.ndarray], T],
    names: Container[str] | None = None,
    keeps_state: bool = False,
) -> list[dict[str, T]]:
    """Runs a float file on batches of its batch size and keeps something of every activation.

    Args:
        content: Bytes of a float32 `.tflite` with a signature.
        batches: Inputs `(samples, ...)` by input name, in the dtypes of the file.
        kept: Maps an activation to what is kept of it.
        names: Names of the activations; all outside of loops if not given.
        keeps_state: Whether the samples are one stream, through which a file with a state keeps it.

    Returns:
        For each batch the results of `kept` by tensor name.

    Raises:
        ConversionError: LiteRT cannot run the file.
    """
    return _watched(content, lambda observer: [observer.values(one, kept, names) for one in batches], keeps_state)


def _watched(content: bytes, look: Callable[[_Observer], T], keeps_state: bool = False) -> T:
    with captured(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LiteRT warns that keeping all tensors takes memory
        try:
            try:
                return look(_Observer(content, OpResolverType.AUTO, keeps_state))
            except _Hidden:  # the XNNPACK delegate keeps some tensors to itself
                return look(_Observer(content, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, keeps_state))
        except (RuntimeError, ValueError) as error:
            raise ConversionError(f"LiteRT cannot run the float file: {str(error).strip().splitlines()[0]}") from error


class _Hidden(Exception):
    """A tensor that a delegate does not show."""


class _Observer:
    def __init__(self, content: bytes, resolver: Any, keeps_state: bool = False):
        parsed = flatbuffer.view(content)
        graph, buffers = parsed.subgraphs[0], parsed.buffers
        constant = {i for i, t in enumerate(graph.tensors) if buffers[t.buffer].data is not None or t.isVariable}
        # A loop hands on values that nothing after it reads, and LiteRT gives those no memory.
        read = {int(i) for op in graph.operators for i in op.inputs} | {int(i) for i in graph.outputs}
        self._delegated = resolver == OpResolverType.AUTO
        self._interpreter = Interpreter(
            model_content=content,
            num_threads=1,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=resolver,
        )
        self._interpreter.allocate_tensors()
        self._resets = not keeps_state and any(tensor.isVariable for tensor in graph.tensors)
        details = self._interpreter.get_tensor_details()
        self._shapes = {detail["index"]: tuple(detail["shape"]) for detail in details}
        self._inputs = {entry.name.decode(): int(entry.tensorIndex) for entry in parsed.signatureDefs[0].inputs}
        self._bounds = bounds(parsed)
        self._tensors = [
            (detail["index"], detail["name"])
            for detail in details
            if detail["dtype"] == np.float32 and detail["index"] in read - constant
        ]

    def run(self, samples: Mapping[str, np.ndarray]) -> ActivationExtremes:
        sizes = [int(d["shape"][0]) if len(d["shape"]) else 1 for d in self._interpreter.get_input_details()]
        step = max(sizes)
        count = len(next(iter(samples.values())))
        low, high, within = [], [], []
        for start in range(0, count, step):
            chunk = np.arange(start, start + step) % count  # a file with a fixed batch takes nothing less
            self._invoke({name: samples[name][chunk] for name in self._inputs})
            extremes = [self._extremes(index) for index, _ in self._tensors]
            low.append([e[0] for e in extremes])
            high.append([e[1] for e in extremes])
            within.append([self._largest_within(index, bound) for index, bound in self._bounds.items()])
        names = tuple(name for _, name in self._tensors)
        bad = np.argwhere(~np.isfinite(low) | ~np.isfinite(high))
        if len(bad):  # the quantizer would end the process
            sample, tensor = bad[0]
            raise ConversionError(
                f"an activation has no range, as it is not finite: {names[tensor]}, from calibration sample "
                f"{sample * step} on."
            )
        return self._without_bounds(ActivationExtremes(names, np.array(low), np.array(high)), np.array(within))

    def _largest_within(self, index: int, bound: float) -> float:
        value = self._value(index)
        return float(value[value < AT_BOUND * bound].max(initial=0))

    def _without_bounds(self, extremes: ActivationExtremes, within: np.ndarray) -> ActivationExtremes:
        """Leaves out the values that reciprocal roots of 0 have, which are multiplied by 0, where they stand out.

        Args:
            extremes: The extremes of all values.
            within: Largest value of each bounded root that is not at its bound, `(runs, roots)`.
        """
        places = {index: place for place, (index, _) in enumerate(self._tensors)}
        bounded = {}
        for number, (index, bound) in enumerate(self._bounds.items()):
            if index in places and 0 < within[:, number].max() * STANDS_OUT < bound:
                place = places[index]
                extremes.high[:, place] = within[:, number]
                extremes.low[:, place] = np.minimum(extremes.low[:, place], extremes.high[:, place])
                bounded[extremes.names[place]] = bound
        return replace(extremes, bounded=bounded)

    def values(
        self, samples: Mapping[str, np.ndarray], kept: Callable[[np.ndarray], T], names: Container[str] | None
    ) -> dict[str, T]:
        """The results of `kept` for the activations of these names, or for all, by name."""
        self._invoke(samples)
        # A copy: LiteRT does not run again while anything still reads its memory.
        wanted = ((index, name) for index, name in self._tensors if names is None or name in names)
        return {name: kept(np.array(self._value(index))) for index, name in wanted}

    def _invoke(self, batch: Mapping[str, np.ndarray]) -> None:
        for name, index in self._inputs.items():
            self._feed(index, batch[name])
        if self._resets:  # a sample knows nothing of the one before it
            self._interpreter.reset_all_variables()
        self._interpreter.invoke()

    def _feed(self, index: int, value: np.ndarray) -> None:
        # An open dimension has the size of this sample.
        if self._shapes[index] != value.shape:
            self._interpreter.resize_tensor_input(index, value.shape)
            self._interpreter.allocate_tensors()
            self._shapes[index] = value.shape
        self._interpreter.set_tensor(index, value)

    def _extremes(self, index: int) -> tuple[np.float32, np.float32]:
        value = self._value(index)
        finite = value if value.size else np.zeros(1, np.float32)
        return finite.min(), finite.max()

    def _value(self, index: int) -> np.ndarray:
        try:
            return self._interpreter.tensor(index)()
        except ValueError:
            if self._delegated:
                raise _Hidden from None
            raise
