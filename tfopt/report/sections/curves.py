"""Section with training curves: loss and metrics over the epochs, and the sparsity of those that prune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.training import SparsityRecords, TrainingHistory
from tfopt.report.blocks import Block, Figure, Grid, Heading, OnPage, Paragraph, Table
from tfopt.report.charts import Backdrop, Line, Lines
from tfopt.report.charts.chart import series_style
from tfopt.report.section import Section
from tfopt.report.sections.sparsity_log import by_epoch, chosen

# Trainings that the page draws, and figures of each: more of them cannot be told apart.
DRAWN, FIGURES = 12, 8


def histories(artifacts: Mapping[str, Artifact]) -> dict[str, Mapping[str, list[float]]]:
    """The training histories by stage."""
    found = {name: artifact.details.of(TrainingHistory) for name, artifact in artifacts.items()}
    return {name: history.values for name, history in found.items() if history and history.values}


def blocks(artifacts: Mapping[str, Artifact]) -> list[Block]:
    """A chart for each figure with a line per stage, and the figures of the last epoch of each, side by side."""
    logged = histories(artifacts)
    if not logged:
        return []
    names = _names(logged)
    shown = list(logged)[:DRAWN]
    schedules = _schedules(artifacts, shown)
    # The sparsity has a section of its own.
    drawn = [name for name in names if name != "sparsity" or not schedules][:FIGURES]
    charts = [_chart(logged, shown, name, schedules) for name in drawn]
    found: list[Block] = [Heading("Trainings"), OnPage([*_shaded(schedules), Grid(charts)])]
    if len(logged) > DRAWN:
        said = f"The first {DRAWN} of {len(logged)} trainings are drawn; the table has all."
        found.append(OnPage([Paragraph(said)]))
    rows = []
    for stage, history in logged.items():
        epochs = max(len(values) for values in history.values())
        rows.append((stage, str(epochs), *(f"{history[name][-1]:.4g}" if history.get(name) else "-" for name in names)))
    return [*found, Table(("stage", "epochs", *map(plain, names)), rows, caption="The figures of their last epochs")]


def _chart(
    logged: Mapping[str, Mapping[str, Sequence[float]]], shown: Sequence[str], name: str, schedules: Sequence[Backdrop]
) -> Figure:
    """One figure of all trainings; the stages keep their colours from chart to chart."""
    lines = [
        Line(stage, range(1, len(values) + 1), values, style=style)
        for stage, style in _styles(shown).items()
        if (values := logged[stage].get(name))
    ]
    log = "loss" in name and all(value > 0 for line in lines for value in line.y if value is not None)
    label = f"{plain(name)} over the epochs of {', '.join(line.name for line in lines)}"
    drawn = {line.style for line in lines}
    shaded = [one for one in schedules if one.style in drawn]
    title = f"{plain(name)} (log scale)" if log else plain(name)
    chart = Lines(label, lines, "epoch", title, log_y=log, whole_x=True, backdrops=shaded, shaded="sparsity (shaded)")
    return Figure(chart, table=_figures(lines))


def _figures(lines: Sequence[Line]) -> Table:
    """The values of a chart: of many epochs an even choice."""
    epochs = chosen(range(1, max(len(line.y) for line in lines) + 1))
    rows = [
        (str(epoch), *(_value(line.y[epoch - 1]) if epoch <= len(line.y) else "-" for line in lines))
        for epoch in epochs
    ]
    return Table(("epoch", *(line.name for line in lines)), rows)


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def plain(name: str) -> str:
    """A figure of a training in words: `val_task_loss` is the validation loss without penalties."""
    split = "validation " if name.startswith("val_") else "training " if name == "loss" else ""
    own = name.removeprefix("val_")
    if own == "penalty":
        return f"{split}penalty of the regularizers"
    own, without = (own.replace("task_loss", "loss"), " without penalties") if "task_loss" in own else (own, "")
    return f"{split}{own.replace('_', ' ')}{without}"


def _schedules(artifacts: Mapping[str, Artifact], shown: Sequence[str]) -> list[Backdrop]:
    """The sparsity over the epochs of the trainings that prune."""
    found = []
    for stage, style in _styles(shown).items():
        log = artifacts[stage].details.of(SparsityRecords)
        records = by_epoch(log.records) if log else []
        if len(records) > 1:
            shares = [record.overall for record in records]
            title = f"{stage}: sparsity from {shares[0]:.4f} to {shares[-1]:.4f}"
            found.append(Backdrop(title, [record.epoch for record in records], shares, style))
    return found


def _shaded(schedules: Sequence[Backdrop]) -> list[Block]:
    """What is shaded in the charts, in words."""
    said = "; ".join(one.title for one in schedules)
    return (
        [Paragraph(f"Shaded is the sparsity at the end of each epoch, on the axis at the right. {said}.")]
        if said
        else []
    )


def _styles(stages: Sequence[str]) -> dict[str, str]:
    return {stage: series_style(index) for index, stage in enumerate(stages)}


def _names(logged: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """The figures to show: those of the validation split if there are any, the loss and the penalty."""
    names = list(dict.fromkeys(name for history in logged.values() for name in history))
    return [name for name in names if f"val_{name}" not in names or name == "loss"]


SECTION = Section("curves", "Trainings", rank=50, of_run=blocks)
