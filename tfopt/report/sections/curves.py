"""Section with training curves: loss and metrics over the epochs, of all stages together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.training import TrainingHistory
from tfopt.report.markdown import headed, table
from tfopt.report.section import Page, Section

FILE = "curves.html"


def histories(artifacts: Mapping[str, Artifact]) -> dict[str, Mapping[str, list[float]]]:
    """The training histories by stage."""
    found = {name: artifact.details.of(TrainingHistory) for name, artifact in artifacts.items()}
    return {name: history.values for name, history in found.items() if history and history.values}


def markdown(artifacts: Mapping[str, Artifact]) -> list[str]:
    """The figures of the last epoch of each training, side by side; empty for fewer than two."""
    logged = histories(artifacts)
    if len(logged) < 2:
        return []
    names = _names(logged)
    rows = []
    for stage, history in logged.items():
        epochs = max(len(values) for values in history.values())
        rows.append((stage, str(epochs), *(f"{history[name][-1]:.4g}" if name in history else "-" for name in names)))
    lines = headed("Trainings", f"Their last epochs; the curves are in [{FILE}]({FILE}).", "")
    return lines + table(("stage", "epochs", *names), rows)


def page(title: str, artifacts: Mapping[str, Artifact]) -> str | None:
    """A plot for each logged figure, with a line per stage; None for fewer than two trainings."""
    logged = histories(artifacts)
    if len(logged) < 2:
        return None
    from plotly.colors import qualitative
    from plotly.subplots import make_subplots

    names = _names(logged)
    figure = make_subplots(rows=len(names), cols=1, subplot_titles=names, vertical_spacing=0.25 / len(names))
    for number, (stage, history) in enumerate(logged.items()):
        colour = qualitative.Dark24[number % len(qualitative.Dark24)]
        for row, name in enumerate(names, start=1):
            if not (values := history.get(name)):
                continue
            figure.add_scatter(
                x=list(range(1, len(values) + 1)),
                y=values,
                name=stage,
                legendgroup=stage,
                showlegend=row == 1,
                mode="lines+markers",
                line_color=colour,
                row=row,
                col=1,
            )
    for row, name in enumerate(names, start=1):
        figure.update_yaxes(type="log" if "loss" in name and _positive(logged, name) else "linear", row=row, col=1)
    figure.update_xaxes(title_text="epoch", row=len(names), col=1)
    figure.update_layout(
        title=f"{title}: how its trainings went", template="plotly_white", height=120 + 280 * len(names)
    )
    return str(figure.to_html(include_plotlyjs=True, full_html=True))


def _names(logged: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """The figures to show: those of the validation split if there are any, the loss and the penalty."""
    names = list(dict.fromkeys(name for history in logged.values() for name in history))
    return [name for name in names if f"val_{name}" not in names or name == "loss"]


def _positive(logged: Mapping[str, Mapping[str, Sequence[float]]], name: str) -> bool:
    return all(value > 0 for history in logged.values() for value in history.get(name, ()))


SECTION = Section("curves", rank=10, of_run=markdown, page=Page(FILE, page))
