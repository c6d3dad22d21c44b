"""Pruning sensitivity as tables, JSON and plots, and the prune stage of a recipe that it suggests."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfopt.sparsity.sensitivity import Curve

EPOCHS = 10
PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
COLORS = ("#2a78b5", "#e0762f", "#3a9a5b", "#b5417b", "#7a5fc0", "#a8862b", "#2fa3a8", "#6b747d")


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
        lines += [f"      {setting}: [{', '.join(map(_word, patterns))}]"] if patterns else []
    lines.append("      rules:")
    return lines + [
        f"        - {{layers: {_word(path)}, sparsity: {rounded(sparsity):g}}}" for path, sparsity in suggestion.items()
    ]


def _word(text: str) -> str:
    """Text as YAML, in quotes where it would be read as something else."""
    return text if PLAIN.fullmatch(text) and text.lower() not in ("true", "false", "null") else json.dumps(text)


def curves_plot(curves: Sequence[Curve], suggestion: Mapping[str, float], title: str, metric: str) -> str:
    """A page with a plot: the metric over the sparsity of each layer, and a mark at the sparsity that is suggested."""
    import numpy as np
    import plotly.graph_objects as go

    figure = go.Figure()
    baseline, top = curves[0].baseline, max(curve.sparsities[-1] for curve in curves)
    figure.add_scatter(
        name="nothing pruned",
        x=[0, top],
        y=[baseline, baseline],
        mode="lines",
        line={"color": "#8a949e", "width": 1.5, "dash": "dash"},
        hovertemplate="nothing pruned: %{y:.4f}<extra></extra>",
    )
    for index, curve in enumerate(curves):
        color, dash = COLORS[index % len(COLORS)], ("solid", "dot", "dashdot")[index // len(COLORS) % 3]
        x, y, point = (0.0, *curve.sparsities), (baseline, *curve.scores), suggestion[curve.layer]
        figure.add_scatter(
            name=curve.layer,
            legendgroup=curve.layer,
            x=x,
            y=y,
            mode="lines+markers",
            line={"color": color, "width": 2, "dash": dash},
            marker={"size": 5},
            hovertemplate=f"{curve.layer} ({curve.weights:,} weights)<br>%{{x:.4g}} pruned: %{{y:.4f}}<extra></extra>",
        )
        figure.add_scatter(
            legendgroup=curve.layer,
            x=[point],
            y=[float(np.interp(point, x, y))],
            mode="markers",
            marker={"color": color, "size": 14, "symbol": "diamond", "line": {"color": "white", "width": 1.5}},
            hovertemplate=f"{curve.layer}<br>suggested: {rounded(point):.4f}<extra></extra>",
            showlegend=False,
        )
    figure.update_layout(
        title=f"{title}: what pruning one layer alone costs",
        template="plotly_white",
        height=max(520, 22 * len(curves) + 200),
        legend={"title": "layer (diamond: suggested)"},
        margin={"l": 20, "r": 30, "t": 70},
    )
    figure.update_xaxes(title="fraction of the layer's weights set to zero, without training", range=[-0.02, 1.0])
    figure.update_yaxes(title=metric, automargin=True)
    return str(figure.to_html(include_plotlyjs=True, full_html=True))
