"""What a run lost, metric by metric, and what its gates said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tfopt.metrics import output_and_metric
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import AccuracyGate

# The difference below which two scores are called equal.
EQUAL_SCORE = 5e-5


def verdict_of(artifacts: Mapping[str, Artifact], final: str | None) -> str:
    """What the gates said, in a few words: `failed`, or what the final file was allowed to lose and kept to.

    Args:
        artifacts: The artifacts of the run.
        final: The stage of the final file; None where there is none.
    """
    if any(artifact.failed for artifact in artifacts.values()):
        return "failed"
    for artifact in reversed(list(artifacts.values())):
        gate = artifact.details.of(AccuracyGate)
        if gate and gate.max_drop is not None and final in gate.files:
            return f"within the allowed {allowance(gate.metric, gate.max_drop)}"
    return ""


def allowance(score: str, drop: float) -> str:
    """How much worse a score may become, with its name: `1 point of accuracy`, `0.02 of mse`."""
    _, metric = output_and_metric(score)
    name = score.replace("_", " ")
    if metric is None or not metric.of_classes:
        return f"{drop:g} of {name}"
    points = f"{100 * drop:.4g}"
    return f"{points} point{'' if points == '1' else 's'} of {name}"


def worse_by(score: str, before: float, after: float) -> float:
    """How much worse a score became: of a fraction the difference, else its share of the value before.

    Returns:
        Negative where it became better; 0 where that is not known, as of a metric that is not tfopt's own.
    """
    _, metric = output_and_metric(score)
    lost = metric.drop(before, after) if metric else 0.0
    if metric is None or not math.isfinite(lost):
        return 0.0
    return lost if metric.of_classes or not before else lost / abs(before)


def most_lost(before: Mapping[str, float], after: Mapping[str, float], scores: Sequence[str]) -> str:
    """The score that became worse by most; empty where none of them did."""
    lost = {name: worse_by(name, before[name], after[name]) for name in scores if name in before and name in after}
    worst = max(lost, key=lambda name: lost[name], default="")
    return worst if worst and lost[worst] >= EQUAL_SCORE else ""
