"""Ranking of layers by their sensitivity to pruning, and the sparsities that it suggests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tfopt.data.arrays import Arrays
from tfopt.data.labels import check_named
from tfopt.data.splits import Split
from tfopt.metrics import Metric, find
from tfopt.models import signature
from tfopt.sparsity.selection import choose_kernels
from tfopt.sparsity.sensitivity import SPARSITIES, Curve, check_target, measure, rules, suggest
from tfopt.tabular import Tabular
from tfopt.training.output_decisions import decided


@dataclass(frozen=True, repr=False)
class PruningSensitivity(Tabular):
    """The sensitivity of each layer to being pruned alone.

    Args:
        curves: The scores of each layer over its sparsity, in the order of the model.
        suggestion: Sparsities, 0-1, by layer path that together reach the target at the least cost; given as `rules`
            of `MagnitudePruning` or of a stage.
        skipped: Layers that are not pruned, with the reason.
    """

    curves: tuple[Curve, ...]
    suggestion: dict[str, float]
    skipped: tuple[tuple[str, str], ...]

    @property
    def ranking(self) -> tuple[str, ...]:
        """The layers' paths, the least sensitive first."""
        return tuple(sorted(self.suggestion, key=lambda path: -self.suggestion[path]))

    @property
    def title(self) -> str:
        """How many layers were measured, and the score of the whole model."""
        before = f", {self.curves[0].baseline:.4f} before" if self.curves else ""
        return f"the score with each of {len(self.curves)} layers pruned alone{before}"

    def records(self) -> list[dict[str, Any]]:
        """A row for each layer, with its score at each sparsity, and the sparsity that is suggested."""
        return [
            {
                "layer": curve.layer,
                "weights": curve.weights,
                **{f"{sparsity:g}": score for sparsity, score in zip(curve.sparsities, curve.scores, strict=True)},
                "suggested": self.suggestion.get(curve.layer),
            }
            for curve in self.curves
        ]


def rank_layers(
    model: keras.Model,
    data: Split | tuple[Arrays, Arrays],
    metric: str | Metric = "accuracy",
    *,
    target: float = 0.9,
    sparsities: Sequence[float] = SPARSITIES,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    part: Callable[[float], Any] = lambda done: None,
) -> PruningSensitivity:
    """Prunes each layer alone, without any training, and scores the model; its weights are restored afterwards.

    Args:
        model: A built model.
        data: Labelled samples, `(x, y)` or a `Split`; all of them are scored.
        metric: A metric's name, such as `accuracy`, `mae` or `mse`, or a `Metric`.
        target: The fraction of zeros that the suggestion reaches over all layers together, 0-1.
        sparsities: The fractions of zeros to try in each layer, 0-1, ascending.
        only: Layer patterns; empty means every layer of a class that TF-MOT prunes.
        skip: Layer patterns to leave alone.
        part: Called with the finished fraction, 0-1.

    Raises:
        InputError: Sparsities that do not ascend, a target that they do not reach, or a metric that cannot be taken of
            the outputs, or labels that do not say which of several outputs they are of.
        ModelError: A pattern matches no layer, or the model has nothing to prune.

    References:
        Han et al., Learning both weights and connections for efficient neural networks, arXiv:1506.02626 (sensitivity
        scan by layer).

    Example:
        ```python
        found = tfopt.sparsity.rank_layers(model, (x_val, y_val), target=0.9)
        model.fit(x, y, epochs=10, callbacks=[tfopt.callbacks.MagnitudePruning(0.9, rules=found.suggestion)])
        ```
    """
    split = data if isinstance(data, Split) else Split(*data)
    wanted = find(metric)
    if wanted.output is None:
        check_named(split.y, signature.output_names(model))
    [scored] = decided([wanted], model, y=split.y)
    if sparsities:
        check_target(target, max(sparsities))  # before any layer is measured
    kernels, skipped = choose_kernels(model, only, skip)
    curves = measure(model, split, scored, kernels, sparsities, part)
    suggestion = rules(kernels, suggest(curves, target, scored))
    return PruningSensitivity(tuple(curves), suggestion, tuple(skipped))
