"""The sentence at the top of a report: what came of it against the model one started from, in either direction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tfopt.metrics import output_and_metric
from tfopt.report.baseline import LATENCIES, UNTOLD, Baseline, change, untold_spread
from tfopt.report.units import duration, share, times
from tfopt.report.verdict import EQUAL_SCORE, most_lost

Clause = tuple[Literal["than", "equal", "other"], str]
# The ratio below which two figures are called equal.
EQUAL_RATIO = 1.005


@dataclass(frozen=True)
class SameClass:
    """How often a file gives the class that another model gives.

    Args:
        share: The fraction of the test samples, 0-1.
        stage: The stage that made the other model; empty for the model one started from.
        outputs: Number of outputs that have classes. A sample counts where the class is the same in all of them.
    """

    share: float
    stage: str = ""
    outputs: int = 1

    @property
    def words(self) -> str:
        """The clause of the sentence."""
        whose = f" as the Keras model of {self.stage}" if self.stage else ""
        where = (
            "" if self.outputs == 1 else " in both outputs" if self.outputs == 2 else f" in all {self.outputs} outputs"
        )
        return f"same class{whose}{where} on {share(self.share)} of the test samples"


def sentence(
    baseline: Baseline | None,
    measured: Mapping[str, float],
    scores: tuple[str, ...],
    same_class: SameClass | None = None,
    verdict: str = "",
) -> str:
    """The sentence, each clause only where its figures are known; empty where none are.

    Args:
        baseline: The model one started from.
        measured: What was measured of the final file.
        scores: Names of its accuracy metrics, the gated one first.
        same_class: How often it gives the same class as another model.
        verdict: What the gates said of it, put in front.
    """
    clauses = comparison(baseline, measured, scores) if baseline else []
    differ, equal, other = ([what for tone, what in clauses if tone == own] for own in ("than", "equal", "other"))
    start = baseline.words if baseline else ""
    text = f"{', '.join(differ)} than {start}" if differ else ""
    if equal:
        same = " and ".join(equal)
        text = f"{text}, with equal {same}" if text else f"equal in {same} to {start}"
    text += f"{', ' if text else ''}{', '.join(other)}" if other else ""
    if same_class:
        text += f"{'; ' if text else ''}{same_class.words}"
    if verdict:
        text = f"{verdict}: {text}" if text else verdict
    return f"{text[0].upper()}{text[1:]}." if text else ""


def comparison(baseline: Baseline, measured: Mapping[str, float], scores: tuple[str, ...]) -> list[Clause]:
    """The clauses against the model one started from: bytes, bytes after gzip, latency, the gated metric, the worst.

    The metric that lost most is said where it is another one than the gated: nothing that was lost is hidden.

    Returns:
        Each clause with its tone: `than` for a comparison, `equal` for the name of what is the same, else `other`.
    """
    clauses: list[Clause] = []
    said = ""  # "3.8x smaller, 11.6x after gzip" says the word once
    for before, name, (better, worse, same), suffix in (
        (baseline.raw_bytes, "raw_bytes", ("smaller", "larger", "size"), ""),
        (baseline.gzip_bytes, "gzip_bytes", ("smaller", "larger", "size after gzip"), " after gzip"),
        (baseline.latency_median_seconds, "latency_median_seconds", ("faster", "slower", "speed"), ""),
    ):
        after = measured.get(name)
        if not (before and after and math.isfinite(before / after) and before / after > 0):
            continue
        ratio = before / after
        spread = untold_spread(measured, vars(baseline)) if name == LATENCIES[0] else None
        if spread is not None:
            clauses.append(("other", f"latency {UNTOLD}, as it varies by {duration(spread)}"))
            continue
        if 1 / EQUAL_RATIO <= ratio <= EQUAL_RATIO:
            clauses.append(("equal", same))
            continue
        word = better if ratio > 1 else worse
        clauses.append(("than", times(max(ratio, 1 / ratio)) + ("" if word == said else f" {word}") + suffix))
        said = word
    metric = next((name for name in scores if name in measured and name in baseline.scores), None)
    if metric is not None and math.isfinite(baseline.scores[metric] - measured[metric]):
        clauses.append(score_clause(metric, baseline.scores[metric], measured[metric]))
        worst = most_lost(baseline.scores, measured, scores)
        if worst and worst != metric:
            clauses.append(score_clause(worst, baseline.scores[worst], measured[worst]))
    return clauses


def score_clause(score: str, before: float, after: float) -> Clause:
    """How a score changed, in the words of its metric: points of one of classes, else both values."""
    output, metric = output_and_metric(score)
    name = (metric.name if metric else score).replace("_", " ") + (f" of {output}" if output else "")
    if abs(after - before) < EQUAL_SCORE:
        return "equal", name
    if metric is None:
        return "other", f"{name} {after:.4g} instead of {before:.4g}"
    worse = metric.drop(before, after) > 0
    points = change(score, abs(after - before)).removeprefix("+")
    if metric.name == "accuracy":
        return "than", f"{points} {'less' if worse else 'more'} accurate{f' in {output}' if output else ''}"
    said = f"{'worse' if worse else 'better'} in {name}"
    return "than", f"{points} {said}" if metric.of_classes else f"{said} ({after:.4g} instead of {before:.4g})"
