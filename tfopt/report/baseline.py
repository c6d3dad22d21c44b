"""The model that a run starts from, and how its results compare with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfopt.metrics import output_and_metric
from tfopt.recipe.artifact import BASELINE, SOURCE, Artifact
from tfopt.recipe.details.search import TuningOutcome

LATENCIES = ("latency_median_seconds", "latency_p90_seconds")
# Figures of which a ratio tells how much less a model takes, each with the word for one that takes more.
RATIOS = {
    "raw_bytes": "larger",
    "gzip_bytes": "larger",
    "nonzero_parameters": "more",
    "latency_median_seconds": "slower",
}
# What is said of latencies that differ by no more than they vary.
UNTOLD = "not told apart"


@dataclass(frozen=True)
class Baseline:
    """The model that a run starts from.

    Args:
        name: Name of the stage that made it; `source` for the recipe's model.
        scores: Its metrics on the test split by name, the gated one first.
        raw_bytes: Size of its float32 `.tflite` in bytes; None where it was not measured.
        gzip_bytes: Size of that file after gzip -9 in bytes; None where it was not measured.
        latency_median_seconds: Median latency of that file in seconds; None where it was not measured.
        latency_p90_seconds: The latency's 90th percentile in seconds; None where it was not measured.
        best_of: Number of trials that it is the best of; 0 where its hyperparameters were not searched for.
    """

    name: str
    scores: Mapping[str, float]
    raw_bytes: float | None = None
    gzip_bytes: float | None = None
    latency_median_seconds: float | None = None
    latency_p90_seconds: float | None = None
    best_of: int = 0

    @property
    def words(self) -> str:
        """What it is called in a sentence."""
        return f"the best of {self.best_of} trials" if self.best_of else "the model you started from"


def baseline_of(artifacts: Mapping[str, Artifact]) -> Baseline | None:
    """The baseline of a run; None where the run measured none, as runs of older versions did.

    Of such a run it is the result of a training that comes first, with its scores alone.
    """
    if artifact := measured_baseline(artifacts):
        m = artifact.metrics
        scores = {name: m[name] for name in artifact.scores}
        raw, gzip, median, p90 = (m.get(name) for name in ("raw_bytes", "gzip_bytes", *LATENCIES))
        [parent] = artifact.parents
        return Baseline(parent, scores, raw, gzip, median, p90, _trials(artifacts.get(parent)))
    for artifact in artifacts.values():
        if artifact.kind in ("train", "tune") and artifact.scores and artifact.parents in ((), (SOURCE,)):
            scores = {name: artifact.metrics[name] for name in artifact.scores}
            return Baseline(artifact.name, scores, best_of=_trials(artifact))
    return None


def _trials(artifact: Artifact | None) -> int:
    """The number of trials that a model is the best of."""
    found = artifact.details.of(TuningOutcome) if artifact else None
    return len(found.trials) if found else 0


def measured_baseline(artifacts: Mapping[str, Artifact]) -> Artifact | None:
    """The artifact with what was measured of the baseline; None where there is none."""
    return next((artifact for artifact in artifacts.values() if artifact.kind == BASELINE), None)


def untold_spread(figures: Mapping[str, float | None], before: Mapping[str, float | None]) -> float | None:
    """How much latencies vary that are not told apart: their medians differ by no more than either varies.

    Args:
        figures: The figures of one model by name, its latency's median and 90th percentile among them.
        before: Those of the other.

    Returns:
        The larger of the differences between 90th percentile and median, in seconds; None where the latencies are told
        apart or not known.
    """
    medians, upper = ([own.get(name) or 0 for own in (figures, before)] for name in LATENCIES)
    spread = max(above - median for median, above in zip(medians, upper, strict=True))
    return spread if min(medians) > 0 and abs(medians[0] - medians[1]) <= spread else None


def against(figures: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """A model's figures against those of the baseline, of those that both have.

    Args:
        figures: The model's figures by name.
        before: The baseline's figures by name; those that are neither a size nor a latency are scores.

    Returns:
        By name: of a size or a latency how many times smaller it is, of a score the difference, after less before.
    """
    found: dict[str, float] = {}
    for name, was in before.items():
        if name not in figures:
            continue
        if name in RATIOS:
            found |= {name: was / figures[name]} if figures[name] else {}
        else:
            found[name] = figures[name] - was
    return found


def change(score: str, difference: float) -> str:
    """The change of a score: `-0.28 points` of a metric of classes, else the difference itself."""
    _, metric = output_and_metric(score)
    text = f"{100 * difference:+.2f} points" if metric and metric.of_classes else f"{difference:+.4g}"
    return text.replace("-0.00 ", "+0.00 ")
