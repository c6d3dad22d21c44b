"""The first picture of a report: the metric against the bytes, the stages as steps from the start to the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.search import SearchOutcome
from tfopt.report.baseline import Baseline
from tfopt.report.blocks import Figure
from tfopt.report.charts import Limit, Point, Scatter

Measured = Mapping[str, Mapping[str, float]]
# Files that the picture shows, the last ones; each with its name.
SHOWN = 24


def picture(
    artifacts: Mapping[str, Artifact], measured: Measured, metric: str, baseline: Baseline | None, final: str
) -> Figure | None:
    """The picture; None where fewer than two models have both figures.

    Args:
        artifacts: The artifacts of the run.
        measured: What was measured of each model, by its stage.
        metric: The metric that counts.
        baseline: The model one started from.
        final: The stage of the final file.
    """
    start = _start(baseline, metric)
    points = [start] if start else []
    places: dict[str, tuple[float, float]] = {}
    for name, figures in list(measured.items())[-SHOWN:]:
        score, size = figures.get(metric), figures.get("raw_bytes")
        if score is None or size is None:
            continue
        places[name] = (size, score)
        points.append(
            Point(size, score, _title(name, metric, score, size), name, "chosen" if name == final else "s0", 6)
        )
    if len(points) < 2:
        return None
    points.sort(key=lambda point: point.style == "chosen")
    steps = [way for name in places if len(way := _way(name, places, artifacts, start)) > 1]
    chart = Scatter(
        f"{metric} against bytes of {', '.join(point.label for point in points)}",
        points,
        "bytes of the file",
        metric,
        log_x=True,
        steps=steps,
        limits=_limits(artifacts, metric, baseline),
        height=350,
    )
    return Figure(chart, f"{metric} against the size of the file, from the model you started from to the file.")


def _start(baseline: Baseline | None, metric: str) -> Point | None:
    if baseline is None or baseline.raw_bytes is None or metric not in baseline.scores:
        return None
    size, score = baseline.raw_bytes, baseline.scores[metric]
    return Point(size, score, _title("the model you started from", metric, score, size), "start", "s7", 6)


def _title(name: str, metric: str, score: float, size: float) -> str:
    return f"{name}: {metric} {score:.4f}, {size:,.0f} B"


def _way(
    name: str, places: Mapping[str, tuple[float, float]], artifacts: Mapping[str, Artifact], start: Point | None
) -> Sequence[tuple[float, float]]:
    """The line to a model from the nearest one that it was made of and that has a place, else from the start."""
    at = artifacts.get(name)
    while at and at.parents and at.parents[0] in artifacts:
        at = artifacts[at.parents[0]]
        if at.name in places:
            return [places[at.name], places[name]]
    return [(start.x, start.y), places[name]] if start else [places[name]]


def _limits(artifacts: Mapping[str, Artifact], metric: str, baseline: Baseline | None) -> list[Limit]:
    """The budget of a search, in bytes of the file."""
    found = []
    for artifact in artifacts.values():
        outcome = artifact.details.of(SearchOutcome)
        if outcome and outcome.wish.raw_bytes is not None:
            found.append(Limit("x", outcome.wish.raw_bytes, f"budget {outcome.wish.raw_bytes:,.0f} B"))
    return found
