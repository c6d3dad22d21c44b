"""How well each class is found: precision, recall and F1, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfopt.recipe.artifact import Artifact

FILE = "confusion.html"


def section(artifact: Artifact) -> list[str]:
    """What `report.md` says of the classes of each file that was looked at."""
    lines = []
    for name, found in _found(artifact):
        lines += ["", f"## {name}: class by class", "", "| class | precision | recall | F1 | test samples |"]
        lines += ["|---|---:|---:|---:|---:|"]
        columns = (found[key] for key in ("classes", "precision", "recall", "f1", "support"))
        for label, precision, recall, f1, support in zip(*columns, strict=True):
            lines += [f"| {label} | {precision:.4f} | {recall:.4f} | {f1:.4f} | {support:,} |"]
        lines += ["", f"Which is taken for which: [{FILE}]({FILE})."]
    return lines


def page(title: str, artifacts: Mapping[str, Artifact]) -> str | None:
    """A page of its own with the confusion matrix of each file; None where nothing was classified."""
    found = [each for artifact in artifacts.values() for each in _found(artifact)]
    if not found:
        return None
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    columns = min(len(found), 2)
    rows = -(-len(found) // columns)
    titles = [name for name, _ in found]
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=titles, vertical_spacing=0.2 / rows)
    for index, (_, each) in enumerate(found):
        labels = [str(label) for label in each["classes"]]
        counts = each["confusion"]
        shares = [[count / max(sum(row), 1) for count in row] for row in counts]
        figure.add_trace(
            go.Heatmap(
                z=shares,
                x=labels,
                y=labels,
                text=counts,
                texttemplate="%{text}" if len(labels) <= 20 else None,
                hovertemplate="class %{y} taken for %{x}: %{text}, %{z:.1%}<extra></extra>",
                colorscale="Blues",
                zmin=0,
                zmax=1,
                showscale=False,
            ),
            row=index // columns + 1,
            col=index % columns + 1,
        )
    figure.update_xaxes(title_text="taken for", type="category")
    figure.update_yaxes(title_text="class", type="category", autorange="reversed")
    figure.update_layout(
        title=f"{title}: which class is taken for which, test split", template="plotly_white", height=120 + 520 * rows
    )
    return str(figure.to_html(include_plotlyjs=True, full_html=True))


def _found(artifact: Artifact) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each file's name, with the output's where there are several, and what was found of its classes."""
    for file, outputs in artifact.details.get("by_class", {}).items():
        for output, found in outputs.items():
            yield (file if len(outputs) == 1 else f"{file}, {output}"), found
