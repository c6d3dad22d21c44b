"""The pruning plan of a model: its schedule, its kernels and the final sparsity of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfopt.errors import InputError, ModelError
from tfopt.models.layers import Kernel, Rules, as_rules, by_rules, operations
from tfopt.sparsity.allocations import ALLOCATIONS
from tfopt.sparsity.patterns import NOfM, Pattern, Unstructured, build_pattern
from tfopt.sparsity.pruning_config import PruningConfig
from tfopt.sparsity.schedules import ScheduleSettings
from tfopt.sparsity.selection import KEPT_DENSE, choose_kernels, rules_on_trained


@dataclass(frozen=True)
class PruningPlan:
    """The kernels to prune in a model, with their final sparsities and the schedule.

    Args:
        schedule: A TF-MOT schedule, or a callable like one.
        final: Final sparsity of the schedule, 0-1; 1 for an object without one, which all kernels follow.
        pattern: The pruning pattern: single weights, blocks, or n of m.
        kernels: The kernels to prune.
        shares: Final sparsity of each kernel, 0-1; None for kernels that share one threshold.
        skipped: Layers that are not pruned, with the reason.
    """

    schedule: Any
    final: float
    pattern: Pattern
    kernels: tuple[Kernel, ...]
    shares: tuple[float | None, ...]
    skipped: tuple[tuple[str, str], ...]


def plan_pruning(config: PruningConfig, model: keras.Model, total: int | None) -> PruningPlan:
    """Makes the pruning plan of a model.

    Args:
        config: The settings.
        model: A built model.
        total: Steps of the whole training; None where it is not known.

    Raises:
        InputError: A fraction of an unknown length, an end before the begin, rounds that do not fit, or rules with a
            schedule object that has no `final_sparsity`.
        ModelError: Patterns or rules that do not fit the model, or nothing left to prune.
    """
    schedule, pattern = build_schedule(config, total), pattern_of(config)
    final = _final(config, schedule)
    rules = rules_of(config)
    found = choose_kernels(model, config.only, config.skip, config.prunable, rules)
    kernels, skipped = _large_enough(pattern, *found)
    rules = rules_on_trained(model, rules, skipped)
    ruled = by_rules([kernel.place for kernel in kernels], rules, list(operations(model)))
    shares = allocate(kernels, _sparsity(config, final), config.allocation, rules)
    pairs = [(kernel, share) for kernel, share in zip(kernels, shares, strict=True) if share != 0 or not final]
    dense = {k.place.path: rule for k, share, rule in zip(kernels, shares, ruled, strict=True) if share == 0}
    if final:
        reasons = {path: config.allocation if rule is None else "a rule" for path, rule in dense.items()}
        skipped += [(path, KEPT_DENSE + reason) for path, reason in reasons.items()]
    if not pairs:
        raise ModelError("no layer is left to prune: all that could be are kept dense.", ("rules",))
    chosen, wanted = zip(*pairs, strict=True)
    return PruningPlan(schedule, final, pattern, chosen, wanted, tuple(skipped))


def pattern_of(config: PruningConfig) -> Pattern:
    """The pruning pattern of the settings.

    Raises:
        InputError: Numbers that make no pattern.
    """
    return build_pattern(config.block, config.block_pooling, config.keep)


def rules_of(config: PruningConfig) -> list[tuple[tuple[str, ...], float]]:
    """The rules as pairs of layer patterns and a sparsity."""
    return [(rule.layers, rule.sparsity) for rule in config.rules]


def build_schedule(config: PruningConfig, total: int | None = None) -> Any:
    """The schedule of a training.

    Args:
        config: The settings.
        total: Steps of the whole training; None where it is not known.

    Returns:
        A TF-MOT schedule, or a callable like one; the schedule object of the settings if there is one.

    Raises:
        InputError: A fraction of an unknown total, an end that is not after the begin, or rounds that do not fit.
    """
    kind = config.schedule_kind
    if kind is None:
        return config.schedule
    first = max(_step("begin", config.begin, total), 1)
    last = first if "end" in kind.ignores else _step("end", config.end, total)
    if last < first:
        raise InputError(f"pruning must end after it begins. Received: begin at step {first}, end at step {last}.")
    # Rules scale the schedule, so a schedule of 0 takes their largest sparsity.
    sparsity = _sparsity(config, 0.0) or max((rule.sparsity for rule in config.rules), default=0.0)
    settings = ScheduleSettings(
        sparsity, first, last, config.initial_sparsity, config.power, config.frequency, config.rounds
    )
    return kind.build(settings)


def final_sparsity(schedule: Any) -> float | None:
    """The final sparsity of a schedule, 0-1; None for a user's object without one."""
    for name in ("final_sparsity", "target_sparsity"):
        if hasattr(schedule, name):
            return float(getattr(schedule, name))
    end = getattr(schedule, "end_step", -1)
    return float(schedule(tf.constant(end, tf.int64))[1]) if end > 0 else None


def allocate(
    kernels: Sequence[Kernel], sparsity: float, allocation: str = "uniform", rules: Rules[float] | None = None
) -> list[float | None]:
    """The final sparsity of each kernel, 0-1; None for kernels that share one threshold.

    Args:
        kernels: The kernels to prune.
        sparsity: Fraction of zeros over all kernels without a rule together, 0-1.
        allocation: Name of an entry of `ALLOCATIONS`.
        rules: Sparsities by layer pattern; of several that match a layer the last one counts.

    Raises:
        ModelError: A rule's pattern matches no layer that is pruned.
    """
    way = ALLOCATIONS[allocation]
    shares = by_rules([kernel.place for kernel in kernels], as_rules(rules))
    rest = [index for index, value in enumerate(shares) if value is None]
    if not rest or (way.together and sparsity):
        return shares
    found = [sparsity] * len(rest)
    if way.sparsities is not None:
        found = way.sparsities([tuple(kernels[index].variable.shape) for index in rest], sparsity)
    for index, share in zip(rest, found, strict=True):
        shares[index] = share
    return shares


def _sparsity(config: PruningConfig, unsaid: float) -> float:
    """The sparsity of the settings, 0-1; `unsaid` where a schedule object has it instead."""
    if config.keep:
        return NOfM(*config.keep).sparsity
    return unsaid if config.sparsity is None else config.sparsity


def _final(config: PruningConfig, schedule: Any) -> float:
    known = final_sparsity(schedule)
    if known is None and (config.rules or ALLOCATIONS[config.allocation].sparsities is not None):
        raise InputError(
            "rules, and allocations by shape, need to know where the schedule ends: give the schedule object the "
            f"attribute final_sparsity, 0-1. Received: schedule={schedule!r}."
        )
    return 1.0 if known is None else known


def _large_enough(
    pattern: Pattern, kernels: Sequence[Kernel], skipped: Sequence[tuple[str, str]]
) -> tuple[list[Kernel], list[tuple[str, str]]]:
    """The kernels large enough for the pattern, and the skipped layers with the reason."""
    flat = [kernel.path for kernel in kernels if len(kernel.variable.shape) < 2]
    if flat and not isinstance(pattern, Unstructured):
        raise ModelError(f"{flat[0]} has one axis, and block and keep take kernels of at least two.", ("prunable",))
    small = {k.path: why for k in kernels if (why := pattern.too_small(k.variable.shape))}
    left = [kernel for kernel in kernels if kernel.path not in small]
    if not left:
        path, why = next(iter(small.items()))
        raise ModelError(f"no layer is left to prune. Of {path}: {why}.")
    return left, [*skipped, *small.items()]


def _step(name: str, value: int | float, total: int | None) -> int:
    if isinstance(value, int):
        return value
    if total is None:
        raise InputError(
            f"{name} is a fraction of the training, whose length is not known before it ends: the data has no length. "
            f"Write {name} as a step number. Received: {name}={value}."
        )
    return round(value * total)
