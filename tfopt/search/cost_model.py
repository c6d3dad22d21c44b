"""The cost model of a search: the size and latency of a candidate's file, estimated without training it.

The weights of the original model are pruned, clustered and rounded as the candidate says, and compressed; training
moves the weights, so the costs of finished files correct the estimates. Latency is scaled by the number of operations;
what a target measures is estimated by `device_forecast`.
"""

from __future__ import annotations

import statistics
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfopt.search.device_forecast import THIN, DeviceForecast
from tfopt.search.space import Candidate, Space

# Weights of a kernel that are compressed for an estimate; the rest of a larger kernel compresses alike.
SAMPLE = 65_536


@dataclass(frozen=True)
class Cost:
    """The size and latency of a file, measured or estimated.

    Args:
        raw_bytes: Size of the file in bytes.
        gzip_bytes: Size after gzip -9 in bytes.
        milliseconds: Median latency on LiteRT in milliseconds.
        spread: How much longer the slowest tenth of the runs took at least, in milliseconds: the 90th percentile less
            the median; 0 where it was not measured.
        device: What the target measures, by name, such as `npu_milliseconds`.
    """

    raw_bytes: float
    gzip_bytes: float
    milliseconds: float
    spread: float = 0.0
    device: Mapping[str, float] = field(default_factory=dict)

    def figure(self, name: str) -> float:
        """A figure by its name, such as `gzip_bytes`, or one of the target's."""
        return self.device[name] if name in self.device else getattr(self, name)

    def times(self, factors: Cost) -> Cost:
        """The cost with each figure multiplied by that of another; those that the other lacks stay."""
        own = {name: value * factors.device.get(name, 1.0) for name, value in self.device.items()}
        return Cost(**{name: getattr(self, name) * getattr(factors, name) for name in _FIGURES}, device=own)

    def over(self, other: Cost) -> Cost:
        """Each figure over that of another."""
        own = {n: value / max(other.device[n], 1e-9) for n, value in self.device.items() if n in other.device}
        return Cost(**{n: getattr(self, n) / max(getattr(other, n), 1e-9) for n in _FIGURES}, device=own)

    def __str__(self) -> str:
        """The figures in words; on a target those that it measures."""
        if self.device:
            return ", ".join(f"{name} {value:,.6g}" for name, value in self.device.items())
        return f"{self.raw_bytes:,.0f} B, {self.gzip_bytes:,.0f} B gzip, {self.milliseconds:.3g} ms"


_FIGURES = ("raw_bytes", "gzip_bytes", "milliseconds")
_ANY = "any"
_NO_DEVICE = DeviceForecast()


def _kind(candidate: Candidate) -> str:
    """Candidates of one kind err alike: trained clusters compress better than estimated, int4 worse."""
    return repr((bool(candidate.clusters), candidate.channels < 1, 4 in candidate.bits.values(), candidate.pattern))


class CostModel:
    """Estimates the cost of candidates.

    Args:
        space: The search space.
        kernels: The kernels of each layer by path, each `(..., output channels)`.
        base: Cost of the original model in int8.
        cut: Maps a fraction of channels to the fractions, 0-1, of each layer's weights, by path, and of all operations
            that stay.
        device: What the target measures of the original model's file, and what zeros change about it.
    """

    def __init__(
        self,
        space: Space,
        kernels: Mapping[str, Sequence[np.ndarray]],
        base: Cost,
        cut: Callable[[float], tuple[Mapping[str, float], float]],
        device: DeviceForecast = _NO_DEVICE,
    ):
        self._space, self._base, self._cut, self._device = space, base, cut, device
        self._kernels = {path: [_Rows.of(kernel) for kernel in own] for path, own in kernels.items()}
        self._weights = {path: sum(kernel.size for kernel in own) for path, own in kernels.items()}
        self._known: dict[tuple[Any, ...], float] = {}
        self._cuts: dict[float, tuple[Mapping[str, float], float]] = {}
        self._rest_gzip = base.gzip_bytes - sum(self._packed(path, 1.0, 8, 0) for path in self._kernels)
        self._whole, self._thin = (self._stored_evenly(density) for density in (1.0, THIN))
        self._factors: dict[str, Cost] = {}

    def learn(self, made: Iterable[tuple[Candidate, Cost]]) -> None:
        """Corrects the estimates by finished files: the median ratio of measured to estimated cost, kind by kind."""
        self._factors = {}
        ratios: dict[str, list[Cost]] = {}
        for candidate, cost in made:
            for kind in (_ANY, _kind(candidate)):
                ratios.setdefault(kind, []).append(self.ratio(candidate, cost))
        for kind, own in ratios.items():
            names = own[0].device
            device = {name: statistics.median(r.device[name] for r in own if name in r.device) for name in names}
            files = {name: statistics.median(getattr(r, name) for r in own) for name in _FIGURES}
            self._factors[kind] = Cost(**files, device=device)

    def ratio(self, candidate: Candidate, cost: Cost) -> Cost:
        """Measured over estimated cost of a candidate, figure by figure."""
        return cost.over(self(candidate))

    def __call__(self, candidate: Candidate) -> Cost:
        """The estimated cost of a candidate."""
        shares, operations = self._left(candidate.channels)
        density, bits = dict(self._space.by_layer(candidate.density)), dict(self._space.by_layer(candidate.bits))
        raw, packed, stored = self._base.raw_bytes, self._rest_gzip, 0.0
        for path, weights in self._weights.items():
            share, width = shares.get(path, 1.0), bits.get(path, 8)
            raw -= weights * (1 - share * width / 8)
            form = (path, density.get(path, 1.0), width, candidate.clusters)
            packed += share * self._packed(*form)
            stored += share * self._stored(*form)
        device = self._device(stored, self._whole, self._thin, operations, candidate.channels)
        factors = self._factors.get(_kind(candidate)) or self._factors.get(_ANY) or Cost(1.0, 1.0, 1.0)
        return Cost(raw, packed, self._base.milliseconds * operations, device=device).times(factors)

    def _left(self, channels: float) -> tuple[Mapping[str, float], float]:
        if channels >= 1:
            return {}, 1.0
        if channels not in self._cuts:
            self._cuts[channels] = self._cut(channels)
        return self._cuts[channels]

    def _packed(self, path: str, density: float, bits: int, clusters: int) -> float:
        """Estimated bytes of a layer's kernels after gzip."""
        key = ("gzip", path, density, bits, clusters)
        if key not in self._known:
            self._known[key] = sum(rows.packed(density, bits, clusters) for rows in self._kernels[path])
        return self._known[key]

    def _stored(self, path: str, density: float, bits: int, clusters: int) -> float:
        """Estimated bytes of a layer's kernels as the target stores them."""
        if self._device.coding is None or bits != 8:
            return self._weights[path] * bits / 8
        key = ("device", path, density, bits, clusters)
        if key not in self._known:
            codes = ((rows.codes(density, bits, clusters), rows.share) for rows in self._kernels[path])
            self._known[key] = sum(self._device.coding(own) / share for own, share in codes)
        return self._known[key]

    def _stored_evenly(self, density: float) -> float:
        """Estimated bytes of all kernels as the target stores them, each at one density."""
        return sum(self._stored(path, density, 8, 0) for path in self._kernels) if self._device.whole else 0.0


@dataclass(frozen=True)
class _Rows:
    """A sample of a kernel's weights in the order in which a file has them, output channel by output channel.

    Args:
        values: `(n,)` float32, -1 to 1: the weights over the largest absolute weight of their channel.
        magnitudes: `(n,)` float32: the absolute weights in ascending order.
        weights: `(n,)` float32.
        share: Fraction of the kernel that is sampled, 0-1.
    """

    values: np.ndarray
    magnitudes: np.ndarray
    weights: np.ndarray
    share: float

    @classmethod
    def of(cls, kernel: np.ndarray) -> _Rows:
        rows = np.moveaxis(kernel.astype(np.float32), -1, 0).reshape(kernel.shape[-1], -1)
        largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12)
        weights = rows.ravel()[:SAMPLE]
        values = (rows / largest).ravel()[:SAMPLE]
        return cls(values, np.sort(np.abs(weights)), weights, len(values) / rows.size)

    def codes(self, density: float, bits: int, clusters: int) -> np.ndarray:
        """The sampled weights as integers, `(n,)` int8: of a grid, or the numbers of clusters; pruned ones are 0."""
        count = len(self.weights)
        kept = max(round(density * count), 1)
        stays = np.abs(self.weights) >= self.magnitudes[count - kept]
        steps = self.values * (127 if bits == 8 else 7)
        codes = np.rint(steps).astype(np.int8)
        if clusters:
            own = np.sort(self.weights[stays])
            edges = own[(np.arange(1, clusters) * len(own)) // clusters]
            codes = (np.searchsorted(edges, self.weights) + 1).astype(np.int8)
        return np.where(stays, codes, 0).astype(np.int8)

    def packed(self, density: float, bits: int, clusters: int) -> float:
        """Estimated size of the whole kernel after gzip, in bytes."""
        codes = self.codes(density, bits, clusters)
        if bits == 4:
            codes = codes if len(codes) % 2 == 0 else np.append(codes, np.int8(0))
            codes = ((codes[::2] & 15) | ((codes[1::2] & 15) << 4)).astype(np.int8)
        return len(zlib.compress(codes.tobytes(), 9)) / self.share
