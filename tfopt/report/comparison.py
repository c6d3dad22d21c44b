"""Models compared on the same samples: their figures, which is the best where, and how they differ from the first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tfopt.report.baseline import UNTOLD as LATENCIES_UNTOLD
from tfopt.report.baseline import change
from tfopt.report.fitted_table import Cells
from tfopt.report.units import bytes_, duration, share
from tfopt.tabular import Tabular

if TYPE_CHECKING:
    from tfopt.metrics.paired import PairedDifference
    from tfopt.report.charts import Point
    from tfopt.report.page import Page

# Marks the best of a column.
BEST = "*"
DIFFER, UNTOLD = "differ", "too few samples to tell"
LATENCY = "latency_median_seconds"


@dataclass(frozen=True)
class ComparedModel:
    """One model of a comparison.

    Args:
        name: Its name.
        format: `keras` or `tflite`.
        bytes: Size of its file in bytes.
        gzip_bytes: Size of the file after gzip -9 in bytes.
        scores: Its metrics on the samples, by name.
        latency_median_seconds: Median latency on LiteRT in seconds; None for a Keras model.
        latency_p90_seconds: The latency's 90th percentile in seconds.
        agreement: Fraction of the samples for which it says the same class as the first model, 0-1; None of the first,
            and where outputs are no classes.
        max_error: Largest difference of its outputs from those of the first model; None of the first.
        difference: The first metric against that of the first model; None of the first.
    """

    name: str
    format: str
    bytes: int
    gzip_bytes: int
    scores: dict[str, float]
    latency_median_seconds: float | None = None
    latency_p90_seconds: float | None = None
    agreement: float | None = None
    max_error: float | None = None
    difference: PairedDifference | None = None


@dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """Models compared on the same samples.

    Args:
        models: The models, in the order in which they were named.
        metrics: Whether the larger value is the better one, by metric, the one of the differences first.
        samples: Number of samples.
        data: What the samples are.
    """

    models: tuple[ComparedModel, ...]
    metrics: Mapping[str, bool]
    samples: int
    data: str

    @property
    def title(self) -> str:
        """What was compared, and on what."""
        return f"{len(self.models)} models on {self.samples:,} samples of {self.data}"

    def records(self) -> list[dict[str, Any]]:
        """A row for each model."""
        return [_record(model) for model in self.models]

    def best(self, figure: str) -> tuple[str, ...]:
        """The names of the models whose figure is the best; several where they are equal, none where all are.

        Latencies are not told apart where the median of one is below the 90th percentile of the fastest.

        Args:
            figure: `bytes`, `gzip_bytes`, `latency_median_seconds`, or a metric.
        """
        taken = {model.name: _figure(model, figure) for model in self.models}
        known = {name: value for name, value in taken.items() if value is not None and not math.isnan(value)}
        if len(set(known.values())) < 2:
            return ()
        best = (max if self.metrics.get(figure, False) else min)(known.values())
        if figure == LATENCY:  # what is within the noise of the fastest is not told apart
            best = max(
                model.latency_p90_seconds or best for model in self.models if model.latency_median_seconds == best
            )
            found = tuple(name for name, value in known.items() if value <= best)
            return found if len(found) < len(known) else ()
        return tuple(name for name, value in known.items() if value == best)


def _figure(model: ComparedModel, figure: str) -> float | None:
    return model.scores[figure] if figure in model.scores else getattr(model, figure)


def _record(model: ComparedModel) -> dict[str, Any]:
    own = {name: value for name, value in asdict(replace(model, difference=None)).items() if name != "difference"}
    scores = own.pop("scores")
    found = model.difference
    paired = {"difference": found.difference, "low": found.low, "high": found.high, "p": found.p} if found else {}
    return {"model": own.pop("name"), **own, **scores, **paired}


def record(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON, with the models that are the best by figure."""
    figures = ("bytes", "gzip_bytes", "latency_median_seconds", *comparison.metrics)
    return {
        "data": comparison.data,
        "samples": comparison.samples,
        "metrics": {name: "higher" if up else "lower" for name, up in comparison.metrics.items()},
        "models": [asdict(model) for model in comparison.models],
        "best": {figure: list(comparison.best(figure)) for figure in figures},
    }


def figures(comparison: Comparison) -> Cells:
    """The table of the figures, the best of each column marked."""
    classes = any(model.agreement is not None for model in comparison.models)
    same = "same class" if classes else "max error"
    headers = ("model", *comparison.metrics, "bytes", "gzip -9", "median", "p90", same)
    rows = []
    for model in comparison.models:

        def mark(figure: str, text: str, name: str = model.name) -> str:
            return f"{BEST} {text}" if name in comparison.best(figure) else text

        alike = model.agreement if classes else model.max_error
        rows.append(
            (
                model.name,
                *(mark(name, f"{model.scores[name]:.4f}") for name in comparison.metrics),
                mark("bytes", bytes_(model.bytes)),
                mark("gzip_bytes", bytes_(model.gzip_bytes)),
                mark("latency_median_seconds", _duration(model.latency_median_seconds)),
                _duration(model.latency_p90_seconds),
                "-" if alike is None else share(alike) if classes else f"{alike:.3g}",
            )
        )
    return Cells(headers, tuple(rows))


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def differences(comparison: Comparison) -> Cells:
    """The table of the differences from the first model, with what they are worth."""
    first, metric = comparison.models[0].name, next(iter(comparison.metrics))
    rows = []
    for model in comparison.models[1:]:
        if found := model.difference:
            interval = f"{change(metric, found.low).removesuffix(' points')} to {change(metric, found.high)}"
            rows.append((model.name, change(metric, found.difference), interval, f"{found.p:.3g}", verdict(found)))
    return Cells((f"against {first}", metric, f"{_confidence(comparison)} interval", "p", ""), tuple(rows))


def verdict(found: PairedDifference) -> str:
    """Whether the samples tell two models apart."""
    if math.isnan(found.p):
        return UNTOLD
    return DIFFER if found.p < 1 - found.confidence else "no difference seen"


def _confidence(comparison: Comparison) -> str:
    found = next((model.difference for model in comparison.models if model.difference), None)
    return f"{found.confidence:.0%}" if found else ""


def sentences(comparison: Comparison) -> list[str]:
    """Which model is the best at what, and how the differences were judged; a line each."""
    words = {
        "bytes": "smallest",
        "gzip_bytes": "smallest after gzip",
        LATENCY: "fastest",
        **{metric: f"best {metric}" for metric in comparison.metrics},
    }
    bests = {figure: best for figure in words if (best := comparison.best(figure))}
    if len(bests.get(LATENCY, ())) > 1:
        words[LATENCY] += f", {LATENCIES_UNTOLD}"
    lines = [f"{words[figure]}: {', '.join(best)}" for figure, best in bests.items()]
    archives = [model.name for model in comparison.models if model.format == "keras"]
    if archives:
        lines.append(f"bytes of {', '.join(archives)}: the archive with the optimizer's state, which no device gets")
    methods = dict.fromkeys(model.difference.method for model in comparison.models if model.difference)
    lines += [f"{next(iter(comparison.metrics))} judged by: {method}" for method in methods]
    return lines


def _point(comparison: Comparison, model: ComparedModel, metric: str) -> Point:
    from tfopt.report.charts import Point

    score = model.scores[metric]
    title = f"{model.name}: {metric} {score:.4f}, {bytes_(model.bytes)}"
    return Point(model.bytes, score, title, model.name, "chosen" if model.name in comparison.best(metric) else "s0", 6)


def lead(comparison: Comparison) -> str:
    """What a comparison comes to, in two sentences: on what, and whether the models differ beyond chance."""
    first, metric = comparison.models[0].name, next(iter(comparison.metrics))
    apart = [model.name for model in comparison.models if model.difference and verdict(model.difference) == DIFFER]
    told = f"In {metric} {', '.join(apart) or 'none'} differ{'s' if len(apart) < 2 else ''} from {first} beyond chance."
    return f"{comparison.title}. {told}"


def page(comparison: Comparison) -> Page:
    """The comparison as a page, with a picture of the metric against the bytes."""
    from tfopt.report.blocks import Block, Bullets, Figure, Paragraph, Table
    from tfopt.report.charts import Scatter
    from tfopt.report.page import Page, Part

    metric = next(iter(comparison.metrics))
    points = [_point(comparison, model, metric) for model in comparison.models]
    chart = Scatter(f"{metric} against bytes", points, "bytes of the file", metric, log_x=True, height=350)
    table, paired = figures(comparison), differences(comparison)
    intro: list[Block] = [Figure(chart, f"{metric} against the size of the file.")]
    parts = [
        Part(
            "figures", "Figures", [Table(table.headers, table.rows), Paragraph(f"{BEST} marks the best of a column.")]
        ),
        Part("differences", "Differences", [Table(paired.headers, paired.rows)]),
        Part("best", "Best at what", [Bullets(sentences(comparison))]),
    ]
    return Page("Comparison", lead(comparison), intro, parts, "tfopt compare")
