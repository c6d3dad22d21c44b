"""The sentence at the top of a report: what came of it against the model one started from, in either direction."""

from __future__ import annotations

from collections.abc import Mapping

from tfopt.report.baseline import Baseline
from tfopt.report.units import times

# Fractions of samples, whose differences people call points.
SHARES = ("accuracy", "balanced_accuracy", "top_")
# Ratios and differences below which two figures are called equal.
EQUAL_RATIO, EQUAL_SCORE = 1.005, 5e-5


def sentence(baseline: Baseline | None, measured: Mapping[str, float], scores: tuple[str, ...]) -> str:
    """The sentence, each clause only where its figures are known; empty where none are.

    Args:
        baseline: The model one started from.
        measured: What was measured of the final file.
        scores: Names of its accuracy metrics, the gated one first.
    """
    clauses = comparison(baseline, measured, scores) if baseline else []
    text = ", ".join(clauses) + (" than the model you started from" if clauses else "")
    if "agreement" in measured:
        text += f"{'; ' if text else ''}same class on {share(measured['agreement'])} of the test samples"
    return f"{text[0].upper()}{text[1:]}." if text else ""


def comparison(baseline: Baseline, measured: Mapping[str, float], scores: tuple[str, ...]) -> list[str]:
    """The clauses against the model one started from: bytes, bytes after gzip, latency, the gated metric."""
    pairs = (
        (baseline.raw_bytes, "raw_bytes", ("smaller", "larger", "the same size"), ""),
        (baseline.gzip_bytes, "gzip_bytes", ("", "larger", "the same size"), " after gzip"),
        (baseline.latency_median_seconds, "latency_median_seconds", ("faster", "slower", "just as fast"), ""),
    )
    clauses = []
    for before, name, words, suffix in pairs:
        after = measured.get(name)
        if before and after:
            better, worse, same = words
            ratio = before / after
            if name == "gzip_bytes" and ratio > EQUAL_RATIO and not (clauses and "smaller" in clauses[0]):
                better = "smaller"
            word = better if ratio > EQUAL_RATIO else worse if ratio < 1 / EQUAL_RATIO else same
            figure = "" if word == same else times(max(ratio, 1 / ratio))
            clauses.append(" ".join(filter(None, (figure, word))) + suffix)
    metric = next((name for name in scores if name in measured and name in baseline.scores), None)
    if metric is not None:
        clauses.append(change(metric, baseline.scores[metric], measured[metric]))
    return clauses


def change(metric: str, before: float, after: float) -> str:
    """How a metric changed, in its own words: points of accuracy, else both values."""
    name, difference = metric.replace("_", " "), after - before
    if abs(difference) < EQUAL_SCORE:
        return f"equal {name}"
    better = higher_is_better(metric)
    worse = better is not None and (difference < 0) == better
    word = "worse" if worse else "better"
    if _is_share(metric):
        plain = "accurate" if metric.split("_")[-1] == "accuracy" else f"{word} in {name}"
        direction = ("less " if worse else "more ") if plain == "accurate" else ""
        output = metric.removesuffix("accuracy").strip("_")
        where = f" in {output}" if plain == "accurate" and output else ""
        return f"{abs(difference) * 100:.2f} points {direction}{plain}{where}"
    values = f"{name} {after:.4g} instead of {before:.4g}"
    return values if better is None else f"{word} in {name} ({after:.4g} instead of {before:.4g})"


def share(value: float) -> str:
    """A share of samples: 99.4%, and 100% only where it is all of them."""
    if value == 1:
        return "100%"
    return f"{min(value, 0.9999):.2%}" if value > 0.9949 else f"{value:.1%}"


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


def _is_share(metric: str) -> bool:
    return metric.endswith("accuracy") or any(part in f"_{metric}" for part in ("_top_",))
