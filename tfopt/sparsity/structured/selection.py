"""Selection of channel groups to remove: those of the lowest scores, within the limits of each layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tfopt.errors import InputError, ModelError
from tfopt.models.layers import matching, operations, select, walk
from tfopt.models.requirements import check_not_quantized
from tfopt.sparsity.structured.dependency_graph import CoupledGroups, DependencyGraph
from tfopt.sparsity.structured.importance import normalized

Ranking = Literal["local", "global"]
RANKINGS = ("local", "global")
_LEFT_OUT, _NO_SCORE = "left out by only/skip", "the score says nothing of it"
# The reasons for leaving a layer alone that follow from what was asked for.
ASKED = (_LEFT_OUT, _NO_SCORE)


@dataclass(frozen=True)
class LayerLimits:
    """Limits on the channels that each layer keeps.

    Args:
        round_to: The number of channels left is the nearest multiple of this, which suits compute kernels, and at
            least one; 1 for any number.
        floor: Least fraction of its channels that a layer keeps, in (0, 1].
        only: Layer patterns; empty means every layer. Channels coupled to those of a chosen layer are removed too.
        skip: Layer patterns to leave alone, with all channels coupled to them.

    Raises:
        InputError: A number out of its range.
    """

    round_to: int = 8
    floor: float = 0.1
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.round_to < 1:
            raise InputError(f"round_to is a number of channels, at least 1. Received: {self.round_to}.", ("round_to",))
        if not 0 < self.floor <= 1:
            raise InputError(
                f"floor is the least share of its channels that a layer keeps, above 0 and up to 1. "
                f"Received: {self.floor}.",
                ("floor",),
            )


class RemovalOrder:
    """The order in which the groups of a model are removed.

    Args:
        structure: The dependency graph of the model.
        scores: Scores by group number, from `importance.score`; groups without one stay.
        ranking: `local` takes the same share of every family, `global` ranks all of them together by their scores over
            the mean of their family.
        limits: Limits on the channels that each layer keeps.

    Raises:
        InputError: An unknown ranking.
        ModelError: A pattern matches no layer, or nothing is left to remove.
    """

    def __init__(self, structure: DependencyGraph, scores: Mapping[int, float], ranking: str, limits: LayerLimits):
        if ranking not in RANKINGS:
            raise InputError(f"ranking is 'local' or 'global'. Received: ranking={ranking!r}.", ("ranking",))
        self._structure, self._scores, self._ranking, self._limits = structure, scores, ranking, limits
        self.skipped: list[tuple[str, str]] = list(structure.skipped)
        chosen = chosen_families(structure, limits)
        self._families: list[tuple[CoupledGroups, list[int]]] = []  # with their groups that may go, the worst first
        for family in structure.families:
            ordered = sorted((group for group in family.groups if group in scores), key=lambda group: scores[group])
            if family not in chosen:
                self.skipped += [(path, _LEFT_OUT) for path in family.paths]
            elif not ordered:
                self.skipped += [(path, _NO_SCORE) for path in family.paths]
            else:
                self._families.append((family, ordered))
        if not structure.families:
            check_not_quantized(walk(structure.model))
            reasons = "; ".join(f"{path}: {reason}" for path, reason in structure.skipped) or "It has too few layers"
            raise ModelError(f"no channels of this model can be removed. {reasons}.", ("only",))
        if not self._families:
            raise ModelError("no channels are left to remove: only/skip or the score leave out every layer.", ("only",))
        self._even = normalized(structure, dict(scores))
        together = [(self._even[group], group) for _, ordered in self._families for group in ordered]
        self._together = [group for _, group in sorted(together)]

    def drop(self, share: float) -> set[int]:
        """The groups to remove for a share of all channels, 0-1; fewer where the limits demand it."""
        if self._ranking == "local":
            wanted = {family: round(share * len(family.groups)) for family, _ in self._families}
        else:
            first = set(self._together[: round(share * len(self._together))])
            wanted = {family: sum(group in first for group in ordered) for family, ordered in self._families}
        drop = {
            group for family, ordered in self._families for group in ordered[: self._allowed(family, wanted[family])]
        }
        return self._structure.spared(drop, self._scores, self._limits.floor)

    def channels(self, drop: set[int]) -> int:
        """The number of channels that are left of all families."""
        return sum(family.width - self._removed(family, drop) for family, _ in self._families)

    def wider(self, drop: set[int]) -> Iterator[tuple[CoupledGroups, set[int]]]:
        """What to remove where one family keeps a step of rounding more, for each that can, the neediest first.

        With a local ranking that is the family of which the least is left, else the one that gets back the channels of
        the highest scores.
        """
        found = []
        for family, ordered in self._families:
            gone = [group for group in ordered if group in drop]
            if not gone:
                continue
            step = 1 if family.single else self._limits.round_to
            left = family.width - self._removed(family, drop)
            more = min((left // step + 1) * step, family.width) - left
            back = gone[-math.ceil(more / family.multiple) :]
            need = left / family.width if self._ranking == "local" else -max(self._even[group] for group in back)
            found.append((need, family.paths, family, drop.difference(back)))
        yield from ((family, less) for _, _, family, less in sorted(found, key=lambda each: each[:2]))

    def narrower(self, drop: set[int]) -> Iterator[tuple[CoupledGroups, set[int]]]:
        """What to remove where one family keeps a step of rounding less, for each that can."""
        for family, ordered in self._families:
            stays = [group for group in ordered if group not in drop]
            removed = self._removed(family, drop)
            step = 1 if family.single else self._limits.round_to
            left = family.width - removed
            fewer = left - (left - 1) // step * step
            gone = stays[: math.ceil(fewer / family.multiple)]
            if removed + len(gone) * family.multiple <= self._allowed(family, len(family.groups)) * family.multiple:
                yield family, self._structure.spared(drop.union(gone), self._scores, self._limits.floor)

    @staticmethod
    def _removed(family: CoupledGroups, drop: set[int]) -> int:
        """The channels of a family that are removed."""
        return sum(group in drop for group in family.groups) * family.multiple

    def _allowed(self, family: CoupledGroups, wanted: int) -> int:
        """How many of `wanted` groups of a family may be removed: its layers keep their floor and a round number."""
        multiple = family.multiple
        stays = family.width - len(family.groups) * multiple  # what cannot be removed in any case
        least = max(math.ceil(self._limits.floor * family.width), 1)
        left = max(stays + (len(family.groups) - wanted) * multiple, least)
        step = 1 if family.single else self._limits.round_to
        rounded = min(max(math.floor(left / step + 0.5), math.ceil(least / step)) * step, family.width)
        return max((family.width - rounded) // multiple, 0)


def chosen_families(structure: DependencyGraph, limits: LayerLimits) -> set[CoupledGroups]:
    """The families of groups that `only` and `skip` leave.

    Raises:
        ModelError: A pattern matches no layer.
    """
    places, between = list(walk(structure.model)), list(operations(structure.model))
    asked = {place.path for place in select(places, limits.only, between=between)}
    left_out = {place.path for pattern in limits.skip for place in matching(places, pattern, "skip", between)}
    return {
        family
        for family in structure.families
        if asked.intersection(family.paths) and not left_out.intersection(family.paths)
    }
