"""What the records of a failed gate advise by themselves: settings that were measured, and how a drop was used up."""

from __future__ import annotations

from collections.abc import Mapping

from tfopt.metrics import output_and_metric
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import NoiseRemedy
from tfopt.report.blocks import Code, Text


def remedy_of(artifact: Artifact) -> list[Text]:
    """The settings, measured when the file was made, that make it less noisy; none where there are none."""
    found = artifact.details.of(NoiseRemedy)
    if not found:
        return []
    settings = f"{artifact.kind}: {{{', '.join(found.settings)}}}"
    now = artifact.metrics.get("calibration_snr_db")
    instead = "" if now is None else f" instead of {now:.1f} dB"
    most = f"most is lost in {', '.join(found.layers)}"
    return [(f"{artifact.name} is noisy, and {most}: ", Code(settings), f" would give {found.snr_db:.1f} dB{instead}.")]


def shares(name: str, score: str, allowed: float, losses: Mapping[str, float]) -> list[Text]:
    """How much of the drop that is allowed the stages before a file's have used up; none where it is less than half.

    Args:
        name: Name of the stage that made the file.
        score: The metric of the gate, which the file failed.
        allowed: How much worse the file may be.
        losses: What each stage between the compared model and the file lost, the file's own last.
    """
    before = {stage: lost for stage, lost in losses.items() if stage != name}
    used = sum(before.values())
    if not before or name not in losses or used < allowed / 2 or not allowed:
        return []
    left = allowed - used
    _, metric = output_and_metric(score)
    fraction = metric is not None and metric.of_classes

    def points(value: float) -> str:
        return f"{100 * value:.2f}" if fraction else f"{value:.4g}"

    unit = " points" if fraction else f" of {score}"
    who = " and ".join(before)
    have = "have" if len(before) > 1 else "has"
    rest = f"leaves {points(left)}" if left > allowed * 1e-6 else "leaves nothing"
    return [
        (
            f"{who} {have} used {points(used)} of the {points(allowed)}{unit} that are allowed in all, which {rest} "
            f"for {name}, where {points(losses[name])} were lost: lose less in {who}, or raise ",
            Code("max_drop"),
            " of the stage that compares.",
        )
    ]
