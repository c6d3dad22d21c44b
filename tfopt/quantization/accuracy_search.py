"""The accuracy search: quantize as far as the user's own metric, measured on LiteRT, allows.

Starting from the requested settings, one step after the other is tried until the metric is kept: corrected biases, and
integers chosen together on the calibration samples, which cost no bytes; other calibration, inputs and outputs in float
where ops in float read or make them, a higher precision for the operations without kernels that lose most, then for the
most sensitive layers. Each step goes on from the best one so far. Towards the smallest file it goes the other way: as
many layers to int4 as the metric allows, those with the least error per byte saved first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tfopt.errors import ConversionError, InputError, TrainingError
from tfopt.quantization import quantizer
from tfopt.quantization.conversion import Conversion, finish
from tfopt.quantization.noise_sources import telling
from tfopt.quantization.op_audit import float_at_ends
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.quantization.rounding.plan import RoundingSettings
from tfopt.quantization.sensitivity import Sensitivity, measure
from tfopt.recipe.details.quantization import AccuracyStep
from tfopt.recipe.modes import MODES, RANGES, ROUNDINGS, closed_form
from tfopt.recipe.target import TARGETS
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read


def _called(rounding: str) -> str:
    """What a step of a rounding with corrected biases is called."""
    return "bias correction" if rounding == "nearest" else f"rounding: {rounding}"


@dataclass(frozen=True)
class Outcome:
    """The result of an accuracy search.

    Args:
        conversion: The file: the one that keeps the metric, or where none did, the one that loses least.
        step: The step that made the file.
        steps: Every step that was tried, in order.
    """

    conversion: Conversion
    step: AccuracyStep
    steps: tuple[AccuracyStep, ...]


@dataclass(frozen=True)
class _Choice:
    """The settings of one candidate file: calibration ranges, roundings, precisions and algorithms by op number."""

    prepared: PreparedModel
    ranges: str
    precisions: Mapping[int, str] = field(default_factory=dict)
    algorithms: Mapping[int, str] = field(default_factory=dict)
    rounding: RoundingSettings | None = None


def _together(choice: _Choice) -> RoundingSettings | None:
    """The best of the quick roundings, with corrected biases; None where integers are chosen together already."""
    now = choice.rounding or choice.prepared.rounding
    if ROUNDINGS[now.rounding].choose or ROUNDINGS[now.rounding].tries:
        return None
    return replace(now, rounding=closed_form(), bias_correction=True)


class AccuracySearch:
    """The search for a file that keeps a metric.

    Args:
        prepared: The model, converted to float32, with its samples.
        score: Computes the metric of a file's bytes on LiteRT.
        drop: Maps that score to how much worse it is than the model's own.
        max_drop: The largest drop that is accepted.
        more: A larger set of calibration samples `(samples, ...)` by input name, if there is one.
        step: Called with a line of text for each finished step.
        part: Called with the finished fraction, 0-1, of long work between steps.
    """

    def __init__(
        self,
        prepared: PreparedModel,
        score: Callable[[bytes], float],
        drop: Callable[[float], float],
        max_drop: float,
        more: Mapping[str, np.ndarray] | None = None,
        step: Callable[[str], None] = lambda text: None,
        part: Callable[[float], None] = lambda done: None,
    ):
        self._score, self._drop, self._max_drop = score, drop, max_drop
        self._step, self._part = step, part
        self._asked, self._more = prepared.judged("metric"), more
        self._tried: list[tuple[AccuracyStep, _Choice, bytes]] = []
        self._measured: dict[tuple[int, str, str], list[Sensitivity]] = {}

    def keep(self) -> Outcome:
        """Tries the requested settings, then one step after the other, until a file keeps the metric."""
        self._climb()
        return self._outcome()

    def smallest(self) -> Outcome:
        """The smallest file that keeps the metric, with as many layers in int4 as that takes."""
        self._climb()
        step, choice, _ = self._ordered()[0]
        if step.met:
            self._shrink(choice)
        return self._outcome()

    def or_trained(self, outcome: Outcome, what: str, train: Callable[[], Conversion]) -> Outcome:
        """The last step: the file of quantization-aware training, where it is better than the best file so far.

        Args:
            outcome: The result of the search without training.
            what: Name of the training, for the list of steps.
            train: Trains the model and returns its conversion.
        """
        begin = time.perf_counter()
        try:
            conversion = train()
            score = self._score(conversion.content)
        except (ConversionError, TrainingError) as error:
            self._step(f"{what}: {error}")
            notes = (*outcome.conversion.notes, f"{what}: {error}")
            return replace(outcome, conversion=replace(outcome.conversion, notes=notes))
        drop = self._drop(score)
        size, seconds = len(flatbuffer.slim(conversion.content)), time.perf_counter() - begin
        step = AccuracyStep(what, size, score, drop, drop <= self._max_drop, seconds=round(seconds, 2))
        self._step(f"{what}: {step.bytes:,} B, {score:.4f}")
        steps = (*outcome.steps, step)
        if step.met or drop < outcome.step.drop:
            return Outcome(conversion, step, steps)
        return replace(outcome, steps=steps)

    def _climb(self) -> None:
        """Tries one step after the other until the metric is kept."""
        start = _Choice(self._asked, self._asked.export.ranges)
        if self._try("as asked", start).met:
            return
        if self._asked.converted is not None:
            self._step("TFLiteConverter made the file, which gives single layers no precision: there is nothing to try")
            return
        if self._roundings(start):
            return
        start = self._ordered()[0][1]
        if not self._calibrations(start):
            return
        last = TARGETS[self._asked.export.target].highest_precision
        if self._float_ends(last) or self._raise_operations(last):
            return
        rungs = [("int4", "int8")] if MODES[self._asked.export.mode].weights == "int4" else []
        for measured, to in (*rungs, ("int8", last)):
            self._protect(self._ordered()[0][1], measured, to)
            if self._ordered()[0][0].met:
                return

    def _roundings(self, start: _Choice) -> bool:
        """Tries corrected biases and integers chosen together, the quickest first; returns whether one is enough."""
        asked = start.prepared.rounding
        if not MODES[start.prepared.export.mode].static or ROUNDINGS[asked.rounding].tries:
            return False
        four = any(kernel.dtype == "INT4" for op in read(self._tried[0][2]).ops for kernel in op.kernels)
        for name in ROUNDINGS["auto"].tries:
            if ROUNDINGS[name].rows and not four:  # up or down is little of 8 bits, and takes longest to learn
                continue
            other = replace(asked, rounding=name, bias_correction=True)
            if other != asked and self._try(_called(name), replace(start, rounding=other)).met:
                return True
        return False

    def _calibrations(self, start: _Choice) -> bool:
        """Tries other calibration ranges and more samples; returns whether none of them keeps the metric."""
        for other in RANGES:
            if other != start.ranges and self._try(f"ranges: {other}", replace(start, ranges=other)).met:
                return False
        known = len(next(iter(self._asked.samples.values())))
        count = 0 if self._more is None else len(next(iter(self._more.values())))
        if self._more is None or count <= known:
            return True
        more = self._asked.with_samples(self._more)
        return not self._try(f"calibration on {count} samples", replace(start, prepared=more)).met

    def _float_ends(self, last: str) -> bool:
        """Tries inputs and outputs in float where that changes anything; returns whether it keeps the metric."""
        _, choice, content = self._ordered()[0]
        if choice.prepared.export.io is not None or last != "float" or not float_at_ends(content):
            return False
        return self._try("io: float32", replace(choice, prepared=choice.prepared.with_io("float32"))).met

    def _raise_operations(self, to: str) -> bool:
        """Tries a higher precision for what has no kernel and loses most; returns whether it keeps the metric."""
        choice = self._ordered()[0][1]
        found = [s for s in telling(self._sensitivity(choice.prepared, "int8")) if not s.group.floats]
        found = [s for s in found if self._may(s, choice, to)]
        if not found:
            return False
        raised = {i: to for s in found for i in self._able(s, choice, to)}
        names = ", ".join(s.group.name for s in found)
        return self._try(f"operations in {to}: {names}", self._raised(choice, raised)).met

    @staticmethod
    def _raised(start: _Choice, kept: Mapping[int, str]) -> _Choice:
        """A choice with other precisions; an input that an op in float reads is in float, unless the user said."""
        prepared = start.prepared
        inputs = read(prepared.source.content).inputs
        ops = [prepared.source.ops[i] for i, to in kept.items() if to == "float"]
        if prepared.export.io is None and any(tensor.name in inputs for op in ops for tensor in op.inputs):
            prepared = prepared.with_io("float32")
        return replace(start, prepared=prepared, precisions={**start.precisions, **kept})

    def _protect(self, start: _Choice, measured: str, to: str) -> None:
        """Raises the precision of the layers most sensitive to `measured` to `to`: as few as it takes."""
        ranked = [s for s in self._sensitivity(start.prepared, measured) if self._may(s, start, to)]
        ranked.sort(key=lambda s: -s.error)
        if to == "float" and (with_kernel := [s for s in ranked if s.group.floats]):
            ranked.remove(with_kernel[-1])  # with none left in integers the file would be the float one

        def attempt(count: int) -> bool:
            kept = {i: to for s in ranked[:count] for i in self._able(s, start, to)}
            names = ", ".join(s.group.name for s in ranked[: min(count, 3)]) + (" ..." if count > 3 else "")
            what = f"{count} worst {'layer' if count == 1 else 'layers'} in {to}: {names}"
            return self._try(what, self._raised(start, kept)).met

        fails, count = 0, 1
        while count < len(ranked) and not attempt(count):
            fails, count = count, count * 2
        works = min(count, len(ranked))
        if count >= len(ranked) and (not ranked or not attempt(len(ranked))):
            return
        while works - fails > 1:
            middle = (works + fails) // 2
            fails, works = (fails, middle) if attempt(middle) else (middle, works)

    def _shrink(self, start: _Choice) -> None:
        """Gives int4 to the layers of least error per byte saved: as many as the metric allows.

        Where some are too many, their integers are chosen together before one of them is given up.
        """
        found = (s for s in self._sensitivity(start.prepared, "int4") if s.bytes_saved and self._may(s, start, "int4"))
        ranked = [s for s in found if not any(i in start.precisions for i in s.group.ops)]  # what needs more than int8

        def attempt(chosen: list[Sensitivity], what: str) -> bool:
            four = {i: "int4" for s in chosen for i in self._able(s, start, "int4")}
            how = {i: s.algorithm for s in chosen for i in self._able(s, start, "int4")}
            given = replace(start, precisions={**start.precisions, **four}, algorithms=how)
            if self._try(what, given).met:
                return True
            other = _together(given)
            return (
                other is not None
                and self._try(f"{what}, {_called(other.rounding)}", replace(given, rounding=other)).met
            )

        works, fails = 0, len(ranked) + 1
        while fails - works > 1:
            middle = len(ranked) if fails > len(ranked) and not works else (works + fails) // 2
            met = attempt(ranked[:middle], f"{middle} of {len(ranked)} layers in int4")
            works, fails = (middle, fails) if met else (works, middle)
        chosen = ranked[:works]
        # Beyond the first that is too much others may fit; no more of them are tried than the search took.
        for extra in ranked[works + 1 :][: len(ranked).bit_length()]:
            if attempt([*chosen, extra], f"{len(chosen) + 1} of {len(ranked)} layers in int4, with {extra.group.name}"):
                chosen.append(extra)

    def _sensitivity(self, prepared: PreparedModel, precision: str) -> list[Sensitivity]:
        key = (id(prepared.samples), prepared.export.ranges, precision)
        if key not in self._measured:
            self._measured[key] = measure(prepared, (precision,), self._part)
        return self._measured[key]

    def _may(self, sensitivity: Sensitivity, start: _Choice, to: str) -> bool:
        """Whether a layer can get another precision: some op has that form, and no rule of the user's covers it."""
        decided, able = start.prepared.assigned.precisions, self._able(sensitivity, start, to)
        has_it = all(start.precisions.get(i) == to for i in able)
        return not has_it and not any(i in decided for i in sensitivity.group.ops)

    @staticmethod
    def _able(sensitivity: Sensitivity, start: _Choice, to: str) -> list[int]:
        ops, export = start.prepared.source.ops, start.prepared.export
        able = [i for i in sensitivity.group.ops if quantizer.supports(ops[i], export.mode, to)]
        return [i for i in able if TARGETS[export.target].runs_op(ops[i].name, to)]

    def _try(self, what: str, choice: _Choice) -> AccuracyStep:
        begin = time.perf_counter()
        try:
            content = choice.prepared.quantized(choice.precisions, choice.algorithms, choice.ranges, choice.rounding)
            score = self._score(content)
        except (ConversionError, InputError) as error:
            if not self._tried:
                raise
            self._step(f"{what}: {error}")
            return AccuracyStep(what, 0, math.nan, math.inf, False)
        drop = self._drop(score)
        seconds = time.perf_counter() - begin
        step = AccuracyStep(
            what, len(flatbuffer.slim(content)), score, drop, drop <= self._max_drop, seconds=round(seconds, 2)
        )
        self._tried.append((step, choice, content))
        self._step(f"{what}: {step.bytes:,} B, {score:.4f}")
        return step

    def _ordered(self) -> list[tuple[AccuracyStep, _Choice, bytes]]:
        """Steps, best first: the smallest that keep the metric, then those of the least drop."""
        kept = [tried for tried in self._tried if tried[0].met]
        others = [tried for tried in self._tried if not tried[0].met]
        kept.sort(key=lambda tried: tried[0].bytes)
        others.sort(key=lambda tried: (tried[0].drop, tried[0].bytes))
        return kept + others

    def _outcome(self) -> Outcome:
        """The best file that the target runs."""
        refused: list[ConversionError] = []
        for step, choice, content in self._ordered():
            try:
                conversion = finish(choice.prepared, content, choice.precisions)
            except ConversionError as error:
                refused.append(error)
                self._step(f"{step.what}: {error}")
                continue
            return Outcome(conversion, step, tuple(tried[0] for tried in self._tried))
        raise refused[0]
