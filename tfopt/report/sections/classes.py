"""Section on single classes: precision, recall, F1 and the confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import ClassFigures, ClassScores
from tfopt.report.markdown import headed, table
from tfopt.report.section import Page, Section

FILE = "confusion.html"
HEADERS = ("class", "precision", "recall", "F1", "test samples")


def markdown(artifact: Artifact) -> list[str]:
    """Precision, recall and F1 of every class, for each scored file."""
    lines: list[str] = []
    for name, found in _found(artifact):
        columns = zip(found.classes, found.precision, found.recall, found.f1, found.support, strict=True)
        rows = [
            (str(label), *(f"{share:.4f}" for share in (precision, recall, f1)), f"{support:,}")
            for label, precision, recall, f1, support in columns
        ]
        lines += headed(f"{name}: class by class", *table(HEADERS, rows))
        if found.confusion:
            lines += ["", f"Which is taken for which: [{FILE}]({FILE})."]
    return lines


def page(title: str, artifacts: Mapping[str, Artifact]) -> str | None:
    """The confusion matrix of each file; None where nothing was classified."""
    found = [each for artifact in artifacts.values() for each in _found(artifact) if each[1].confusion]
    if not found:
        return None
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    columns = min(len(found), 2)
    rows = -(-len(found) // columns)
    titles = [name for name, _ in found]
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=titles, vertical_spacing=0.2 / rows)
    for index, (_, each) in enumerate(found):
        labels = [str(label) for label in each.classes]
        counts = each.confusion
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


def _found(artifact: Artifact) -> Iterator[tuple[str, ClassFigures]]:
    """Each file's name, with the output's where there are several, and the figures of its classes."""
    scores = artifact.details.of(ClassScores)
    for file, outputs in scores.files.items() if scores else ():
        for output, found in outputs.items():
            yield (file if len(outputs) == 1 else f"{file}, {output}"), found


SECTION = Section("classes", rank=30, of_artifact=markdown, page=Page(FILE, page))
