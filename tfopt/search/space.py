"""What a search may try: how dense each layer is, its bits, the values of a kernel, the channels that stay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# Layers with a smaller share of the weights than this are given one density and one precision together.
SMALL = 0.01
OTHERS = "(others)"
# Steps in which densities are told apart: finer ones give the same file size.
_DIGITS = 4


@dataclass(frozen=True)
class Candidate:
    """One way to compress a model.

    Args:
        density: The share of weights that are not zero, in (0, 1], by group of layers.
        bits: 8 or 4, by group of layers.
        clusters: How many distinct values each kernel has; 0 for as many as there are.
        channels: The share of all channels that stay.
    """

    density: Mapping[str, float] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)
    clusters: int = 0
    channels: float = 1.0

    def parameters(self) -> dict[str, Any]:
        """The candidate as the parameters of a trial."""
        own: dict[str, Any] = {f"density {group}": value for group, value in self.density.items()}
        own |= {f"bits {group}": value for group, value in self.bits.items()}
        return own | {"clusters": self.clusters, "channels": self.channels}

    @classmethod
    def read(cls, parameters: Mapping[str, Any]) -> Candidate:
        """The candidate of a trial's parameters; what they leave out stays as it is."""
        return cls(
            {name[8:]: float(value) for name, value in parameters.items() if name.startswith("density ")},
            {name[5:]: int(value) for name, value in parameters.items() if name.startswith("bits ")},
            int(parameters.get("clusters", 0)),
            float(parameters.get("channels", 1.0)),
        )

    def denser(self, factor: float, limits: tuple[float, float]) -> Candidate:
        """The same with all densities multiplied, between two limits."""
        return Candidate(
            {
                group: round(min(max(value * factor, limits[0]), limits[1]), _DIGITS)
                for group, value in self.density.items()
            },
            self.bits,
            self.clusters,
            self.channels,
        )


@dataclass(frozen=True)
class Space:
    """The candidates of a model.

    Args:
        groups: The paths of the layers of each group; a layer with many weights is one of its own.
        four: The groups that can have 4 bits.
        density: The least and the largest share of weights that stay; None where none are pruned.
        bits: The precisions to try.
        clusters: The numbers of distinct values to try, 0 for any number.
        channels: The shares of channels to try.
    """

    groups: Mapping[str, tuple[str, ...]]
    four: frozenset[str]
    density: tuple[float, float] | None
    bits: tuple[int, ...]
    clusters: tuple[int, ...]
    channels: tuple[float, ...]

    def distributions(self) -> dict[str, BaseDistribution]:
        """The parameters as Optuna takes them; one that has a single value is left out."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        found: dict[str, BaseDistribution] = {}
        if self.density is not None and self.density[0] < self.density[1]:
            low, high = self.density
            found |= {f"density {group}": FloatDistribution(low, high, log=True) for group in self.groups}
        if len(self.bits) > 1:
            found |= {
                f"bits {group}": CategoricalDistribution(self.bits) for group in self.groups if group in self.four
            }
        if len(self.clusters) > 1:
            found["clusters"] = CategoricalDistribution(self.clusters)
        if len(self.channels) > 1:
            found["channels"] = FloatDistribution(min(self.channels), max(self.channels), step=STEP)
        return found

    def candidate(self, parameters: Mapping[str, Any]) -> Candidate:
        """The candidate of some parameters; what they leave out has its one value."""
        whole = dict(parameters)
        if self.density is not None:
            for group in self.groups:
                whole.setdefault(f"density {group}", self.density[1])
                whole[f"density {group}"] = round(whole[f"density {group}"], _DIGITS)
        for group in self.four:
            whole.setdefault(f"bits {group}", self.bits[0])
        whole.setdefault("clusters", self.clusters[0])
        whole.setdefault("channels", self.channels[-1])
        whole["channels"] = round(whole["channels"], _DIGITS)
        return Candidate.read(whole)

    def tried(self, candidate: Candidate) -> dict[str, Any]:
        """The parameters of a candidate that the search varies."""
        own = candidate.parameters()
        return {name: own[name] for name in self.distributions()}

    def by_layer(self, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """A value by group as one by layer path."""
        for group, value in values.items():
            for path in self.groups[group]:
                yield path, value


# Shares of channels are told apart by this.
STEP = 0.05


def grouped(weights: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """The layers of a model in groups: those with few weights together, every other one alone.

    Args:
        weights: How many each layer has, by path.
    """
    total = sum(weights.values())
    small = tuple(path for path, count in weights.items() if count < SMALL * total)
    groups: dict[str, tuple[str, ...]] = {path: (path,) for path in weights if path not in small}
    if small:
        groups[OTHERS if len(small) > 1 else small[0]] = small
    return groups


def shares(low: float, high: float) -> tuple[float, ...]:
    """The shares of channels between two, a step apart, the largest last."""
    count = math.floor((high - low) / STEP + 1e-9)
    return tuple(sorted({round(high - STEP * number, _DIGITS) for number in range(count + 1)}))
