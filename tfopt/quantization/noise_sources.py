"""Where the noise of a quantized file comes from, and the rounding or the rules that would keep it out."""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tfopt.errors import ConversionError, ModelError
from tfopt.quantization import quantizer
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.op_audit import is_quantized
from tfopt.quantization.prepared_model import CHECKED_SAMPLES, PreparedModel
from tfopt.quantization.remedies import NoiseSources, Remedy
from tfopt.quantization.rounding.grids import kernel_grids
from tfopt.quantization.rounding.plan import plan
from tfopt.quantization.rounding.work import work
from tfopt.quantization.rules import resolve
from tfopt.quantization.sensitivity import Group, Sensitivity, groups, measure_groups
from tfopt.recipe.export import Rule
from tfopt.recipe.modes import MODES, closed_form
from tfopt.recipe.target import TARGETS
from tfopt.tflite.file import read

# Number of layers and operations that are quantized alone, at most and, of a large model, at least; and the bytes of
# float files that are quantized for that in all.
MOST, FEWEST, BYTES = 32, 8, 2**27
# Number of names to tell, and of those that a rule takes.
NAMED, RULED = 3, 6
# Error from which on an op is named, a tenth of that of a file at 20 dB; where none makes as much, the share of the
# largest error from which on it is.
TELLING, SHARE = 1e-3, 0.1
# Decibels that a rule has to bring to be worth writing, and those at which no more is needed.
WORTH_DB, ENOUGH_DB = 3.0, 20.0
# Seconds of work up to which it is tried how much integers that are chosen together bring.
ROUNDED_SECONDS = 10.0


def find(prepared: PreparedModel, snr: float) -> NoiseSources:
    """What loses most, and the rounding, else the rules, that bring it back; empty where the mode has no rules.

    Args:
        prepared: The model and the settings of the file.
        snr: The file's signal-to-noise ratio, in decibels.
    """
    if not MODES[prepared.export.mode].rules or prepared.converted is not None:
        return NoiseSources()
    worst = loudest(prepared)
    if not worst:
        return NoiseSources()
    names = (name for one in worst[:NAMED] for name in one.group.name.split(", "))  # an op may be of several layers
    found = _rounded(prepared, worst, snr)
    if not _is_enough(found):
        found = max((one for one in (found, _remedy(prepared, worst, snr)) if one), key=_decibels, default=None)
    return NoiseSources(tuple(dict.fromkeys(names)), found)


def loudest(prepared: PreparedModel) -> list[Sensitivity]:
    """The layers and operations that lose most where each alone is quantized as in the file, the worst first."""
    source = prepared.source
    most = min(max(BYTES // len(source.content), FEWEST), MOST)
    tried = [(group, at) for group in _candidates(source) if (at := _precision(prepared, group)) != "float"]
    return telling(measure_groups(prepared, tried[:most], count=CHECKED_SAMPLES))


def telling(measured: Iterable[Sensitivity]) -> list[Sensitivity]:
    """Those that make much of a file's noise, the worst first."""
    found = sorted(measured, key=lambda one: -one.error)
    least = min(TELLING, SHARE * found[0].error) if found else 0.0
    return [one for one in found if one.error > 0 and one.error >= least][:RULED]


def _candidates(source: FloatModel) -> list[Group]:
    """The layers and operations of a file without those that only move values; first those without a kernel.

    It is these, such as squares, that have values of very different size.
    """
    computing = [g for g in groups(source) if any(not source.ops[i].facts.moves_data for i in g.ops)]
    return sorted(computing, key=lambda group: bool(group.floats))


def _precision(prepared: PreparedModel, group: Group) -> str:
    """The precision that a group has in the file."""
    mode, given = MODES[prepared.export.mode], prepared.assigned.precisions
    asked = next((given[i] for i in group.ops if i in given), None)
    four = any(quantizer.supports(prepared.source.ops[i], mode.name, "int4") for i in group.ops)
    return asked or ("int4" if mode.weights == "int4" and four else mode.precision)


def _rounded(prepared: PreparedModel, worst: Sequence[Sensitivity], snr: float) -> Remedy | None:
    """Integers that are chosen together, where kernels make the noise and that is worth it: it costs no bytes."""
    export = prepared.export
    if not MODES[export.mode].static or export.reconstructs or prepared.trained is not None:
        return None
    if not worst[0].group.floats:
        return None
    settings = replace(prepared.rounding, rounding=closed_form(), bias_correction=True)
    try:
        planned = plan(prepared.source, kernel_grids(prepared.file), settings)
        if work(prepared.source, planned, len(next(iter(prepared.samples.values())))).seconds() > ROUNDED_SECONDS:
            return None
        reached = prepared.snr(prepared.quantized(rounding=settings))
    except (ConversionError, ModelError):
        return None
    return Remedy(export.rules, None, reached, settings.rounding) if reached > snr + WORTH_DB else None


def _remedy(prepared: PreparedModel, worst: Sequence[Sensitivity], snr: float) -> Remedy | None:
    """The shortest rules for the worst layers that are enough, else all of them, where they are worth it.

    Each try is a file and a run. As a rule more can hardly make a file worse, one rule and all rules are tried first,
    and what lies between them is halved only where all are enough.
    """
    ruled = [rule for one in worst if (rule := _rule(prepared, one))]
    if not ruled:
        return None
    reached = functools.cache(lambda count, io: _snr_with(prepared, ruled[:count], io))

    def best(count: int, ios: Sequence[str | None]) -> Remedy | None:
        found, least = None, snr + WORTH_DB
        for io in ios:
            if (db := reached(count, io)) > least + (WORTH_DB if io else 0):
                found, least = Remedy((*prepared.export.rules, *ruled[:count]), io, db), db
            if found and least >= ENOUGH_DB:
                break
        return found

    first = best(1, [None])
    if _is_enough(first):
        return first
    # Of a small net all rules may leave nothing in integers.
    most = next((count for count in range(len(ruled), 1, -1) if math.isfinite(reached(count, None))), 1)
    whole = best(most, [None, "float32"] if _may_float(prepared) else [None])
    ios = [None, "float32"] if whole and whole.io else [None]
    if _is_enough(whole):
        counts = range(1, most + 1)
        return best(bisect.bisect_left(counts, True, key=lambda count: _is_enough(best(count, ios))) + 1, ios)
    return max((one for one in (first, whole) if one), key=_decibels, default=None)


def _decibels(remedy: Remedy) -> float:
    return remedy.snr_db


def _is_enough(remedy: Remedy | None) -> bool:
    return remedy is not None and remedy.snr_db >= ENOUGH_DB


def _rule(prepared: PreparedModel, one: Sensitivity) -> Rule | None:
    """The rule that raises the precision of a group; None where it has no name, or the target no higher precision."""
    places = [place for i in one.group.ops for place in prepared.source.owners[i]]
    target = TARGETS[prepared.export.target]
    to = "int8" if one.precision == "int4" else target.highest_precision
    if not places or to == one.precision or to not in MODES[prepared.export.mode].rules:
        return None
    return Rule(layers=(places[0].path,), to=to)


def _may_float(prepared: PreparedModel) -> bool:
    """Whether inputs and outputs may be in float: the user has not said, and the target takes them."""
    export = prepared.export
    return export.io is None and MODES[export.mode].static and TARGETS[export.target].highest_precision == "float"


def _snr_with(prepared: PreparedModel, ruled: Sequence[Rule], io: str | None) -> float:
    """The signal-to-noise ratio of a file with more rules, in decibels; minus infinity where there is none."""
    export, mode = prepared.export, MODES[prepared.export.mode]
    try:
        given = resolve([*export.rules, *ruled], prepared.source, mode.name).precisions
        ranges, scales = prepared.ranges(), (prepared.scales, prepared.one_scale_at(given))
        content = quantizer.quantize(prepared.source, mode.name, ranges, given, io or export.io, None, *scales)
        return prepared.snr(content) if is_quantized(read(content)) else -math.inf
    except (ConversionError, ModelError):
        return -math.inf
