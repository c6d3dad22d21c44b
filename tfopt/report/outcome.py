"""What a run came to: its final model, with its figures, and the sentence on top of its page and its model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import AccuracyGate, ClassChanges
from tfopt.report.baseline import Baseline, baseline_of
from tfopt.report.headline import SameClass, sentence
from tfopt.report.verdict import verdict_of

Measured = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Outcome:
    """The final model of a run against the one that the run starts from.

    Args:
        artifact: The last `.tflite`; of a run without one the last model.
        figures: What was measured of it.
        scores: The metrics that were measured of it, the one that counts first.
        baseline: The model one started from; None where the run does not know it.
        same_class: How often it gives the class of another model; None where that was not measured.
        verdict: What the gates said.
    """

    artifact: Artifact
    figures: Mapping[str, float]
    scores: tuple[str, ...]
    baseline: Baseline | None
    same_class: SameClass | None
    verdict: str = ""

    @property
    def metric(self) -> str:
        """The metric that counts; empty where none was measured."""
        return self.scores[0] if self.scores else ""

    @property
    def sentence(self) -> str:
        """What came of the model one started from; empty where nothing is known."""
        return sentence(self.baseline, self.figures, self.scores, self.same_class, self.verdict)


def score_names(artifacts: Mapping[str, Artifact]) -> list[str]:
    """The names of the accuracy metrics, those that gates look at first."""
    gates = [gate.metric for artifact in artifacts.values() if (gate := artifact.details.of(AccuracyGate))]
    scores = [name for artifact in artifacts.values() for name in artifact.scores]
    return list(dict.fromkeys([*(name for name in gates if name in scores), *scores])) or ["accuracy"]


def outcome(artifacts: Mapping[str, Artifact], measured: Measured) -> Outcome | None:
    """What a run came to; None where it made no model.

    Args:
        artifacts: Its artifacts.
        measured: What was measured of each model, by its stage, in the order they were made.
    """
    files = [name for name in measured if artifacts[name].format == "tflite"]
    if not measured:
        return None
    final = artifacts[(files or list(measured))[-1]]
    figures, baseline = measured[final.name], baseline_of(artifacts)
    scores = tuple(name for name in score_names(artifacts) if name in figures)
    same = _same_class(artifacts, final, figures, baseline)
    return Outcome(final, figures, scores, baseline, same, verdict_of(artifacts, final.name))


def _same_class(
    artifacts: Mapping[str, Artifact], final: Artifact, figures: Mapping[str, float], baseline: Baseline | None
) -> SameClass | None:
    """How often the final file gives the class of the model that it is held against, else of the one it was made of."""
    for changes in (one.details.of(ClassChanges) for one in artifacts.values()):
        outputs = list(changes.files.get(final.name, {}).values()) if changes else []
        if changes and outputs:
            against = outputs[0].against
            stage = "" if baseline and against == baseline.name else against
            # Runs of older versions have no share for all outputs together.
            same = changes.same.get(final.name, outputs[0].share if len(outputs) == 1 else None)
            return None if same is None else SameClass(same, stage, len(outputs))
    if "agreement" not in figures:
        return None
    parent = final.parents[0] if final.parents else ""
    return SameClass(figures["agreement"], "" if baseline and parent == baseline.name else parent)
