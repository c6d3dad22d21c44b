"""Stage `verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from tfopt.artifact import Artifact, Format
from tfopt.stages.base import Context, Need, Stage
from tfopt.stages.fitting import check_drop, check_metrics, metrics_of


class Verify(Stage):
    """Runs every `.tflite` made so far on LiteRT over the whole test split, and holds it to an accuracy gate.

    The gate compares each file with the model that the last `train` stage before it made, or, where there is none, with
    the best Keras model that it descends from: what compression cost, pruning included.
    """

    kind: ClassVar[str] = "verify"
    takes: ClassVar[Format] = "tflite"
    gives: ClassVar[Format] = "tflite"
    gathers: ClassVar[bool] = True

    max_drop: float | None = Field(None, ge=0)
    """How much worse than the float model a file may be, in the units of the metric (0.01: one point of accuracy).
    A file that is worse ends the run with exit code 3."""
    against: str | None = None
    """The stage to compare with, if not the usual one."""

    def check(self, model: Any, context: Context) -> None:
        """Tries the metrics, and holds the gate against them."""
        check_metrics(model, context)
        check_drop(self.max_drop, metrics_of(model, context)[0])

    def needs(self) -> Mapping[str, Need]:
        """The stage to compare with."""
        return {self.against: Need(("against",))} if self.against else {}

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Measures each file; a gate that is not met is in the result's `failed`."""
        from tfopt import evaluate

        test = context.data.test
        files: dict[str, dict[str, float]] = {}
        failures = []
        for file in inputs:
            parent = context.artifacts[file.parents[0]]
            keras_model = context.load(parent)
            outputs = evaluate.file_outputs(file.path, test.x)
            metrics = metrics_of(keras_model, context)
            measured = {metric.name: evaluate.score(metric, test, outputs) for metric in metrics}
            candidates = [context.artifacts[self.against]] if self.against else _baselines(file, context)
            scores = [(_score(metrics[0], candidate, context), candidate.name) for candidate in candidates]
            before, baseline = (max if metrics[0].higher_is_better else min)(scores)
            after = measured[metrics[0].name]
            drop = metrics[0].drop(before, after)
            files[file.name] = {
                **measured,
                **evaluate.compare(evaluate.keras_outputs(keras_model, test.x), outputs),
                "drop": drop,
            }
            if self.max_drop is not None and drop > self.max_drop:
                failures.append(
                    f"{file.name} has {metrics[0].name} {after:.4f} on LiteRT, {drop:.4f} worse than the "
                    f"{before:.4f} of {baseline}; the recipe allows {self.max_drop:g}."
                )
        return context.artifact(
            self,
            inputs,
            f"../{inputs[-1].name}/{inputs[-1].file}",
            metrics=files[inputs[-1].name],
            files=files,
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
    from tfopt import evaluate

    if metric.name in artifact.metrics:
        return artifact.metrics[metric.name]
    x = context.data.test.x
    if artifact.format == "tflite":
        return evaluate.score(metric, context.data.test, evaluate.file_outputs(artifact.path, x))
    return evaluate.score(metric, context.data.test, evaluate.keras_outputs(context.load(artifact), x))
