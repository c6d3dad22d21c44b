"""The sentence at the top of a report: what came of it against the model one started from, in either direction."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tfopt.report.baseline import LATENCIES, Baseline, as_fast
from tfopt.report.units import share, times

START = "the model you started from"
Clause = tuple[Literal["than", "equal", "other"], str]
# Fractions of samples, whose differences people call points.
SHARES = re.compile(r"(^|_)(accuracy|top_\d+)$")
# Ratios and differences below which two figures are called equal.
EQUAL_RATIO, EQUAL_SCORE = 1.005, 5e-5


@dataclass(frozen=True)
class SameClass:
    """How often a file gives the class that another model gives.

    Args:
        share: The fraction of the test samples, 0-1.
        stage: The stage that made the other model; empty for the model one started from.
    """

    share: float
    stage: str = ""

    @property
    def words(self) -> str:
        """The clause of the sentence."""
        whose = f" as the Keras model of {self.stage}" if self.stage else ""
        return f"same class{whose} on {share(self.share)} of the test samples"


def sentence(
    baseline: Baseline | None,
    measured: Mapping[str, float],
    scores: tuple[str, ...],
    same_class: SameClass | None = None,
) -> str:
    """The sentence, each clause only where its figures are known; empty where none are.

    Args:
        baseline: The model one started from.
        measured: What was measured of the final file.
        scores: Names of its accuracy metrics, the gated one first.
        same_class: How often it gives the same class as another model.
    """
    clauses = comparison(baseline, measured, scores) if baseline else []
    differ, equal, other = ([what for tone, what in clauses if tone == own] for own in ("than", "equal", "other"))
    text = f"{', '.join(differ)} than {START}" if differ else ""
    if equal:
        same = " and ".join(equal)
        text = f"{text}, with equal {same}" if text else f"equal in {same} to {START}"
    text += f"{', ' if text else ''}{', '.join(other)}" if other else ""
    if same_class:
        text += f"{'; ' if text else ''}{same_class.words}"
    return f"{text[0].upper()}{text[1:]}." if text else ""


def comparison(baseline: Baseline, measured: Mapping[str, float], scores: tuple[str, ...]) -> list[Clause]:
    """The clauses against the model one started from: bytes, bytes after gzip, latency, the gated metric.

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
        within = name == LATENCIES[0] and as_fast(measured, vars(baseline))
        if within or 1 / EQUAL_RATIO <= ratio <= EQUAL_RATIO:
            clauses.append(("equal", same))
            continue
        word = better if ratio > 1 else worse
        clauses.append(("than", times(max(ratio, 1 / ratio)) + ("" if word == said else f" {word}") + suffix))
        said = word
    metric = next((name for name in scores if name in measured and name in baseline.scores), None)
    if metric is not None and math.isfinite(baseline.scores[metric] - measured[metric]):
        clauses.append(change(metric, baseline.scores[metric], measured[metric]))
    return clauses


def change(metric: str, before: float, after: float) -> Clause:
    """How a metric changed, in its own words: points of accuracy, else both values."""
    name, difference = metric.replace("_", " "), after - before
    if abs(difference) < EQUAL_SCORE:
        return "equal", name
    better = higher_is_better(metric)
    worse = better is not None and (difference < 0) == better
    word = "worse" if worse else "better"
    if SHARES.search(metric):
        plain = "accurate" if metric.split("_")[-1] == "accuracy" else f"{word} in {name}"
        direction = ("less " if worse else "more ") if plain == "accurate" else ""
        output = metric.removesuffix("accuracy").strip("_")
        where = f" in {output}" if plain == "accurate" and output else ""
        return "than", f"{abs(difference) * 100:.2f} points {direction}{plain}{where}"
    if better is None:
        return "other", f"{name} {after:.4g} instead of {before:.4g}"
    return "than", f"{word} in {name} ({after:.4g} instead of {before:.4g})"


def higher_is_better(metric: str) -> bool | None:
    """Whether a larger value of a metric is the better one; None for a metric that is not tfopt's own.

    Args:
        metric: Its name, with an output's name in front where the model has several.
    """
    from tfopt.errors import InputError
    from tfopt.metrics import find

    words = metric.split("_")
    for start in range(len(words)):
        try:
            return find("_".join(words[start:])).higher_is_better
        except InputError:
            continue
    return None
