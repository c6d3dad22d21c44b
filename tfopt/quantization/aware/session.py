"""The session of quantization-aware training: attach it to a model, train, and convert with the trained ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.errors import ModelError
from tfopt.models.constraints import HeldConstraint
from tfopt.models.layers import replaced_by, walk
from tfopt.models.left_alone import has_kernel
from tfopt.models.requirements import check_call, check_weights
from tfopt.quantization import rules
from tfopt.quantization.aware import fake_quant
from tfopt.quantization.aware.held_weights import held_weights, let_go
from tfopt.quantization.aware.requirements import check_settings
from tfopt.quantization.aware.resemblance import Resemblance, resemblance
from tfopt.quantization.aware.rounded_start import RoundedStart, rounded_start
from tfopt.quantization.aware.scheme import distinct_constants, make_scheme
from tfopt.quantization.aware.simulation import Simulation
from tfopt.quantization.aware.tensor_matching import parts
from tfopt.quantization.aware.trained_ranges import activation_ranges, kernel_ranges
from tfopt.quantization.calibration_data import collect_samples
from tfopt.quantization.calibration_warnings import calibration_warnings
from tfopt.quantization.conversion import Conversion, finish, warn
from tfopt.quantization.preparation import prepare
from tfopt.quantization.prepared_model import JudgedBy, PreparedModel
from tfopt.quantization.unrolling import form_to_train
from tfopt.recipe.artifact import Skipped
from tfopt.recipe.export import Export
from tfopt.recipe.modes import TRAINED_RANGES


class QATSession:
    """Quantization-aware training of a model: the model computes as its file will while the session is attached.

    Args:
        model: A built Keras 3 model, trained or not. It keeps its layers, classes and variables.
        export: Settings of the file; its mode must compute in integers. With another rounding than `nearest`, corrected
            biases or clipping the training starts from the integers and biases so chosen; their kernels keep these
            scales, unless `ranges` learns them.
        calibration: Representative inputs, as `tfopt.convert` takes them; the first ranges come from them.
        ranges: `moving_average`, `percentile` or `learned`.
        momentum: Share of the old range that a moving average keeps at each step, 0-1.
        rate: Step size of learned ranges, as a share of the range.
        known: A session of a model of the same layers, whose scheme and samples are reused.

    Raises:
        InputError: A mode without integer activations, no calibration samples, or invalid settings.
        ModelError: The model has no weights yet, or other layers than the model of `known`.
        ConversionError: The model cannot be converted.
    """

    def __init__(
        self,
        model: keras.Model,
        export: Export,
        calibration: Any,
        ranges: str = "moving_average",
        momentum: float = 0.99,
        rate: float = 1e-3,
        known: QATSession | None = None,
    ):
        check_settings(export, ranges, momentum, rate)
        check_call(model)
        check_weights(model, ", so there is nothing to quantize. Build it first.")
        self.model, self.export, self._settings = model, export.without_rounding(), (ranges, momentum, rate)
        self._asked: Export | None = export if export.reconstructs and known is None else None
        self.notes: tuple[str, ...] = ()
        """What there is to say of the integers that the training starts from, sentences without a full stop."""
        self.holder: Any = self  # whom a user knows: the callback, where there is one
        self.parts = parts(model)
        if known is None:
            if replaced_by(model) is not None:  # an earlier one, or what a fit has left that was interrupted
                replaced_by(model).strip()
            self._calibration = collect_samples(calibration, model)
            with distinct_constants(model):
                prepared, unrolled = self._prepared(self.export)
                if self._asked is not None:  # a wrong pattern is found here
                    rules.resolve(self._asked.rules, prepared.source, self._asked.mode)
                self.scheme, self.samples = make_scheme(prepared, unrolled), prepared.samples
                self.left_alone = self._without_a_grid(prepared)
        else:
            if [type(part.computes) for part in self.parts] != [type(part.computes) for part in known.parts]:
                raise ModelError("the model is of other layers than the one that was trained for quantization.")
            theirs, ours = ([t.name for t in getattr(m, "inputs", None) or ()] for m in (known.model, model))
            names = dict(zip(theirs, ours, strict=True))  # Keras numbers them as it makes them
            self.samples = {names.get(name, name): array for name, array in known.samples.items()}
            self._calibration = self.samples
            inputs = {names.get(name, name): number for name, number in known.scheme.inputs.items()}
            self.scheme = replace(known.scheme, inputs=inputs)
            self.left_alone = known.left_alone
            if "warnings" in vars(known):  # which were said then
                self.warnings = known.warnings
        kernels = [(grid, self._variable(grid)) for grid in self.scheme.kernels]
        with model.distribute_strategy.scope():
            self.observer = TRAINED_RANGES[ranges].observer(self.scheme.grids, kernels, momentum, rate)
        self._simulation = Simulation(model, self.scheme, self.observer, self)
        self.attached = False
        self._started = False
        self._held: list[tuple[Any, HeldConstraint]] = []

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What to know of the calibration samples before the training, measured when it is first asked for."""
        return calibration_warnings(self.model, self.samples)

    def attach(self) -> None:
        """Lets the model compute as its file will, from the ranges of the calibration samples on.

        Where the settings choose the integers of kernels together, the weights are brought to these integers first.

        Zeros of pruned kernels stay zeros, and kernels of a few distinct values keep them as few.

        Raises:
            ModelError: A callback of the same `fit` prunes or clusters.
            DataError: Too few calibration samples for a percentile.
            ConversionError: The quantizer does not keep the integers that were chosen.
        """
        if self.attached:
            return
        start = self._rounded_start() if not self._started else None
        self.attached = True
        try:
            self._held = held_weights(self.model, self.holder)
            self._simulation.attach()
            if not self._started:
                self.begin()
            if start is not None:
                self._begin_rounded(start)
            self._started = True  # not before: what failed is begun anew
        except BaseException:
            self.strip()
            raise

    def begin(self) -> None:
        """Resets the ranges to those of the calibration samples."""
        step = self.export.batch if isinstance(self.export.batch, int) else 1
        extremes = self._simulation.observe(self.samples, step)
        for name, number in self.scheme.inputs.items():
            if self.scheme.grids[number].fixed is not None:
                continue
            if self.samples[name].any() and not (extremes.low[:, number].any() or extremes.high[:, number].any()):
                raise ModelError(
                    f"how the model takes its input {name!r} is not known. Give its inputs as a flat dict."
                )
        weights = {(g.part, g.attribute): np.asarray(self._variable(g).value.numpy()) for g in self.scheme.kernels}
        self.observer.begin(extremes.ranges(TRAINED_RANGES[self._settings[0]].begin), weights)

    def _rounded_start(self) -> RoundedStart | None:
        """What the training begins with where integers are chosen together; None where they are not."""
        if self._asked is None:
            return None
        prepared, _ = self._prepared(self._asked)
        return rounded_start(prepared, self.scheme.kernels, TRAINED_RANGES[self._settings[0]].begin)

    def _begin_rounded(self, start: RoundedStart) -> None:
        """Brings weights and biases to a start; the ranges are those that the model had before."""
        start.give(self.parts)
        self._begin_kernels(start.steps)
        self.notes = start.notes

    def _begin_kernels(self, steps: Mapping[tuple[int, str], np.ndarray]) -> None:
        with self.model.distribute_strategy.scope():
            self.observer.begin_kernels(steps)
        self._simulation.retrace()

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores ranges from the observer's `get_state`."""
        self.observer.set_state(state)
        self._started = True

    def strip(self) -> None:
        """Restores the model's own computation; the trained weights stay."""
        if self.attached:
            let_go(self._held)
            self._held = []
            self._simulation.detach()
            self.attached = False

    def freeze(self) -> None:
        """Stops updates of the ranges and of the statistics of batch normalizations.

        References:
            Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, arXiv:1806.08342.
        """
        self._simulation.freeze()

    def thaw(self) -> None:
        """Resumes updates of the ranges and of the statistics of batch normalizations."""
        self._simulation.thaw()

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What training leaves out: kernels that it does not round, and tensors whose ranges are calibrated ones."""
        hidden = "the model does not show this value: its range is that of the calibration samples"
        other = "the model computes this in another way in training: its range was not trained"
        whole, reached = self.parts, self._simulation.reached
        missed = [point for point in self.scheme.points if reached and point not in reached]
        where = [f"{whole[point.part].path}/{point.op or 'output'}" for point in missed]
        return (
            *(Skipped(path, reason) for path, reason in self.left_alone),
            *(Skipped(name, hidden) for name in self.scheme.unseen),
            *(Skipped(name, reason) for name, reason in self.scheme.unrounded),
            *(Skipped(name, other) for name in where),
        )

    def _without_a_grid(self, prepared: PreparedModel) -> tuple[tuple[str, str], ...]:
        """The layers with a kernel that training does not round, with the reason; not those that a rule keeps so."""
        ruled = {place.path for number in prepared.assigned.precisions for place in prepared.source.owners[number]}
        rounded = {id(self.parts[grid.part].computes) for grid in self.scheme.kernels}
        reason = (
            f"training does not round its kernel, which the {self.export.mode} file has in float or in another form"
        )
        return tuple(
            (place.path, reason)
            for place in walk(self.model)
            if has_kernel(place.layer) and id(place.layer) not in rounded and place.path not in ruled
        )

    def convert(self) -> Conversion:
        """The file, with the trained ranges.

        Warns:
            TfoptWarning: The outputs are noisy: an SNR below 20 dB against the trained model in float.

        Raises:
            ConversionError: LiteRT cannot run the file, or its outputs have nothing to do with the model's.
        """
        made = self.finish()
        warn(made, stacklevel=3)
        return made

    def finish(self, judged_by: JudgedBy = "training") -> Conversion:
        """`convert` that leaves its warnings to the caller, without those that were there before the training.

        Args:
            judged_by: What decides on noisy outputs; see `PreparedModel`.
        """
        attached = self.attached
        self.strip()
        operands = [(self._variable(g), g.bits) for g in self.scheme.kernels if not g.symmetric]
        before = [np.asarray(variable.value.numpy()) for variable, _ in operands]
        try:
            # A file may have one of them twice, and as a bias of 32 bits it is not rounded as it was in training.
            for variable, bits in operands:
                variable.assign(fake_quant.table(tf.convert_to_tensor(variable.value), bits))
            prepared, unrolled = self._prepared(self.export)
            now = make_scheme(prepared, unrolled)
            trained = activation_ranges(prepared, self.scheme, now, self.observer.ranges())
            ranges = {**trained, **kernel_ranges(prepared, self.scheme, now, self.observer.steps())}
            prepared = prepared.with_ranges(ranges).judged(judged_by)
            conversion = finish(prepared, prepared.quantized())
            told = () if vars(self).get("warnings") else calibration_warnings(self.model, self.samples)
        finally:
            for (variable, _), value in zip(operands, before, strict=True):
                variable.assign(value)
            if attached:
                self.attach()
        skipped, told = (*conversion.skipped, *self.skipped), (*told, *conversion.warnings)
        return replace(conversion, skipped=skipped, warnings=told, notes=(*self.notes, *conversion.notes))

    def on(self, model: keras.Model) -> QATSession:
        """A session for another model of the same layers, with the current ranges.

        Raises:
            ModelError: The model has other layers.
        """
        other = QATSession(model, self.export, None, *self._settings, known=self)
        other.notes = self.notes
        other._begin_kernels(self.observer.steps())
        other.set_state(self.observer.get_state())
        other._simulation.reached = self._simulation.reached
        return other

    def likeness(self, content: bytes, samples: Any = None) -> Resemblance:
        """How close a file is to the model as it was trained to compute.

        Args:
            content: Bytes of the file.
            samples: Inputs `(samples, ...)`, or a dict of such arrays; the calibration samples if not given.
        """
        taken = self.samples if samples is None else samples
        attached = self.attached
        self.attach()
        try:
            return resemblance(self.model, content, taken)
        finally:
            if not attached:
                self.strip()

    def _variable(self, grid: Any) -> Any:
        return vars(self.parts[grid.part].computes)[grid.attribute]

    def _prepared(self, export: Export) -> tuple[PreparedModel, bool]:
        """The model converted to float32, and whether recurrent layers are unrolled in it."""
        return form_to_train(prepare(self.model, export, self._calibration))


Awareness = QATSession  # its name in version 0.1.0
