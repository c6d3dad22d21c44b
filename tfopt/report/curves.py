"""How trainings went: loss and metrics over the epochs, of all stages together, and the loss over the learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfopt.recipe.artifact import Artifact
    from tfopt.training.learning_rate_finder import LearningRateFinder

FILE = "curves.html"


def histories(artifacts: Mapping[str, Artifact]) -> dict[str, dict[str, list[float]]]:
    """What was logged at each epoch, by stage, of the stages that trained."""
    return {name: a.details["history"] for name, a in artifacts.items() if a.details.get("history")}


def section(artifacts: Mapping[str, Artifact]) -> list[str]:
    """What `report.md` says of two trainings or more: the last epoch's figures of each, side by side."""
    logged = histories(artifacts)
    if len(logged) < 2:
        return []
    names = _names(logged)
    lines = ["", "## Trainings", "", f"Their last epochs; the curves are in [{FILE}]({FILE}).", ""]
    lines += [f"| {' | '.join(('stage', 'epochs', *names))} |", f"|---|{'---:|' * (len(names) + 1)}"]
    for stage, history in logged.items():
        epochs = max(len(values) for values in history.values())
        cells = [f"{history[name][-1]:.4g}" if name in history else "-" for name in names]
        lines += [f"| {' | '.join((stage, str(epochs), *cells))} |"]
    return lines


def page(title: str, artifacts: Mapping[str, Artifact]) -> str | None:
    """A page of its own with a plot for each figure that was logged, a line for each stage; None of fewer than two."""
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
    """The figures to show: those of the validation split where there are such, and the loss and the penalty."""
    names = list(dict.fromkeys(name for history in logged.values() for name in history))
    return [name for name in names if f"val_{name}" not in names or name == "loss"]


def _positive(logged: Mapping[str, Mapping[str, Sequence[float]]], name: str) -> bool:
    return all(value > 0 for history in logged.values() for value in history.get(name, ()))


def rates_record(stage: str, finder: LearningRateFinder) -> dict[str, Any]:
    """What a learning rate finder found, as plain data."""
    lowest = min(range(len(finder.losses)), key=finder.losses.__getitem__)
    return {
        "stage": stage,
        "suggestion": finder.suggestion,
        "lowest_loss_at": finder.rates[lowest],
        "stopped_at": finder.rates[-1],
        "rates": finder.rates,
        "losses": finder.losses,
    }


def rates_lines(record: Mapping[str, Any]) -> list[str]:
    """What the screen says of it."""
    return [
        f"learning rate of {record['stage']}: {record['suggestion']:.1e}, where the loss falls most steeply",
        f"the loss is smallest at {record['lowest_loss_at']:.1e}; the test ended at {record['stopped_at']:.1e}",
    ]


def rates_plot(title: str, record: Mapping[str, Any]) -> str:
    """A page of its own: the smoothed loss over the learning rate, with the suggestion."""
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_scatter(x=record["rates"], y=record["losses"], mode="lines", name="loss, smoothed")
    for rate, word in ((record["suggestion"], "steepest"), (record["lowest_loss_at"], "lowest")):
        at = min(range(len(record["rates"])), key=lambda index: abs(record["rates"][index] - rate))
        figure.add_scatter(
            x=[rate], y=[record["losses"][at]], mode="markers", marker_size=12, name=f"{word}: {rate:.1e}"
        )
    figure.update_layout(
        title=f"{title}: loss over the learning rate of {record['stage']}",
        xaxis={"type": "log", "title": "learning rate", "exponentformat": "e"},
        yaxis={"title": "loss, smoothed"},
        template="plotly_white",
    )
    return str(figure.to_html(include_plotlyjs=True, full_html=True))
