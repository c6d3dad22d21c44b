"""Pruning sensitivity: the metric with one layer pruned at each sparsity, and the cheapest sparsities for a target.

References:
    Han et al., Learning both weights and connections for efficient neural networks, arXiv:1506.02626 (sensitivity scan
    by layer).
    Fox, Discrete optimization via marginal analysis, Management Science 13 (1966).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from tfopt.data.splits import Split
from tfopt.errors import InputError
from tfopt.metrics import METRICS, Metric, Outputs, score_split
from tfopt.models import signature
from tfopt.models.layers import Kernel
from tfopt.sparsity.incremental_forward import IncrementalForward
from tfopt.sparsity.magnitude import magnitude_mask
from tfopt.sparsity.selection import choose_kernels

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)


@dataclass(frozen=True)
class Curve:
    """The score of a model with one layer pruned, all others as they are.

    Args:
        layer: The layer's path.
        kernels: The attributes of the kernels that were pruned, each to the same sparsity.
        weights: Number of weights in these kernels.
        sparsities: The fractions of zeros that were tried, 0-1, ascending.
        scores: The metric at each sparsity, without any training.
        baseline: The metric of the unpruned model.
        cached: Whether only the ops from the layer on were rerun, rather than the whole model.
    """

    layer: str
    kernels: tuple[str, ...]
    weights: int
    sparsities: tuple[float, ...]
    scores: tuple[float, ...]
    baseline: float
    cached: bool


@dataclass(frozen=True)
class _Segment:
    """A stretch of a layer's curve along which each weight costs the same."""

    slope: float
    layer: str
    weights: int
    start: float
    end: float


def measure(
    model: keras.Model,
    split: Split,
    metric: Metric,
    kernels: Sequence[Kernel] | None = None,
    sparsities: Sequence[float] = SPARSITIES,
    part: Callable[[float], None] = lambda done: None,
) -> list[Curve]:
    """Measures the curve of every layer by magnitude pruning without training; weights are restored afterwards.

    Args:
        model: A built model.
        split: Labelled samples; all of them are scored.
        metric: The metric to score.
        kernels: The kernels to prune; those of `choose_kernels` with its defaults if not given.
        sparsities: Sparsities to try, 0-1, ascending.
        part: Called with the finished fraction, 0-1.

    Raises:
        InputError: Invalid sparsities, or a metric that cannot be computed from the outputs.
        ModelError: The model has nothing to prune.
    """
    grid = tuple(float(sparsity) for sparsity in sparsities)
    if not grid or any(a >= b for a, b in itertools.pairwise((0.0, *grid, 1.0))):
        raise InputError(f"sparsities lie between 0 and 1 and ascend. Received: {sparsities!r}.")
    layers: dict[str, list[Kernel]] = {}
    for kernel in choose_kernels(model)[0] if kernels is None else kernels:
        layers.setdefault(kernel.place.path, []).append(kernel)
    steps = itertools.count(1)

    def scored(outputs: Outputs) -> float:
        part(next(steps) / (len(layers) * len(grid) + 1))
        return _score(metric, split, outputs)

    def whole() -> float:
        return scored(signature.keras_outputs(model, split.x))

    frontier = IncrementalForward.of(model, split.x)
    scores = {} if frontier is None else _from_frontier(frontier, layers, grid, scored)
    cached = set(scores)
    baseline = whole() if frontier is None else scored(frontier.outputs())
    scores |= {path: _scores(own, grid, whole) for path, own in layers.items() if path not in cached}
    return [
        Curve(
            path,
            tuple(kernel.attribute for kernel in own),
            sum(int(np.prod(kernel.variable.shape)) for kernel in own),
            grid,
            scores[path],
            baseline,
            path in cached,
        )
        for path, own in layers.items()
    ]


def _score(metric: Metric, split: Split, outputs: Outputs) -> float:
    try:
        return score_split(metric, split, outputs)
    except ValueError as error:
        raise InputError(
            f"the metric {metric.name} cannot be taken of the model's outputs: {str(error).splitlines()[0]}. Name "
            f"another, or give labels that fit. Metrics: {', '.join(METRICS)}.",
            ("metric",),
        ) from error


def _from_frontier(
    frontier: IncrementalForward,
    layers: Mapping[str, list[Kernel]],
    grid: Sequence[float],
    scored: Callable[[Outputs], float],
) -> dict[str, tuple[float, ...]]:
    """The scores of every layer that an op of the graph reads, and the frontier at the end of the graph."""
    found: dict[str, tuple[float, ...]] = {}
    while not frontier.at_end:
        for path, own in layers.items():
            if path not in found and frontier.reads(kernel.variable for kernel in own):
                found[path] = _scores(own, grid, lambda: scored(frontier.outputs()))
        frontier.advance()
    return found


def _scores(kernels: Sequence[Kernel], grid: Iterable[float], score: Callable[[], float]) -> tuple[float, ...]:
    """A score at each sparsity of these kernels."""
    before = [kernel.variable.numpy().copy() for kernel in kernels]
    found = []
    try:
        for sparsity in grid:
            for kernel, weights in zip(kernels, before, strict=True):
                zero = np.zeros((), weights.dtype)
                kernel.variable.assign(np.where(magnitude_mask(weights, sparsity), weights, zero))
            found.append(score())
    finally:
        for kernel, weights in zip(kernels, before, strict=True):
            kernel.variable.assign(weights)
    return tuple(found)


def check_target(target: float, top: float) -> None:
    """Refuses an overall sparsity that cannot be allocated.

    Args:
        target: The fraction of zeros over all kernels, 0-1.
        top: The largest sparsity of the curves, 0-1.

    Raises:
        InputError: The target is not between 0 and 1, or above `top`.
    """
    if not 0 < target < 1:
        raise InputError(f"a target is a fraction of zeros between 0 and 1. Received: {target:g}.", ("target",))
    if target > top + 1e-9:
        raise InputError(
            f"the curves reach an overall sparsity of {top:g}. Lower the target, or measure higher sparsities. "
            f"Received: {target:g}.",
            ("target",),
        )


def suggest(curves: Sequence[Curve], target: float, metric: Metric) -> dict[str, float]:
    """A sparsity for each layer, so that together they reach `target` at the smallest sum of the layers' losses.

    Of each curve the loss is made to rise only (a score that recovers counts as noise), starting from no loss at no
    sparsity, and replaced by its lower convex hull. On hulls marginal analysis is exact: the weights that cost least
    are taken first, from whatever layer, until the target is reached. Stretches that cost the same, as those without
    any loss do, are filled to an equal sparsity. A layer that ends between two sparsities of its curve is interpolated.

    The sum assumes that losses add up, and ignores that training recovers part of them, more in some layers than in
    others: the result is a starting point.

    Args:
        curves: The curves from `measure`.
        target: The fraction of zeros over the weights of all curves, 0-1.
        metric: The metric that the curves were measured with.

    Returns:
        Sparsities, 0-1, by layer path.

    Raises:
        InputError: The target is not between 0 and 1, or beyond the last sparsity of the curves.
    """
    total = sum(curve.weights for curve in curves)
    check_target(target, sum(curve.weights * curve.sparsities[-1] for curve in curves) / total)
    found = {curve.layer: 0.0 for curve in curves}
    left = target * total
    segments = sorted((s for curve in curves for s in _hull(curve, metric)), key=lambda s: s.slope)
    for _, group in itertools.groupby(segments, key=lambda s: s.slope):
        equals = list(group)
        level = _level(equals, left)
        for s in equals:
            reached = min(max(level, s.start), s.end)
            left -= s.weights * (reached - s.start)
            if reached > s.start:
                found[s.layer] = reached
        if left <= 1e-9 * total:
            break
    return found


def _hull(curve: Curve, metric: Metric) -> list[_Segment]:
    """The lower convex hull of the loss over the sparsity: stretches of rising slope, in loss by weight."""
    losses = np.maximum.accumulate([0.0, *(metric.drop(curve.baseline, score) for score in curve.scores)])
    found: list[tuple[float, float]] = []

    def slope(a: tuple[float, float], b: tuple[float, float]) -> float:
        return (b[1] - a[1]) / ((b[0] - a[0]) * curve.weights)

    for point in zip((0.0, *curve.sparsities), map(float, losses), strict=True):
        while len(found) > 1 and slope(found[-2], found[-1]) >= slope(found[-1], point):
            found.pop()
        found.append(point)
    return [_Segment(slope(a, b), curve.layer, curve.weights, a[0], b[0]) for a, b in itertools.pairwise(found)]


def _level(segments: Sequence[_Segment], zeros: float) -> float:
    """The sparsity up to which segments are filled to hold `zeros` zeros; the highest end if they cannot."""
    bounds = np.unique([bound for s in segments for bound in (s.start, s.end)])
    held = [sum(s.weights * (min(max(bound, s.start), s.end) - s.start) for s in segments) for bound in bounds]
    return float(np.interp(zeros, held, bounds))


def rules(kernels: Sequence[Kernel], suggestion: Mapping[str, float]) -> dict[str, float]:
    """A suggestion as rules by layer pattern, ordered so that the last match of a layer is its own.

    A layer's path is also a pattern that matches layers of that name further down, and a name may be that of a class.

    Args:
        kernels: The kernels that were measured.
        suggestion: Sparsities, 0-1, by layer path.
    """
    places = [kernel.place for kernel in kernels]
    reach = {path: sum(place.matches(path) for place in places) for path in suggestion}
    return {path: suggestion[path] for path in sorted(suggestion, key=lambda path: -reach[path])}
