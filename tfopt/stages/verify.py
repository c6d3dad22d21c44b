"""Stage `verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from tfopt.metrics import compare_outputs, score_split
from tfopt.recipe.artifact import TRAINED, Artifact, Format
from tfopt.recipe.details.verification import AccuracyGate, ClassScores, GatedFile
from tfopt.recipe.stage import Context, Need, Stage
from tfopt.stages.scoring import check_drop, check_metrics, gated, metrics_of

if TYPE_CHECKING:
    from tfopt.metrics import Metric

# Largest number of classes that are reported one by one.
MOST_CLASSES = 100


class Verify(Stage):
    """Runs every `.tflite` made so far on LiteRT over the whole test split, and holds it to an accuracy gate.

    The gate compares each file with the model that the last `train` stage before it made, or, where there is none, with
    the best Keras model that it descends from: what compression cost, pruning included. Agreement is with the Keras
    model that the file was made from, the one that `qat` trained for its own.
    """

    kind: ClassVar[str] = "verify"
    rank: ClassVar[int] = 11
    version: ClassVar[int] = 2
    takes: ClassVar[Format] = "tflite"
    gives: ClassVar[Format] = "tflite"
    gathers: ClassVar[bool] = True

    max_drop: float | None = Field(None, ge=0)
    """How much worse than the float model a file may be, in the units of the metric (0.01: one point of accuracy).
    A file that is worse ends the run with exit code 3."""
    metric: str | None = None
    """The metric that the gate looks at, if not the first one."""
    against: str | None = None
    """The stage to compare with, if not the usual one."""

    def check(self, model: Any, context: Context) -> None:
        """Checks the metrics and the gate."""
        check_metrics(model, context)
        check_drop(self.max_drop, gated(self.metric, metrics_of(model, context)))

    def needs(self) -> Mapping[str, Need]:
        """The stage to compare with."""
        return {self.against: Need(("against",))} if self.against else {}

    def judges(self) -> bool:
        """With `max_drop`."""
        return self.max_drop is not None

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Measures each file; a gate that is not met is in the result's `failed`."""
        from tfopt.models import signature
        from tfopt.tflite import batch_interpreter

        test = context.data.test
        files: dict[str, dict[str, float]] = {}
        failures = []
        by_class: dict[str, Any] = {}
        compared: dict[str, GatedFile] = {}
        gate_name = self.metric or ""
        for file in inputs:
            parent = context.artifacts[file.parents[0]]
            trained = file.folder / TRAINED
            keras_model = context.load(replace(file, file=TRAINED) if trained.exists() else parent)
            outputs = batch_interpreter.file_outputs(file.path, test)
            metrics = metrics_of(keras_model, context)
            gate = gated(self.metric, metrics)
            measured = {metric.name: score_split(metric, test, outputs) for metric in metrics}
            by_class |= {file.name: found} if (found := _by_class(metrics, test.y, outputs)) else {}
            candidates = [context.artifacts[self.against]] if self.against else _baselines(file, context)
            scores = [(_score(gate, candidate, context), candidate.name) for candidate in candidates]
            before, baseline = (max if gate.higher_is_better else min)(scores)
            after = measured[gate.name]
            drop = gate.drop(before, after)
            compared[file.name] = GatedFile(baseline, before, after, drop)
            gate_name = gate.name
            files[file.name] = {
                **measured,
                **compare_outputs(signature.keras_outputs(keras_model, test), outputs),
                "drop": drop,
            }
            if self.max_drop is not None and drop > self.max_drop:
                failures.append(
                    f"{file.name} has {gate.name} {after:.4f} on LiteRT, {drop:.4f} worse than the "
                    f"{before:.4f} of {baseline}; the recipe allows {self.max_drop:g}."
                )
        return context.artifact(
            self,
            inputs,
            f"../{inputs[-1].name}/{inputs[-1].file}",
            metrics=files[inputs[-1].name],
            scores=tuple(measured),
            files=files,
            details=[
                *([ClassScores.from_json(by_class)] if by_class else []),
                AccuracyGate(gate_name, self.max_drop, compared),
            ],
            failed=" ".join(failures) or None,
        )


def _baselines(file: Artifact, context: Context) -> list[Artifact]:
    """The Keras models that a file descends from; the last trained one alone, if a `train` stage made one."""
    found, artifact = [], file
    while artifact.parents:
        artifact = context.artifacts[artifact.parents[0]]
        if artifact.kind == "train":
            return [artifact]
        found.append(artifact)
    return [artifact for artifact in found if artifact.format == "keras"]


def _score(metric: Any, artifact: Artifact, context: Context) -> float:
    from tfopt.models import signature
    from tfopt.tflite import batch_interpreter

    if metric.name in artifact.metrics:
        return artifact.metrics[metric.name]
    test = context.data.test
    if artifact.format == "tflite":
        return score_split(metric, test, batch_interpreter.file_outputs(artifact.path, test))
    return score_split(metric, test, signature.keras_outputs(context.load(artifact), test))


def _by_class(metrics: Sequence[Metric], y: Any, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of each class, for every classified output of at most `MOST_CLASSES` classes."""
    from tfopt.metrics import by_class

    found: dict[str, Any] = {}
    for output, decisions in dict.fromkeys(
        (metric.output, metric.decisions) for metric in metrics if metric.of_classes
    ):
        name = output or next(iter(outputs))
        labels = y[name] if isinstance(y, dict) else y
        if outputs[name].shape[-1] <= MOST_CLASSES:
            found[name] = by_class(labels, outputs[name], dict(decisions).get(name))
    return found
