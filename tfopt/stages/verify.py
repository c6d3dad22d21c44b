"""Stage `verify`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from tfopt.metrics import compare_outputs, score_split
from tfopt.recipe.artifact import TRAINED, Artifact, Format
from tfopt.recipe.details.verification import AccuracyGate, ClassScores, GatedFile
from tfopt.recipe.stage import Context, Need, Stage
from tfopt.stages.changed_classes import MOST_CLASSES, ChangedClasses, classified, labels_of
from tfopt.stages.scoring import check_drop, check_metrics, gated, metrics_of

if TYPE_CHECKING:
    from tfopt.data.splits import Samples
    from tfopt.metrics import Metric, Outputs


class Verify(Stage):
    """Runs every `.tflite` made so far on LiteRT over the whole test split, and holds it to an accuracy gate.

    The gate compares each file with the model that the last `train` stage before it made, or, where there is none, with
    the best Keras model that it descends from: what compression cost, pruning included. Agreement is with the Keras
    model that the file was made from, the one that `qat` trained for its own; what changed class, and which samples,
    is told against the model of the gate.
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
        context.data.check_show()
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
        test = context.data.test
        files: dict[str, dict[str, float]] = {}
        failures = []
        by_class: dict[str, Any] = {}
        compared: dict[str, GatedFile] = {}
        changed = ChangedClasses(context)
        outputs_of = _cached_outputs(context)
        for file in inputs:
            origin = _origin(file, context)
            metrics = metrics_of(context.load(origin), context)
            gate = gated(self.metric, metrics)
            outputs = outputs_of(file)
            measured = {metric.name: score_split(metric, test, outputs) for metric in metrics}
            by_class |= {file.name: found} if (found := _by_class(metrics, test.y, outputs)) else {}
            candidates = [context.artifacts[self.against]] if self.against else _baselines(file, context)
            scores = [(_score(gate, one, test, outputs_of), one.name) for one in candidates]
            before, baseline = (max if gate.higher_is_better else min)(scores)
            after = measured[gate.name]
            drop = gate.drop(before, after)
            compared[file.name] = GatedFile(baseline, before, after, drop)
            files[file.name] = {**measured, **compare_outputs(outputs_of(origin), outputs), "drop": drop}
            changed.add(file.name, baseline, metrics, outputs_of(context.artifacts[baseline]), outputs)
            if self.max_drop is not None and drop > self.max_drop:
                failures.append(
                    f"{file.name} has {gate.name} {after:.4f} on LiteRT, {drop:.4f} worse than the "
                    f"{before:.4f} of {baseline}; the recipe allows {self.max_drop:g}."
                )
        last = inputs[-1]
        return context.artifact(
            self,
            inputs,
            f"../{last.name}/{last.file}",
            metrics=files[last.name],
            scores=tuple(measured),
            files=files,
            details=[
                *([ClassScores.from_json(by_class)] if by_class else []),
                AccuracyGate(gate.name, self.max_drop, compared),
                *changed.detail(),
            ],
            failed=" ".join(failures) or None,
        )


def _origin(file: Artifact, context: Context) -> Artifact:
    """The Keras model that a file was made from: the one that training for it has left beside it, or its parent."""
    trained = file.folder / TRAINED
    return replace(file, file=TRAINED, format="keras") if trained.exists() else context.artifacts[file.parents[0]]


def _cached_outputs(context: Context) -> Callable[[Artifact], Outputs]:
    """The outputs of a model or a file on the test split, as a function; the last few are kept.

    The files of a recipe often have their Keras model, and the one that they are held against, in common.
    """
    from tfopt.models import signature
    from tfopt.tflite import batch_interpreter

    @functools.lru_cache(maxsize=3)
    def computed(path: Path) -> Outputs:
        artifact, test = known[path], context.data.test
        if artifact.format == "tflite":
            return batch_interpreter.file_outputs(path, test)
        return signature.keras_outputs(context.load(artifact), test)

    known: dict[Path, Artifact] = {}

    def outputs_of(artifact: Artifact) -> Outputs:
        known[artifact.path] = artifact
        return computed(artifact.path)

    return outputs_of


def _baselines(file: Artifact, context: Context) -> list[Artifact]:
    """The Keras models that a file descends from; the last trained one alone, if a `train` stage made one."""
    found, artifact = [], file
    while artifact.parents:
        artifact = context.artifacts[artifact.parents[0]]
        if artifact.kind == "train":
            return [artifact]
        found.append(artifact)
    return [artifact for artifact in found if artifact.format == "keras"]


def _score(metric: Metric, artifact: Artifact, test: Samples, outputs_of: Callable[[Artifact], Outputs]) -> float:
    known = artifact.metrics.get(metric.name)
    return score_split(metric, test, outputs_of(artifact)) if known is None else known


def _by_class(metrics: Sequence[Metric], y: Any, outputs: Outputs) -> dict[str, Any]:
    """The scores of each class, for every classified output of at most `MOST_CLASSES` classes."""
    from tfopt.metrics import by_class

    return {
        name: by_class(labels_of(y, name), outputs[name], decision)
        for name, decision in classified(metrics, outputs)
        if outputs[name].shape[-1] <= MOST_CLASSES
    }
