"""Budgets for structured pruning, and the fewest channel groups to remove to fit one."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfopt.errors import InputError, ModelError
from tfopt.recipe.export import Export
from tfopt.recipe.target import TARGETS, figure_of, measured_on
from tfopt.sparsity.structured.budget_units import COUNTED, UNITS
from tfopt.sparsity.structured.dependency_graph import CoupledGroups, DependencyGraph
from tfopt.sparsity.structured.flops import costs
from tfopt.sparsity.structured.selection import RemovalOrder
from tfopt.sparsity.structured.surgery import cut

if TYPE_CHECKING:
    from tfopt.quantization.conversion import Conversion

Unit = str  # one of UNITS, or a figure that the target of the files measures
# Bisection steps on the share of channels: for a cheap cost, and for one that takes a conversion.
_CHEAP, _DEAR = 12, 6
_INT8 = Export(mode="int8")
# A model that misses its budget by less, as a share of it, has come near enough.
_NEAR = 0.02
# The most layers among which steps are exchanged to come nearer: models of more have steps enough.
_FAMILIES = 8


@dataclass(frozen=True)
class Budget:
    """The size or cost that a model may have after channels are removed.

    Args:
        amount: Below 1 a fraction of the model's own, of cycles and bytes too, else an absolute amount; times, such as
            `milliseconds` and `npu_milliseconds`, are always absolute.
        unit: `channels` (a fraction only: of every family or of all, as the ranking says), `parameters`, `flops`,
            `bytes` (of the file), `milliseconds` (the median of the file on LiteRT, on this machine), or what the
            target measures of the file, such as `npu_milliseconds`. A model that fits already stays as it is.
        export: Settings of the file that is measured, which is made for its target; an int8 file for LiteRT if not
            given.

    Raises:
        InputError: An unknown unit, or an invalid amount.
    """

    amount: float
    unit: Unit = "channels"
    export: Export = _INT8

    def __post_init__(self) -> None:
        target = TARGETS[self.export.target]
        known = (*UNITS, *(target.figures if target.cost is not None else ()))
        if self.unit not in known:
            raise InputError(
                f"a budget for target {target.name} is of {', '.join(known)}. Received: {self.unit!r}."
                f"{f' It is measured on target {where}.' if (where := measured_on(self.unit)) else ''}",
                ("of",),
            )
        if self.amount <= 0 or (self.unit == "channels" and self.amount >= 1):
            raise InputError(
                "a budget is a share of what the model has, above 0 and below 1, or so many"
                f"{' (of channels a share alone)' if self.unit == 'channels' else ''}. Received: {self.amount}.",
                ("keep",),
            )


def steps(structure: DependencyGraph, budget: Budget, rounds: int, samples: Any = None) -> list[Budget]:
    """Budgets for several rounds, each of which removes the same fraction of the rest.

    Args:
        structure: The dependency graph before the first round.
        budget: The budget after the last round.
        rounds: Number of rounds.
        samples: Calibration inputs, as for `fit`.
    """
    if rounds == 1:
        return [budget]
    if budget.unit == "channels":
        return [replace(budget, amount=budget.amount ** (1 / rounds))] * rounds
    before = whole(structure, budget, samples)
    share = min((budget.amount if _is_share(budget) else budget.amount / before), 1.0)
    amounts = [before * share ** (number / rounds) for number in range(1, rounds + 1)]
    return [replace(budget, amount=amount if _below_one(budget.unit) else max(amount, 1.0)) for amount in amounts]


def _below_one(unit: Unit) -> bool:
    """Whether an amount of the unit below 1 is one, and not a share: a time is, a number of bytes or cycles is not."""
    figure = figure_of(unit)
    return unit == "milliseconds" or (figure is not None and figure.below_one)


def _is_share(budget: Budget) -> bool:
    return budget.amount < 1 and not _below_one(budget.unit)


@dataclass(frozen=True)
class BudgetFit:
    """The groups to remove for a budget, and what is left then.

    Args:
        drop: Numbers of the groups to remove.
        before: What the model has, in `unit`.
        after: What is left of it.
        most: What the budget allows.
        budget: The budget.
    """

    drop: set[int]
    before: float
    after: float
    most: float
    budget: Budget

    @property
    def share(self) -> float:
        """The fraction that is left, 0-1."""
        return self.after / self.before if self.before else 1.0

    def __str__(self) -> str:
        """A sentence: how much is left and how much was asked for, or why nothing was removed."""
        unit = self.budget.unit
        source = TARGETS[self.budget.export.target].source if unit not in UNITS else ""
        named = f"{unit} ({source})" if source else unit
        digits = ",.3f" if _below_one(unit) else ",.0f"
        if not self.drop and self.before <= self.most:
            hint = ", which is so many, not a share" if _below_one(unit) and self.budget.amount < 1 else ""
            return (
                f"nothing was removed: the model has {self.before:{digits}} {named}, within the {self.most:{digits}} "
                f"asked for{hint}"
            )
        asked = self.most / self.before if self.before else 1.0
        return (
            f"{self.after:{digits}} of {self.before:{digits}} {named} are left, {self.share:.3f} of them where "
            f"{asked:.3f} were asked for"
        )


def fit(structure: DependencyGraph, choice: RemovalOrder, budget: Budget, samples: Any = None) -> BudgetFit:
    """The fewest groups to remove for the rest to fit the budget.

    The share of channels to remove is found by bisection; what rounding took beyond the budget is then given back to
    the layers one step of rounding at a time, while the budget is kept.

    Args:
        structure: The dependency graph of the model.
        choice: The order in which its groups are removed.
        budget: The budget to fit.
        samples: Calibration inputs, `(samples, ...)`, for budgets of the file.

    Raises:
        InputError: A budget of the int8 file without samples.
        ModelError: Not even the smallest model that the limits allow fits.
    """
    if budget.unit == "channels":
        drop = choice.drop(1 - budget.amount)
        now, after = choice.channels(set()), choice.channels(drop)
        return BudgetFit(drop, now, after, budget.amount * now, budget)
    cost = _cost(structure, budget, samples)
    before = cost(set())
    most = budget.amount * before if _is_share(budget) else budget.amount
    if before <= most:
        return BudgetFit(set(), before, before, most, budget)
    known: dict[frozenset[int], float] = {}

    def costing(drop: set[int]) -> float:
        key = frozenset(drop)
        if key not in known:
            known[key] = cost(drop)
        return known[key]

    low, high = 0.0, 1.0
    found = choice.drop(high)
    if (least := costing(found)) > most:
        digits = ",.3f" if _below_one(budget.unit) else ",.0f"
        raise ModelError(
            f"the model does not fit {most:{digits}} {budget.unit}: the smallest that floor, round_to, only and skip "
            f"allow has {least:{digits}}. Lower them, or raise the budget.",
            ("keep",),
        )
    tries = _CHEAP if budget.unit in COUNTED else _DEAR
    for _ in range(tries):
        middle = (low + high) / 2
        drop = choice.drop(middle)
        if costing(drop) <= most:
            found, high = drop, middle
        else:
            low = middle
    found = _nearest(choice, found, costing, most, None if tries == _CHEAP else tries)
    return BudgetFit(found, before, costing(found), most, budget)


def _nearest(
    choice: RemovalOrder, drop: set[int], cost: Callable[[set[int]], float], most: float, tries: int | None
) -> set[int]:
    """The groups to remove once no layer can be a step of rounding wider, in so many tries; None for no end of them.

    Where that is far from the budget, as in narrow models, other layers get the first step, or one that another gives.
    """

    def fits(less: set[int]) -> bool:
        return cost(less) <= most

    best = _given_back(choice, drop, fits, tries)
    if tries is None and cost(best) < (1 - _NEAR) * most:
        narrower = itertools.islice(choice.narrower(best), _FAMILIES)
        starts = [drop, *(more for _, more in narrower)]
        others = [less for start in starts for _, less in itertools.islice(choice.wider(start), _FAMILIES)]
        best = max([best, *(_given_back(choice, less, fits, tries) for less in others if fits(less))], key=cost)
    return best


def _given_back(choice: RemovalOrder, drop: set[int], fits: Callable[[set[int]], bool], tries: int | None) -> set[int]:
    """The groups to remove once the layers got back all steps that fit, the neediest first."""
    full: set[CoupledGroups] = set()
    while tries is None or tries > 0:
        step = next(((family, less) for family, less in choice.wider(drop) if family not in full), None)
        if step is None:
            break
        family, less = step
        if fits(less):
            drop = less
        else:
            full.add(family)  # nor will it fit when others are wider
        tries = None if tries is None else tries - 1
    return drop


def whole(structure: DependencyGraph, budget: Budget, samples: Any = None) -> float:
    """What the model has, in the unit of a budget.

    Args:
        structure: The dependency graph of the model.
        budget: A budget of another unit than `channels`.
        samples: Calibration inputs, as for `fit`.

    Raises:
        InputError: A budget of the int8 file without samples.
        ConversionError: The target of the budget does not take the file.
        ModelError: The target does not tell the figure of the whole file.
    """
    return _cost(structure, budget, samples)(set())


def _on_target(made: Conversion, budget: Budget) -> float:
    """The figure of a file that a budget on a target is of."""
    name = budget.export.target
    left = [layer.layer for layer in made.on_target.layers if layer.on_cpu] if made.on_target else []
    if left and (_below_one(budget.unit) or budget.unit.endswith("cycles")):
        raise ModelError(
            f"{budget.unit} is not of the whole model: target {name} leaves {', '.join(left[:3])} to the CPU, whose "
            "time is not told, so that a budget would be met by what is left to it. Take another unit, or write the "
            "layers with others.",
            ("of",),
        )
    if budget.unit not in made.figures:
        raise ModelError(f"target {name} does not tell {budget.unit} of this model's file. Take another unit.", ("of",))
    return made.figures[budget.unit]


def _cost(structure: DependencyGraph, budget: Budget, samples: Any) -> Callable[[set[int]], float]:
    if budget.unit in ("parameters", "flops"):

        def counted(drop: set[int]) -> float:
            return float(sum(getattr(cost, budget.unit) for cost in costs(structure, structure.left(drop))))

        return counted
    if samples is None:
        raise InputError(f"a budget of {budget.unit} is of the int8 file: hand over calibration samples.", ("keep",))
    TARGETS[budget.export.target].check_installed()

    def measured(drop: set[int]) -> float:
        from tfopt.quantization.conversion import convert_with_notes
        from tfopt.tflite.benchmark import measure

        # The model is trained after the cut: the noise of its file says nothing yet.
        made = convert_with_notes(cut(structure, drop), budget.export, samples, "metric")
        if budget.unit not in UNITS:
            return _on_target(made, budget)
        if budget.unit == "bytes":
            return float(len(made.content))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.tflite"
            file.write_bytes(made.content)
            return 1000 * measure(file)["latency_median_seconds"]

    return measured
