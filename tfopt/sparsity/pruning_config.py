"""What is asked of pruning, checked when it is said, and what it comes to on a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfopt.errors import InputError, ModelError
from tfopt.models.layers import Kernel, Rules, as_rules, by_rules
from tfopt.sparsity.allocation import ALLOCATIONS, allocate
from tfopt.sparsity.patterns import NOfM, Pattern, Unstructured
from tfopt.sparsity.schedules import build_schedule, check_knobs, check_schedule, final_sparsity
from tfopt.sparsity.selection import choose_kernels


class Request:
    """How much of which kernels is to go, and when: the settings of `MagnitudePruning`, with the pattern built.

    Raises:
        InputError: Settings that contradict each other.
    """

    def __init__(
        self,
        sparsity: float | None,
        *,
        begin: int | float,
        end: int | float,
        frequency: int | None,
        schedule: Any,
        initial_sparsity: float,
        power: float,
        rounds: int | None,
        allocation: str,
        rules: Rules[float] | None,
        pattern: Pattern,
        only: str | Sequence[str],
        skip: str | Sequence[str],
        prunable: Mapping[str, Sequence[str]] | None,
    ):
        if allocation not in ALLOCATIONS:
            raise InputError(f"allocation is one of {', '.join(ALLOCATIONS)}. Received: allocation={allocation!r}.")
        if isinstance(pattern, NOfM):
            sparsity, schedule = _of_groups(pattern, sparsity, schedule, allocation, rules), "one_shot"
        self.sparsity, self.pattern, self.allocation = sparsity, pattern, allocation
        self.rules, self.prunable = as_rules(rules), dict(prunable or {})
        for number, (patterns, value) in enumerate(self.rules):
            if not 0 <= value < 1:
                raise InputError(
                    f"a rule's sparsity is at least 0 and below 1. Received: {', '.join(patterns)}: {value}.",
                    ("rules", number),
                )
        self.only = (only,) if isinstance(only, str) else tuple(only)
        self.skip = (skip,) if isinstance(skip, str) else tuple(skip)
        self._knobs: dict[str, Any] | None = None
        if isinstance(schedule, str):
            self._knobs = check_knobs(schedule, sparsity, initial_sparsity, power, begin, end, frequency, rounds)
            # A schedule that goes nowhere has no way for the rules to be a part of.
            self._knobs["sparsity"] = sparsity or max((value for _, value in self.rules), default=0.0)
            return
        if (sparsity, begin, end, frequency, initial_sparsity, power) != (None, 0.0, 0.75, None, 0.0, 3.0) or rounds:
            raise InputError(
                "a schedule object says sparsity, begin, end and frequency itself: leave one or the other out. "
                f"Received: {sparsity=}, {begin=}, {end=}, {frequency=}."
            )
        self._schedule = check_schedule(schedule)

    @property
    def kind(self) -> str | None:
        """The schedule's word; None for a schedule object."""
        return self._knobs["kind"] if self._knobs else None

    def schedule_for(self, total: int | None) -> Any:
        """The schedule of a training of `total` steps; None for a length that is not known.

        Raises:
            InputError: A fraction of an unknown length, or an end before the begin.
        """
        return build_schedule(**self._knobs, total=total) if self._knobs else self._schedule

    def final(self, schedule: Any) -> float:
        """The sparsity that the schedule ends at, 0-1; 1 for an object that does not say, which all kernels follow.

        Raises:
            InputError: Rules or erk, which are shares of a sparsity, with an object that does not say.
        """
        known = final_sparsity(schedule)
        if known is None and (self.rules or self.allocation == "erk"):
            raise InputError(
                "rules and allocation erk need to know where the schedule ends: give the schedule object the attribute "
                f"final_sparsity, 0-1. Received: schedule={schedule!r}."
            )
        return 1.0 if known is None else known

    def choose(
        self, model: keras.Model, schedule: Any
    ) -> tuple[list[tuple[Kernel, float | None]], list[tuple[str, str]]]:
        """The kernels to prune, each with its sparsity at the schedule's end, and what is left alone, with the reason.

        Raises:
            InputError, ModelError: Patterns or rules that do not fit the model, or nothing left to prune.
        """
        kernels, skipped = choose_kernels(model, self.only, self.skip, self.prunable)
        flat = [kernel.path for kernel in kernels if len(kernel.variable.shape) < 2]
        if flat and not isinstance(self.pattern, Unstructured):
            raise ModelError(f"{flat[0]} has one axis, and block and keep take kernels of at least two.", ("prunable",))
        small = {k.path: why for k in kernels if (why := self.pattern.too_small(k.variable.shape))}
        skipped += small.items()
        kernels = [kernel for kernel in kernels if kernel.path not in small]
        if not kernels:
            path, why = next(iter(small.items()))
            raise ModelError(f"no layer is left to prune. Of {path}: {why}.")
        final = self.final(schedule)
        shares = allocate(kernels, final if self.sparsity is None else self.sparsity, self.allocation, self.rules)
        chosen = [(kernel, share) for kernel, share in zip(kernels, shares, strict=True) if share != 0 or not final]
        ruled = by_rules([kernel.place for kernel in kernels], self.rules)
        left = {k.place.path: rule for k, share, rule in zip(kernels, shares, ruled, strict=True) if share == 0}
        if final:
            reasons = {path: self.allocation if rule is None else "a rule" for path, rule in left.items()}
            skipped += [(path, f"kept dense by {reason}") for path, reason in reasons.items()]
        if not chosen:
            raise ModelError("no layer is left to prune: all that could be are kept dense.", ("rules",))
        return chosen, skipped


def _of_groups(pattern: NOfM, sparsity: float | None, schedule: Any, allocation: str, rules: Any) -> float:
    """The sparsity of n of m, which nothing else can say."""
    if sparsity is not None or schedule not in ("polynomial", "one_shot") or allocation != "uniform" or rules:
        raise InputError(
            f"keep says itself how sparse a kernel becomes, at once and in every layer: leave out sparsity, schedule, "
            f"allocation and rules. Received: keep={[pattern.keep, pattern.of]}, {sparsity=}, {schedule=}, "
            f"{allocation=}, {rules=}."
        )
    return pattern.sparsity
