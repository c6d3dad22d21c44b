"""Pruning sensitivity as tables, JSON and a page, and the prune stage of a recipe that it suggests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfopt.recipe.yaml_text import yaml_word
from tfopt.report.blocks import Figure, Listing, Table
from tfopt.report.charts import Line, Lines, Mark
from tfopt.report.page import Page, Part

if TYPE_CHECKING:
    from tfopt.sparsity.sensitivity import Curve

EPOCHS = 10
# Layers that are drawn, those with the most weights.
DRAWN = 24


def rounded(sparsity: float) -> float:
    """A suggested sparsity to four places, upwards, so that the overall one is still reached."""
    return math.ceil(sparsity * 1e4 - 1e-6) / 1e4


def curve_headers(curves: Sequence[Curve]) -> tuple[str, ...]:
    """The headers over `curve_cells`: a column for each sparsity that was tried."""
    return ("layer", "weights", "baseline", *(f"{sparsity:g}" for sparsity in curves[0].sparsities), "suggested")


def curve_cells(curve: Curve, suggested: float) -> tuple[str, ...]:
    """A curve as text: the metric at each sparsity, and the sparsity that is suggested."""
    scores = (f"{score:.4f}" for score in (curve.baseline, *curve.scores))
    return (curve.layer, f"{curve.weights:,}", *scores, f"{rounded(suggested):.4f}")


def curves_record(
    curves: Sequence[Curve],
    suggestion: Mapping[str, float],
    metric: str,
    target: float,
    skipped: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Curves and suggestion as JSON; `cached` says whether only the ops from the layer on were rerun."""
    return {
        "metric": metric,
        "baseline": curves[0].baseline,
        "target": target,
        "layers": [
            {
                "layer": curve.layer,
                "kernels": list(curve.kernels),
                "weights": curve.weights,
                "sparsities": list(curve.sparsities),
                "scores": list(curve.scores),
                "cached": curve.cached,
                "suggested": rounded(suggestion[curve.layer]),
            }
            for curve in curves
        ],
        "skipped": [{"layer": path, "reason": reason} for path, reason in skipped],
    }


def stage_lines(
    suggestion: Mapping[str, float], target: float, only: Sequence[str] = (), skip: Sequence[str] = ()
) -> list[str]:
    """The lines of a prune stage to paste below `stages:` of a recipe.

    Args:
        suggestion: Sparsities, 0-1, by layer path; of several that match a layer the last one counts.
        target: The overall sparsity, 0-1.
        only: Layer patterns that were measured; empty for all.
        skip: Layer patterns that were left out.
    """
    lines = ["  - prune:", f"      sparsity: {target:g}", f"      epochs: {EPOCHS}"]
    for setting, patterns in (("only", only), ("skip", skip)):
        lines += [f"      {setting}: [{', '.join(map(yaml_word, patterns))}]"] if patterns else []
    lines.append("      rules:")
    return lines + [
        f"        - {{layers: {yaml_word(path)}, sparsity: {rounded(sparsity):g}}}"
        for path, sparsity in suggestion.items()
    ]


def curves_page(
    curves: Sequence[Curve], suggestion: Mapping[str, float], title: str, metric: str, target: float
) -> Page:
    """A page: the metric over the sparsity of each layer, and a mark at the sparsity that is suggested."""
    baseline = curves[0].baseline
    drawn = sorted(curves, key=lambda curve: -curve.weights)[:DRAWN]
    lines = [_line(curve, suggestion[curve.layer], baseline) for curve in curves if curve in drawn]
    label = f"{metric} over the sparsity of each of {len(lines)} layers, pruned alone and without training"
    x_title = "fraction of the layer's weights set to zero"
    chart = Lines(label, lines, x_title, metric, horizontals=[(baseline, "nothing pruned")])
    left_out = len(curves) - len(drawn)
    caption = "Each layer is pruned alone, without training; the diamond is the sparsity that is suggested."
    caption += f" The {len(drawn)} largest layers are drawn, {left_out} more are in the table." if left_out else ""
    rows = [curve_cells(curve, suggestion[curve.layer]) for curve in curves]
    parts = [
        Part("layers", "Every layer", [Table(curve_headers(curves), rows, most=len(rows))]),
        Part("stage", "The stage for a recipe", [Listing("\n".join(stage_lines(suggestion, target)), "yaml")]),
    ]
    lead = f"What pruning one layer alone costs, and the sparsities that together reach {target:g}."
    return Page(title, lead, [Figure(chart, caption)], parts, "tfopt sensitivity --prune")


def _line(curve: Curve, suggested: float, baseline: float) -> Line:
    xs, ys = (0.0, *curve.sparsities), (baseline, *curve.scores)
    after = next((place for place in range(1, len(xs)) if suggested <= xs[place]), len(xs) - 1)
    share = (suggested - xs[after - 1]) / (xs[after] - xs[after - 1])
    at = ys[after - 1] + min(max(share, 0.0), 1.0) * (ys[after] - ys[after - 1])
    return Line(curve.layer, xs, ys, [Mark(suggested, at, f"{curve.layer}: {rounded(suggested):.4f} is suggested")])
