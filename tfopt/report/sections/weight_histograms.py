"""Section with the histogram of each layer's weights, before a stage and after it."""

from __future__ import annotations

from collections.abc import Mapping

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.weights import LayerWeights, WeightFigures, WeightsByLayer
from tfopt.report.blocks import Block, Figure, Folded, Grid, Heading, InMarkdown, OnPage, Paragraph
from tfopt.report.charts import Histogram, Outline
from tfopt.report.section import Section

# Histograms of one result, and of the whole page; results whose histograms are open at once.
DRAWN, IN_ALL = 12, 60


def blocks(artifacts: Mapping[str, Artifact]) -> list[Block]:
    """For each result whose weights a stage changed, the histograms of its largest layers."""
    found = {name: _changed(artifact) for name, artifact in artifacts.items()}
    found = {name: rows for name, rows in found.items() if rows}
    each = max(min(DRAWN, IN_ALL // max(len(found), 1)), 2)
    shown: list[Block] = []
    for name, rows in found.items():
        drawn = sorted(rows, key=lambda row: -row.after.bytes)[:each]
        figures = Grid([_figure(row, name) for row in drawn])
        left_out = f" of {len(rows)}" if len(rows) > len(drawn) else ""
        shown += [
            InMarkdown(
                [
                    Heading(f"{name}: histograms of weights"),
                    Paragraph(f"The histograms of {len(drawn)} layers are on the page, report.html."),
                ]
            ),
            OnPage([Folded(f"{name}: histograms of weights, the largest {len(drawn)} layers{left_out}", [figures])]),
        ]
    return shown


def _changed(artifact: Artifact) -> list[LayerWeights]:
    """The layers with histograms that are not the same before and after."""
    weights = artifact.details.of(WeightsByLayer)
    rows = weights.rows if weights else ()
    return [row for row in rows if row.ends and row.before and _differ(row.before, row.after)]


def _differ(before: WeightFigures, after: WeightFigures) -> bool:
    return (before.histogram, before.sparsity, before.values) != (after.histogram, after.sparsity, after.values)


def _figure(row: LayerWeights, name: str) -> Figure:
    both = (("before", row.before), (f"in {name}", row.after))
    outlines = [_outline(word, figures, row.ends or (-1.0, 1.0)) for word, figures in both if figures]
    chart = Histogram(f"Weights of {row.layer} before and in {name}", outlines, "weight", "weights", log_y=True)
    zeros = " → ".join(f"{figures.sparsity:.1%}" for _, figures in both if figures)
    return Figure(chart, f"{row.layer}: {row.after.kernels:,} weights in kernels, zeros {zeros}.")


def _outline(word: str, figures: WeightFigures, ends: tuple[float, float]) -> Outline:
    count = max(len(figures.histogram), 1)
    edges = [ends[0] + (ends[1] - ends[0]) * number / count for number in range(count + 1)]
    return Outline(word, edges, [share * figures.kernels for share in figures.histogram], figures.zeros)


SECTION = Section("weight_histograms", "Histograms of weights", rank=36, within="weights", of_run=blocks)
