"""The search space: the density and bits of each layer, the distinct values of a kernel, the channels that stay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# Layers with a smaller fraction of the weights than this share one density and one precision.
SMALL = 0.01
OTHERS = "(others)"
# Decimals of densities and fractions of channels: finer steps give the same file size.
DIGITS = 4


@dataclass(frozen=True)
class Candidate:
    """One way to compress a model.

    Args:
        density: Fraction of weights that are not zero, in (0, 1], by group of layers.
        bits: Precision of weights, 8 or 4 bits, by group of layers.
        clusters: Number of distinct values per kernel; 0 for no clustering.
        channels: Fraction of all channels that stay, in (0, 1].
        pattern: `n:m` where n of every m weights in a row stay in every layer; empty for single weights.
    """

    density: Mapping[str, float] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)
    clusters: int = 0
    channels: float = 1.0
    pattern: str = ""

    @property
    def keep(self) -> tuple[int, int] | None:
        """The n of every m weights in a row that stay; None for single weights."""
        kept, _, of = self.pattern.partition(":")
        return (int(kept), int(of)) if of else None

    def parameters(self) -> dict[str, Any]:
        """The candidate as the parameters of a trial, by name."""
        own: dict[str, Any] = {f"density {group}": value for group, value in self.density.items()}
        own |= {f"bits {group}": value for group, value in self.bits.items()}
        return own | {"clusters": self.clusters, "channels": self.channels, "pattern": self.pattern}

    @classmethod
    def read(cls, parameters: Mapping[str, Any]) -> Candidate:
        """The candidate of a trial's parameters; what they leave out stays as it is."""
        return cls(
            {name[8:]: float(value) for name, value in parameters.items() if name.startswith("density ")},
            {name[5:]: int(value) for name, value in parameters.items() if name.startswith("bits ")},
            int(parameters.get("clusters", 0)),
            float(parameters.get("channels", 1.0)),
            str(parameters.get("pattern", "")),
        )

    def denser(self, factor: float, limits: tuple[float, float]) -> Candidate:
        """The candidate with all densities multiplied by `factor` and clipped to `limits`; a pattern has but one."""
        if self.pattern:
            return self
        return Candidate(
            {
                group: round(min(max(value * factor, limits[0]), limits[1]), DIGITS)
                for group, value in self.density.items()
            },
            self.bits,
            self.clusters,
            self.channels,
        )


@dataclass(frozen=True)
class Space:
    """The search space of a model.

    Args:
        groups: Layer paths by group; a layer with many weights is a group of its own.
        four: The groups that can have 4 bits.
        density: Least and largest density of a group, 0-1; None for no pruning.
        bits: Precisions of weights to try, 8 or 4 bits.
        clusters: Numbers of distinct values per kernel to try; 0 for no clustering.
        channels: Fractions of channels to try, ascending.
        patterns: Patterns to try besides single weights, such as `2:4`.
    """

    groups: Mapping[str, tuple[str, ...]]
    four: frozenset[str]
    density: tuple[float, float] | None
    bits: tuple[int, ...]
    clusters: tuple[int, ...]
    channels: tuple[float, ...]
    patterns: tuple[str, ...] = ()

    def distributions(self) -> dict[str, BaseDistribution]:
        """The varied parameters as Optuna's distributions, by name; those of a single value are left out."""
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
        if self.patterns:
            found["pattern"] = CategoricalDistribution(("", *self.patterns))
        return found

    def candidate(self, parameters: Mapping[str, Any]) -> Candidate:
        """The candidate of sampled parameters; what they leave out has its one value."""
        whole = dict(parameters)
        if self.density is not None:
            for group in self.groups:
                whole.setdefault(f"density {group}", self.density[1])
                whole[f"density {group}"] = round(whole[f"density {group}"], DIGITS)
        for group in self.four:
            whole.setdefault(f"bits {group}", self.bits[0])
        whole.setdefault("clusters", self.clusters[0])
        whole.setdefault("channels", self.channels[-1])
        whole["channels"] = round(whole["channels"], DIGITS)
        found = Candidate.read(whole)
        if found.keep:  # every layer has the pattern's own density
            share = round(found.keep[0] / found.keep[1], DIGITS)
            found = replace(found, density=dict.fromkeys(found.density, share))
        return found

    def tried(self, candidate: Candidate) -> dict[str, Any]:
        """The parameters of a candidate that the search varies, by name."""
        own = candidate.parameters()
        return {name: own[name] for name in self.distributions()}

    def by_layer(self, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Values by group as pairs of layer path and value."""
        for group, value in values.items():
            for path in self.groups[group]:
                yield path, value


# Step between fractions of channels.
STEP = 0.05


def group_layers(weights: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """The layer paths of a model by group: those with few weights together, every other one alone.

    Args:
        weights: Number of weights by layer path.
    """
    total = sum(weights.values())
    small = tuple(path for path, count in weights.items() if count < SMALL * total)
    groups: dict[str, tuple[str, ...]] = {path: (path,) for path in weights if path not in small}
    if small:
        groups[OTHERS if len(small) > 1 else small[0]] = small
    return groups


def channel_shares(low: float, high: float) -> tuple[float, ...]:
    """Fractions of channels from `low` to `high`, `STEP` apart, ascending."""
    count = math.floor((high - low) / STEP + 1e-9)
    return tuple(sorted({round(high - STEP * number, DIGITS) for number in range(count + 1)}))
