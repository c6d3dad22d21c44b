"""Removal of channels and units from a Keras 3 model.

Coupled channels are removed together: those of layers joined by a residual sum, of a depthwise convolution and its
input, of an attention's heads in all its projections. Outputs of the model stay, and so do all channels that an unknown
layer touches. The smaller model computes what the model would if nothing read the removed channels, except behind a
LayerNormalization or GroupNormalization, whose statistics are then of fewer channels.

References:
    Fang et al., DepGraph: towards any structural pruning, arXiv:2301.12900.
    Li et al., Pruning filters for efficient ConvNets, arXiv:1608.08710.
    He, Zhang and Sun, Channel pruning for accelerating very deep neural networks, arXiv:1707.06168 (compensate).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfopt.errors import InputError, TfoptWarning
from tfopt.keras_private import all_layers
from tfopt.models.layers import walk
from tfopt.models.left_alone import has_kernel, warn_of
from tfopt.recipe.export import Export
from tfopt.recipe.target import TARGETS
from tfopt.sparsity.structured.budget import Budget, BudgetFit, Unit, fit
from tfopt.sparsity.structured.compensation import compensated
from tfopt.sparsity.structured.dependency_graph import read
from tfopt.sparsity.structured.flops import LayerCost, costs
from tfopt.sparsity.structured.importance import score as score_of
from tfopt.sparsity.structured.selection import ASKED, LayerLimits, Ranking, RemovalOrder
from tfopt.sparsity.structured.surgery import cut

__all__ = ["LayerChange", "Removal", "remove"]

FIGURES = ("channels", "parameters", "flops")


@dataclass(frozen=True)
class LayerChange:
    """The cost of one layer before and after a removal.

    Args:
        path: Path of the layer.
        kind: Class name of the layer.
        before: Cost before the removal.
        after: Cost after the removal.
    """

    path: str
    kind: str
    before: LayerCost
    after: LayerCost


@dataclass(frozen=True)
class Removal:
    """The result of removing channels: a smaller model.

    Args:
        model: An ordinary Keras model of the same layer classes and names.
        layers: Change of each layer with weights, in the order in which they run.
        skipped: Layers left alone, with the reason: those that tfopt cannot cut, and those left out by settings.
        fit: How near it comes to its budget; None for a removal without one.
    """

    model: keras.Model
    layers: tuple[LayerChange, ...]
    skipped: tuple[tuple[str, str], ...]
    fit: BudgetFit | None = None

    def total(self, what: str) -> tuple[int, int]:
        """`parameters` or `flops` of all layers, before and after."""
        before = sum(getattr(change.before, what) for change in self.layers)
        return before, sum(getattr(change.after, what) for change in self.layers)

    def __str__(self) -> str:
        """A line for each layer: channels, parameters and FLOPs, before and after; and one on what is left in all."""
        rows = [(row["path"], *(_change(*row[what]) for what in FIGURES)) for row in as_rows(self.layers)]
        rows = [("layer", *FIGURES), *rows, ("all", "", *(_change(*self.total(what)) for what in FIGURES[1:]))]
        name, *figures = (max(map(len, column)) for column in zip(*rows, strict=True))
        lines = [
            "  ".join([path.ljust(name), *(cell.rjust(width) for cell, width in zip(cells, figures, strict=True))])
            for path, *cells in rows
        ]
        return "\n".join([*lines, str(self.fit)] if self.fit and self.fit.budget.unit != "channels" else lines)


def remove(
    model: keras.Model,
    keep: float = 0.5,
    unit: Unit = "channels",
    *,
    score: str = "l2",
    ranking: Ranking = "local",
    round_to: int | None = None,
    floor: float = 0.1,
    only: str | Sequence[str] = (),
    skip: str | Sequence[str] = (),
    x: Any = None,
    y: Any = None,
    loss: Any = None,
    seed: int = 0,
    target: str = "litert",
    compensate: bool = False,
) -> Removal:
    """Removes the channels and units of least importance, and all that is coupled to them.

    The model handed in stays as it is; the smaller one is to be trained on. The module's docstring has the papers.

    Args:
        model: A built functional or Sequential model.
        keep: Amount to keep: a fraction below 1, or a number of `unit`; of milliseconds always a number.
        unit: `channels`, `parameters`, `flops`, `bytes` of the int8 file, its `milliseconds` on LiteRT, or what its
            target measures, such as `npu_milliseconds`.
        score: Importance score: `l1`, `l2`, `activity`, `batchnorm`, `taylor`, `random`, or another entry of
            `tfopt.sparsity.structured.importance.SCORES`.
        ranking: `local`: the same share of every layer. `global`: all channels ranked together.
        round_to: The channels of a layer are a multiple of this; by default of as many as the target computes at once.
        floor: Least fraction of its channels that a layer keeps, in (0, 1].
        only: Layer patterns; empty means every layer. Channels coupled to those of a chosen layer are removed too.
        skip: Layer patterns to leave alone, with all channels coupled to them.
        x: Samples, `(samples, ...)` or a dict of them by input name, for activity, taylor and budgets of the int8 file.
        y: Labels `(samples, ...)`, for taylor.
        loss: A Keras loss, for taylor; the one that the model is compiled with if not given.
        seed: Seed of the score random.
        target: The target, such as `ethos-u55-128`, for units that it measures.
        compensate: Let the layers that read removed channels make up for them, by least squares on the samples `x`.

    Warns:
        TfoptWarning: The model has no more than `keep`, or a layer with a kernel cannot be cut; `skipped` lists those.

    Raises:
        InputError: A setting out of its range, or samples are missing.
        ModelError: The model has no graph, a pattern matches no layer, nothing is left to remove, or the smallest model
            that the limits allow does not fit.

    Example:
        ```python
        smaller = tfopt.sparsity.remove(model, 0.5, "flops", score="taylor", x=x[:500], y=y[:500]).model
        ```
    """
    export = Export(mode="int8", target=target)
    step = TARGETS[export.target].channel_step if round_to is None else round_to
    limits = LayerLimits(step, floor, _patterns(only), _patterns(skip))
    removal = remove_to(model, Budget(keep, unit, export), score, ranking, limits, x, y, loss, seed, compensate)
    _warn_of_what_stays(model, removal)
    return removal


def _warn_of_what_stays(model: keras.Model, removal: Removal) -> None:
    """Warns, where `remove` is called, of a budget that asks for nothing and of layers that cannot be cut."""
    if removal.fit is not None and not removal.fit.drop:
        warnings.warn(str(removal.fit), TfoptWarning, stacklevel=3)
    kernels = {place.path for place in walk(model) if has_kernel(place.layer)}
    left = [(path, why) for path, why in removal.skipped if why not in ASKED and path in kernels]
    warn_of("remove", left, stacklevel=4)


def remove_to(
    model: keras.Model,
    budget: Budget,
    score: str,
    ranking: str,
    limits: LayerLimits,
    x: Any = None,
    y: Any = None,
    loss: Any = None,
    seed: int = 0,
    compensate: bool = False,
) -> Removal:
    """`remove` with a budget and limits for its settings."""
    if compensate and x is None:
        raise InputError("compensate works on samples. Give x, some hundreds of them.", ("x",))
    structure = read(model)
    choice = RemovalOrder(structure, score_of(structure, score, x, y, loss, seed), ranking, limits)
    found = fit(structure, choice, budget, x)
    layers = changes(costs(structure), costs(structure, structure.left(found.drop)))
    skipped = choice.skipped if found.drop else [*choice.skipped, ("all layers", str(found))]
    weights = compensated(structure, found.drop, x) if compensate and found.drop else None
    return Removal(cut(structure, found.drop, weights), layers, tuple(skipped), found)


def changes(before: Sequence[LayerCost], after: Sequence[LayerCost]) -> tuple[LayerChange, ...]:
    """The change of each layer, from its cost before and after."""
    return tuple(LayerChange(old.path, old.kind, old, new) for old, new in zip(before, after, strict=True))


def _change(before: int, after: int) -> str:
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"


def as_rows(layers: Sequence[LayerChange]) -> list[dict[str, Any]]:
    """Changes as plain data: path and kind of each layer; channels, parameters and flops before and after."""
    return [
        {"path": layer.path, "kind": layer.kind}
        | {what: [getattr(layer.before, what), getattr(layer.after, what)] for what in FIGURES}
        for layer in layers
    ]


def reestimate(model: keras.Model, x: Any, batch_size: int = 64) -> None:
    """Re-estimates the statistics of every BatchNormalization: the mean over the batches of samples.

    Args:
        model: A built model.
        x: Samples `(samples, ...)`, or a dict of such arrays by input name.
        batch_size: Samples per batch.

    References:
        Li et al., EagleEye, arXiv:2007.02491 (adaptive batch normalization after pruning).
    """
    normalizations = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    if not normalizations:
        return
    momenta = [layer.momentum for layer in normalizations]
    count = len(next(iter(x.values())) if isinstance(x, dict) else x)
    try:
        for number, start in enumerate(range(0, count - min(batch_size, count) + 1, batch_size)):
            for layer in normalizations:
                layer.momentum = number / (number + 1)  # the running value is then the mean of all batches so far
            chosen = slice(start, start + batch_size)
            part = {k: v[chosen] for k, v in x.items()} if isinstance(x, dict) else x[chosen]
            model(keras.tree.map_structure(np.asarray, part), training=True)
    finally:
        for layer, momentum in zip(normalizations, momenta, strict=True):
            layer.momentum = momentum


def _patterns(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
