"""The result of a learning rate finder as JSON, lines and a plot of the loss over the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfopt.training.learning_rate_finder import LearningRateFinder


def rates_record(stage: str, finder: LearningRateFinder) -> dict[str, Any]:
    """The result of a finder on the training of a stage, as JSON."""
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
    """The lines that a terminal shows of a record."""
    return [
        f"learning rate of {record['stage']}: {record['suggestion']:.1e}, where the loss falls most steeply",
        f"the loss is smallest at {record['lowest_loss_at']:.1e}; the test ended at {record['stopped_at']:.1e}",
    ]


def rates_plot(title: str, record: Mapping[str, Any]) -> str:
    """A page with a plot of a record: the smoothed loss over the learning rate, and a mark at the suggestion."""
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
