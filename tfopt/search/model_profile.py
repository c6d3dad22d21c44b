"""The profile of a model before a search: its search space, its cost model and the first candidates."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfopt.data.splits import Split
from tfopt.errors import ModelError
from tfopt.metrics import Metric
from tfopt.quantization import quantizer, sensitivity
from tfopt.quantization.conversion import finish
from tfopt.quantization.preparation import prepare
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.quantization.unrolling import unroll_if_better
from tfopt.recipe.export import Export
from tfopt.recipe.target import TARGETS, Target
from tfopt.search.cost_model import Cost, CostModel
from tfopt.search.device_forecast import THIN, DeviceForecast
from tfopt.search.pareto import Objective
from tfopt.search.sampler import SLACK, scale_to_limits
from tfopt.search.space import Candidate, Space, channel_shares, group_layers
from tfopt.search.thin_file import thinned
from tfopt.sparsity import sensitivity as pruning
from tfopt.sparsity.allocations import ALLOCATIONS
from tfopt.sparsity.magnitude import shared_thresholds
from tfopt.sparsity.selection import choose_kernels
from tfopt.sparsity.structured.dependency_graph import read
from tfopt.sparsity.structured.flops import costs
from tfopt.sparsity.structured.importance import score
from tfopt.sparsity.structured.selection import LayerLimits, RemovalOrder
from tfopt.tflite import benchmark

# Settings of the stage that removes channels, and the channels that LiteRT's kernels compute together.
CHANNELS: dict[str, Any] = {"score": "l2", "ranking": "global"}
LITERT_STEP = 4
# Overall sparsity that the first candidates share out over the layers, and samples to measure sensitivity on.
FIRST_SPARSITY, RANKED_SAMPLES = 0.9, 1000
TIMED_SECONDS = 0.3


@dataclass(frozen=True)
class SearchBounds:
    """The bounds of a search space.

    Args:
        density: Least and largest fraction of weights that stay, 0-1; None for no pruning.
        bits: Precisions of weights, 8 or 4 bits.
        clusters: Numbers of distinct values per kernel; 0 for no clustering.
        channels: Least and largest fraction of channels that stay, 0-1.
        only: Layer patterns of the kernels to prune; empty means all.
        skip: Layer patterns to leave dense.
    """

    density: tuple[float, float] | None
    bits: tuple[int, ...]
    clusters: tuple[int, ...]
    channels: tuple[float, float]
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()


class ModelProfile:
    """The search space, cost model and layer sensitivities of a model.

    Args:
        model: A built model.
        allowed: The bounds of the search space.
        samples: Calibration inputs, `(samples, ...)`, or a dict of such by input name.
        export: Settings of the files; int8 for LiteRT if not given.
    """

    def __init__(self, model: keras.Model, allowed: SearchBounds, samples: Any, export: Export | None = None):
        self._model, self._allowed = model, allowed
        self._export = export or Export(mode="int8")
        self._target: Target = TARGETS[self._export.target]
        self.kernels, left = choose_kernels(model, allowed.only, allowed.skip)
        self.skipped: list[tuple[str, str]] = list(left)
        weights: dict[str, int] = {}
        for kernel in self.kernels:
            size = int(kernel.variable.numpy().size)
            weights[kernel.place.path] = weights.get(kernel.place.path, 0) + size
        groups = group_layers(weights)
        prepared = unroll_if_better(prepare(model, self._export, samples))
        self._prepared: PreparedModel = prepared
        able = _four(prepared, self._target) if 4 in allowed.bits else set()
        four = frozenset(name for name, paths in groups.items() if all(path in able for path in paths))
        if 4 in allowed.bits:
            plain = [path for name, paths in groups.items() if name not in four for path in paths]
            whose = "the quantizer" if self._target.name == "litert" else f"the quantizer or {self._target.name}"
            self.skipped += [(path, f"stays at 8 bits: {whose} has no int4 form of it") for path in plain]
        channels = self._channels()
        patterns = _patterns(self._target, allowed.density)
        self.space = Space(groups, four, allowed.density, allowed.bits, allowed.clusters, channels, patterns)
        self.base, self.content = self._measured()
        kernels: dict[str, list[Any]] = {}
        for kernel in self.kernels:
            kernels.setdefault(kernel.place.path, []).append(kernel.variable.numpy())
        self.forecast = CostModel(self.space, kernels, self.base, self._cut, self._device())

    @property
    def channels(self) -> dict[str, Any]:
        """Settings of the stage that removes channels."""
        step = LITERT_STEP if self._target.name == "litert" else self._target.channel_step
        return {**CHANNELS, "round_to": step}

    def _device(self) -> DeviceForecast:
        """What the target measures of the model's own file, and of the same file with most weights zero."""
        figures, coding = self.base.device, self._target.coding(self._export)
        if self._target.cost is None or coding is None:
            return DeviceForecast(self._target.figures, None, figures)
        thin = self._target.costs(thinned(self.content, THIN), self._export).figures
        return DeviceForecast(self._target.figures, coding, figures, {**figures, **thin})

    def _channels(self) -> tuple[float, ...]:
        """The fractions of channels to try; only 1.0 where no channel can be removed."""
        low, high = self._allowed.channels
        if low >= 1:
            return (1.0,)
        try:
            self._structure = read(self._model)
            limits = LayerLimits(self.channels["round_to"], floor=0.1)
            self._choice = RemovalOrder(self._structure, score(self._structure, CHANNELS["score"]), "global", limits)
        except ModelError as error:
            self.skipped.append(("(channels)", str(error)))
            return (1.0,)
        return channel_shares(low, high)

    def _cut(self, share: float) -> tuple[Mapping[str, float], float]:
        whole = costs(self._structure)
        left = costs(self._structure, self._structure.left(self._choice.drop(1 - share)))
        ratios = {a.path: b.parameters / max(a.parameters, 1) for a, b in zip(whole, left, strict=True)}
        channel_shares = {}
        for kernel in self.kernels:
            path = kernel.place.path
            own = next((ratios[p] for p in _above(path) if p in ratios), 1.0)
            channel_shares[path] = own
        return channel_shares, sum(c.flops for c in left) / max(sum(c.flops for c in whole), 1)

    def _measured(self) -> tuple[Cost, bytes]:
        made = finish(self._prepared.judged("metric"), self._prepared.quantized())
        content = made.content
        device = on_device(content, self._export, made.figures)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.tflite"
            file.write_bytes(content)
            shapes = {name: array.shape[1:] for name, array in self._prepared.samples.items()}
            return cost_of(file, shapes, device=device), content

    def thinnest(self) -> Candidate:
        """The candidate of the smallest estimated size, on the target where it has one of its own, else after gzip."""
        space = self.space
        density = dict.fromkeys(space.groups, space.density[0]) if space.density else {}
        bits = dict.fromkeys(space.four, min(space.bits))
        forms = [Candidate(density, bits, clusters, space.channels[0]) for clusters in space.clusters]
        size = self._target.size if self._target.size in self.base.device else "gzip_bytes"
        return min(forms, key=lambda candidate: self.forecast(candidate).figure(size))

    def seeds(self, split: Split, metric: Metric, objective: Objective) -> list[Candidate]:
        """The first candidates, fitted to the limits: densities by LAMP, and by the sensitivity of each layer alone.

        Args:
            split: Samples on which sensitivity is measured.
            metric: The metric whose drop is the sensitivity.
            objective: The goal and the limits.
        """
        space = self.space
        four = self._ranked_bits()
        half = set(four[: (len(four) + 1) // 2])
        eight = dict.fromkeys(space.four, space.bits[0])
        narrow, mixed = eight, eight
        if len(space.bits) > 1:
            narrow = dict.fromkeys(space.four, 4)
            mixed = {group: 4 if group in half else 8 for group in space.four}
        shared = [count for count in space.clusters if count]
        few = shared[len(shared) // 2] if shared else space.clusters[0]
        plain, whole, some = space.clusters[0], space.channels[-1], space.channels[len(space.channels) // 2]
        lamp, alone = self._lamp(objective, eight), self._ranked_density(split, metric)
        firsts = [(lamp, eight, few, whole), (lamp, narrow, plain, whole), (alone, eight, few, whole)]
        firsts += [(lamp, eight, few, some), (lamp, mixed, few, whole), (alone, narrow, plain, some)]
        limited = bool(set(objective.limits) - {"max_drop"})
        found: list[Candidate] = []
        for number, (density, bits, clusters, channels) in enumerate(firsts):
            asked = Candidate(density, bits, clusters, channels)
            form: Candidate | None = asked
            if limited:
                form = scale_to_limits(
                    asked, space.density or (1.0, 1.0), lambda c: objective.fits(self.forecast(c), SLACK)
                )
            elif space.density is not None:
                form = asked.denser(0.5 ** (number // 2 - 1), space.density)
            if form is not None and form not in found:
                found.append(form)
        for pattern in space.patterns[:1]:
            form = space.candidate({"pattern": pattern, "clusters": few})
            if objective.fits(self.forecast(form), SLACK):
                found.insert(2, form)
        return found

    def _lamp(self, objective: Objective, bits: Mapping[str, int]) -> dict[str, float]:
        """Densities by LAMP, at the least overall sparsity that fits the limits, or at 90% without limits."""
        space = self.space
        if space.density is None:
            return {}
        low, high = (0.5, 0.998) if set(objective.limits) - {"max_drop"} else (FIRST_SPARSITY, FIRST_SPARSITY)
        found = self._lamp_at(high)
        for _ in range(8 if low < high else 0):
            middle = 1 - float(np.sqrt((1 - low) * (1 - high)))
            density = self._lamp_at(middle)
            if objective.fits(self.forecast(Candidate(density, bits, space.clusters[0], 1.0)), SLACK):
                found, high = density, middle
            else:
                low = middle
        return found

    def _lamp_at(self, sparsity: float) -> dict[str, float]:
        weights = [np.abs(kernel.variable.numpy()) for kernel in self.kernels]
        least = shared_thresholds(weights, sparsity, ALLOCATIONS["lamp"])
        kept, total = dict.fromkeys(self.space.groups, 0), dict.fromkeys(self.space.groups, 0)
        group_of = {path: group for group, paths in self.space.groups.items() for path in paths}
        for kernel, own, threshold in zip(self.kernels, weights, least, strict=True):
            group = group_of[kernel.place.path]
            kept[group] += int((own >= threshold).sum())
            total[group] += own.size
        low, high = self.space.density or (1.0, 1.0)
        return {group: min(max(kept[group] / total[group], low), high) for group in kept}

    def _ranked_bits(self) -> list[str]:
        """The groups that can have 4 bits, by ascending error per byte saved."""
        if not self.space.four:
            return []
        cost: dict[str, float] = {}
        for found in sensitivity.measure(self._prepared, ("int4",)):
            for group, paths in self.space.groups.items():
                if group in self.space.four and found.group.name in paths:
                    cost[group] = cost.get(group, 0.0) + found.error_per_byte
        return sorted(cost, key=lambda group: cost[group])

    def _ranked_density(self, split: Split, metric: Metric) -> dict[str, float]:
        """Densities of 90% overall sparsity at the least loss, by the sensitivity of each layer alone."""
        space = self.space
        if space.density is None:
            return {}
        curves = pruning.measure(self._model, split, metric, self.kernels)
        suggestion = pruning.suggest(curves, FIRST_SPARSITY, metric)
        weights = {curve.layer: curve.weights for curve in curves}
        found = {}
        for group, paths in space.groups.items():
            total = sum(weights[path] for path in paths)
            sparsity = sum(weights[path] * suggestion[path] for path in paths) / total
            found[group] = min(max(1 - sparsity, space.density[0]), space.density[1])
        return found


def on_device(content: bytes, export: Export, measured: Mapping[str, float]) -> dict[str, float]:
    """What the target says that a file costs there, by name.

    Args:
        content: Bytes of the file.
        export: The settings that it was made with.
        measured: Figures that were measured while it was made.
    """
    target = TARGETS[export.target]
    told = target.costs(content, export).figures if target.cost is not None else {}
    return {name: value for name, value in {**measured, **told}.items() if name in target.figures}


def cost_of(
    file: Path,
    shapes: Mapping[str, Sequence[int]],
    seconds: float = TIMED_SECONDS,
    device: Mapping[str, float] | None = None,
) -> Cost:
    """Measures the cost of a `.tflite` file; it is timed in a process of its own.

    Args:
        file: The file.
        shapes: Input shapes by name, without the batch.
        seconds: How long it is timed.
        device: What its target measured of it, by name.
    """
    found = benchmark.measure(file, 1, seconds, shapes)
    median, slow = (1000 * found[f"latency_{name}_seconds"] for name in ("median", "p90"))
    return Cost(found["raw_bytes"], found["gzip_bytes"], median, slow - median, dict(device or {}))


def _patterns(target: Target, density: tuple[float, float] | None) -> tuple[str, ...]:
    """The patterns of n of m weights that a target computes faster, of a density that is allowed."""
    if density is None:
        return ()
    return tuple(f"{n}:{m}" for n, m in target.patterns if density[0] <= n / m <= density[1])


def _four(prepared: PreparedModel, target: Target) -> set[str]:
    """The paths of the layers whose ops all have an int4 form that the target runs."""
    source = prepared.source
    found = set()
    for group in sensitivity.groups(source):
        kernels = [i for i in group.ops if source.ops[i].kernels]
        ops = [source.ops[i] for i in kernels]
        if ops and all(quantizer.supports(op, "int8", "int4") and target.runs_op(op.name, "int4") for op in ops):
            found.add(group.name)
    return found


def _above(path: str) -> list[str]:
    """A layer's path and those of the layers around it, the innermost first."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]
