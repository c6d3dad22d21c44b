"""Fake quantization inside of a Keras model: while attached, the model computes as its file will.

Every layer keeps its class, its variables and its code. Its `call` is replaced on the object; kernels are handed to it
on their grids, and what it returns is put on its grid. Values inside of a layer, such as the variance of a layer
normalization, are changed while its graph is built.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.keras_private import training_of_call
from tfopt.models import signature
from tfopt.models.layers import call_replaced
from tfopt.models.unrolled_masks import unrolled_within
from tfopt.quantization.aware import fake_quant
from tfopt.quantization.aware.frame import Frame
from tfopt.quantization.aware.fused_layers import CELL, DATA, HIDDEN
from tfopt.quantization.aware.fused_lstm import CellGrids, cell_step, run, sequence
from tfopt.quantization.aware.grids import Grid
from tfopt.quantization.aware.input_grids import on_input_grids
from tfopt.quantization.aware.observers import RangeObserver
from tfopt.quantization.aware.op_rewrite import computed, with_mask
from tfopt.quantization.aware.rounded_kernels import RoundedKernels
from tfopt.quantization.aware.scheme import QuantizationScheme
from tfopt.quantization.aware.tensor_matching import Part, Point, input_signature, parts, scope_of
from tfopt.quantization.calibration import AT_BOUND, ActivationExtremes


class Simulation:
    """Lets a model compute on the grids of a quantization scheme.

    Args:
        model: A built model of the same layers as the one that the scheme was made of.
        scheme: The quantization scheme.
        observer: The observer that holds the ranges.
        owner: The object that others find as the one that has replaced the model's `call`.
    """

    def __init__(self, model: keras.Model, scheme: QuantizationScheme, observer: RangeObserver, owner: Any):
        self._model, self._plan, self._observer, self._owner = model, scheme, observer, owner
        self._parts = parts(model)
        self._kernels = RoundedKernels(self._parts, scheme.kernels, observer)
        inner = {point.part for point in scheme.points if point.call < 0}
        below = {part.path for part in self._parts if part.number in inner}
        loops = (part for part in self._parts if isinstance(part.computes, keras.layers.RNN))
        # A recurrent layer is handled as a whole, and not its cell once for every time step.
        self._inner = inner | {p.number for p in loops if any(path.startswith(f"{p.path}/") for path in below)}
        self._fused = {(p.part, p.call) for p in scheme.points if p.op == HIDDEN and p.call >= 0}
        self._numbers = {id(part.computes): part for part in self._parts}
        self._attached = contextlib.ExitStack()
        self._current = threading.local()  # replicas of a strategy build their graphs in threads
        self._eager: Any = None
        self._rounding, self._frozen = True, False
        self.reached: set[Point] = set()

    # Attaching

    def attach(self) -> None:
        """Replaces the `call` of every part, so that the model computes on the grids."""
        for part in self._parts:
            replaced = self._whole if part.number == 0 else self._part
            call = replaced(part, part.computes.call)
            self._attached.enter_context(call_replaced(part.computes, call, self._owner))
        self.retrace()

    def detach(self) -> None:
        """Restores the model's own computation."""
        self._attached.close()
        self.retrace()

    def freeze(self) -> None:
        """Stops updates of the ranges; batch normalizations use their moving statistics in training too."""
        self._set_frozen(True)

    def thaw(self) -> None:
        """Resumes updates of ranges and statistics."""
        self._set_frozen(False)

    def _set_frozen(self, frozen: bool) -> None:
        if frozen != self._frozen:
            self._frozen = self._observer.frozen = frozen
            self.retrace()

    def retrace(self) -> None:
        """Makes the model build its graphs anew."""
        self._eager = None
        model = self._model
        if getattr(model, "optimizer", None) is not None:
            model.make_train_function(force=True)
        model.test_function = model.predict_function = None

    def observe(self, samples: Mapping[str, np.ndarray], step: int = 1) -> ActivationExtremes:
        """The extremes of each grid's values on samples, with nothing rounded.

        Args:
            samples: Inputs `(samples, ...)` by input name.
            step: Samples per batch.
        """
        self._rounding = False
        count = len(self._observer.grids)

        @tf.autograph.experimental.do_not_convert
        def look(inputs: Mapping[str, Any]) -> Any:
            signature.call(self._model, inputs)
            seen = self._current.seen
            nothing = [(0.0, 0.0)]
            low = [tf.reduce_min([entry[0] for entry in seen.get(number, nothing)]) for number in range(count)]
            return tf.stack(low), tf.stack(
                [tf.reduce_max([entry[1] for entry in seen.get(number, nothing)]) for number in range(count)]
            )

        total = len(next(iter(samples.values())))
        batches = (np.arange(start, start + step) % total for start in range(0, total, step))
        try:
            traced = tf.function(look).get_concrete_function(input_signature(self._model, samples, step))
            found = [traced({name: tf.constant(array[batch]) for name, array in samples.items()}) for batch in batches]
        finally:
            self._rounding, self._current.seen = True, {}
        low, high = (np.stack([pair[end].numpy() for pair in found]) for end in (0, 1))
        return ActivationExtremes(tuple(grid.name for grid in self._observer.grids), low, high)

    # The model as a whole

    def _whole(self, part: Part, original: Any) -> Any:
        def call(*args: Any, **rest: Any) -> Any:
            flat = keras.tree.flatten((args, rest))
            if self._frame is not None or any(isinstance(value, keras.KerasTensor) for value in flat):
                return original(*args, **rest)
            training = rest.get("training")
            training = self._trains() if training is None else bool(training)
            if tf.executing_eagerly():
                return self._compiled(part, original)(args, rest, training)
            return self._graph(part, original, args, rest, training)

        return call

    def _trains(self) -> bool:
        """Whether Keras calls the model in training, also where its `call` takes no `training` argument."""
        return bool(training_of_call(self._model))

    @property
    def _frame(self) -> Frame | None:
        return getattr(self._current, "frame", None)

    def _compiled(self, part: Part, original: Any) -> Any:
        """The call as a graph function, for eager calls."""
        if self._eager is None:
            self._eager = tf.function(
                lambda args, rest, training: self._graph(part, original, args, rest, training), autograph=False
            )
        return self._eager

    def _graph(self, part: Part, original: Any, args: Any, rest: Any, training: bool) -> Any:
        root = tf.compat.v1.get_default_graph().unique_name("aware", mark_as_used=True)
        with tf.name_scope(f"{root}/grids/"):
            low, high, steps = self._observer.pieces()
        frame = Frame(root, training, low, high, steps, self._table(root))
        self._current.frame = frame
        try:
            if self._plan.inputs:
                round_input = functools.partial(self._on_grid, frame)
                args, rest = on_input_grids(self._model, self._plan.inputs, args, rest, round_input)
            outputs = self._run(frame, part, original, args, rest)
        finally:
            self._current.frame = None
        if not self._rounding:
            self._current.seen = frame.seen
        if training and self._rounding and not self._frozen:
            with tf.name_scope(f"{root}/grids/"):
                self._observer.follow(frame.seen)
        return outputs

    def _table(self, root: str) -> dict[str, dict[int, int]]:
        found: dict[str, dict[int, int]] = {}
        for point, grid in self._plan.points.items():
            if point.call < 0:
                found.setdefault(f"{scope_of(root, point.part)}{point.op}", {})[point.output] = grid
        return found

    # The parts

    def _part(self, part: Part, original: Any) -> Any:
        def call(*args: Any, **rest: Any) -> Any:
            frame = self._frame
            return original(*args, **rest) if frame is None else self._run(frame, part, original, args, rest)

        return call

    def _run(self, frame: Frame, part: Part, original: Any, args: Any, rest: Any) -> Any:
        number = frame.calls.get(part.number, 0)
        frame.calls[part.number] = number + 1
        if self._frozen and isinstance(part.computes, keras.layers.BatchNormalization):
            rest = {**rest, "training": False}

        def compute(*args: Any, **rest: Any) -> Any:
            scope = tf.name_scope(scope_of(frame.root, part.number))
            with self._swapped(frame, part), self._unrolled(part), scope:
                if (part.number, number) in self._fused:
                    return self._fused_call(frame, part, number, *args, **rest)
                return original(*args, **rest)

        if part.number in self._inner and not frame.inside:
            outputs = self._changed(frame, part, compute, args, rest)
        else:
            outputs = compute(*args, **rest)
        flat = keras.tree.flatten(outputs)
        new: dict[int, Any] = {}
        for index, value in enumerate(flat):
            point = Point(part.number, number, index)
            if point in self._plan.points and tf.is_tensor(value):
                self._reach(frame, point)
                new[id(value)] = self._on_grid(frame, self._plan.points[point], value, point)
        if not new:
            return outputs
        # A value may be returned twice, as the state of a recurrent cell is.
        return keras.tree.pack_sequence_as(outputs, [new.get(id(value), value) for value in flat])

    def _fused_call(
        self,
        frame: Frame,
        part: Part,
        number: int,
        sequences: Any,
        mask: Any = None,
        training: bool = False,
        **rest: Any,
    ) -> Any:
        """The call of a recurrent layer as the one op of the file computes it."""
        data, hidden, cell = (Point(part.number, number, op=what) for what in (DATA, HIDDEN, CELL))
        layer, points = part.computes, self._plan.points
        if data in points:
            self._reach(frame, data)
            sequences = self._on_grid(frame, points[data], sequences, data)
        low, high = frame.low[points[cell]], frame.high[points[cell]]
        grids = None
        if self._rounding:
            grids = CellGrids(functools.partial(self._rounded, frame, points[hidden]), cell_step(low, high))

        def every_step(data: Any) -> Any:
            with self._swapped(frame, self._numbers[id(layer.cell)]):
                outputs, states = run(layer.cell, data, training, grids)
            self._reach(frame, hidden)
            self._reach(frame, cell)
            self._look(frame, points[cell], states)
            return self._on_grid(frame, points[hidden], outputs)

        return tf.cast(sequence(layer, every_step, sequences, mask), layer.compute_dtype)

    def _swapped(self, frame: Frame, part: Part) -> contextlib.AbstractContextManager[None]:
        return self._kernels.swapped(frame, part) if self._rounding else contextlib.nullcontext()

    @contextlib.contextmanager
    def _unrolled(self, part: Part) -> Iterator[None]:
        """Unrolls a recurrent layer within the block where the file has it unrolled."""
        whole = self._plan.unrolled and isinstance(part.computes, keras.layers.RNN)
        with unrolled_within(part.computes) if whole else contextlib.nullcontext():
            yield

    def _reach(self, frame: Frame, point: Point) -> None:
        if frame.training and self._rounding:
            self.reached.add(point)

    def _on_grid(self, frame: Frame, number: int, value: Any, point: Point | None = None) -> Any:
        if not value.dtype.is_floating:
            return value
        with tf.name_scope(f"{frame.root}/grids/"):
            x = tf.cast(value, tf.float32)
            self._look(frame, number, x)
            if not self._rounding:
                return value
            if point in self._plan.averages:
                x = fake_quant.halves_away(x, frame.low[number], frame.high[number], self._observer.grids[number].bits)
            rounded = self._rounded(frame, number, x)
            if point in self._plan.nonzero or (frame.training and point in self._plan.ends):
                rounded = fake_quant.away_from_zero(rounded, x)
            new = tf.cast(tf.ensure_shape(rounded, value.shape), value.dtype)
        return with_mask(new, value)

    def _look(self, frame: Frame, number: int, x: Any) -> None:
        """Takes note of the extremes of a value, for the range of its grid."""
        followed = self._observer.grids[number].fixed is None
        if followed and (not self._rounding or (frame.training and not self._frozen)):
            playing = self._within(number, _in_play(x, self._observer.grids[number]))
            frame.seen.setdefault(number, []).append(self._observer.extremes(playing))

    def _rounded(self, frame: Frame, number: int, x: Any) -> Any:
        return self._observer.activation(number, x, frame.low[number], frame.high[number])

    def _within(self, number: int, x: Any) -> Any:
        """The values that count for a range: a reciprocal root at its bound is multiplied by 0 (see calibration)."""
        bound = self._plan.bounded.get(number)
        return x if bound is None else tf.where(x < AT_BOUND * bound, x, tf.zeros_like(x))

    # Values inside of a part

    def _changed(self, frame: Frame, part: Part, compute: Callable[..., Any], args: Any, rest: Any) -> Any:
        """Runs a part with the values inside of it rounded to their grids."""
        kernels = self._kernels.below(frame, part) if self._rounding else {}
        ends = [*frame.low, *frame.high] if self._observer.learns else []

        def change(op: str, outputs: Sequence[Any]) -> Sequence[Any] | None:
            grids = frame.table.get(op)
            if grids is None:
                return None
            number, _, name = op.partition("/part.")[2].partition("/")
            new = list(outputs)
            for index, grid in grids.items():
                point = Point(int(number), output=index, op=name)
                self._reach(frame, point)
                new[index] = self._on_grid(frame, grid, outputs[index], point)
            return new

        @contextlib.contextmanager
        def handed(tensors: Sequence[Any]) -> Iterator[None]:
            before = frame.kernels, frame.low, frame.high
            frame.inside, frame.kernels = True, dict(zip(kernels, tensors, strict=False))
            if ends:
                new = tensors[len(kernels) :]
                frame.low, frame.high = new[: len(new) // 2], new[len(new) // 2 :]
            try:
                yield
            finally:
                frame.inside = False
                frame.kernels, frame.low, frame.high = before

        with tf.name_scope(f"{frame.root}/grids/"):
            return computed(compute, args, rest, change, [*kernels.values(), *ends], handed)


def _in_play(x: Any, grid: Grid) -> Any:
    """Values with those that a mask puts out of play where the range of the others, with its margin, ends."""
    if grid.masked is None or grid.masked.margin is None:
        return x
    out = tf.abs(x) >= grid.masked.limit
    sign = float(grid.masked.sign)
    end = tf.reduce_max(tf.where(out, x.dtype.min, sign * x)) + grid.masked.margin
    # Where all are out of play they say nothing of the range, which contains 0 in any case.
    return tf.where(out, tf.where(tf.reduce_all(out), 0.0, sign * end), x)
