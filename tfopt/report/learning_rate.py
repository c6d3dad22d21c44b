"""The result of a learning rate finder as JSON, lines and a page with the loss over the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfopt.report.blocks import Figure, Grid, Table
from tfopt.report.charts import Line, Lines, Mark
from tfopt.report.page import Page

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


def rates_page(title: str, record: Mapping[str, Any]) -> Page:
    """A page of a record: the smoothed loss over the learning rate, and marks at the steepest and the lowest place."""
    rates, losses, stage = record["rates"], record["losses"], record["stage"]
    marks, rows = [], []
    for word, rate in (("steepest", record["suggestion"]), ("lowest", record["lowest_loss_at"])):
        at = min(range(len(rates)), key=lambda index: abs(rates[index] - rate))
        marks.append(Mark(rates[at], losses[at], f"{word}: {rate:.1e}, loss {losses[at]:.4g}"))
        rows.append((word, f"{rate:.1e}", f"{losses[at]:.4g}"))
    chart = Lines(
        f"Smoothed loss over the learning rate of {stage}; it falls most steeply at {record['suggestion']:.1e}",
        [Line("loss, smoothed", rates, losses, marks)],
        "learning rate",
        "loss, smoothed",
        log_x=True,
        verticals=[(record["suggestion"], f"{record['suggestion']:.1e}")],
    )
    blocks = [Figure(chart, "The diamonds are where the loss falls most steeply, and where it is lowest.")]
    lines = rates_lines(record)
    table = Table(("place", "learning rate", "loss"), rows)
    lead = "; ".join(lines)
    return Page(title, f"{lead[0].upper()}{lead[1:]}.", [Grid([*blocks, table])], kicker="tfopt learning-rate")
