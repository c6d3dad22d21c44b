"""Stage `verify`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from tfopt.metrics import compare_outputs, score_split
from tfopt.recipe.artifact import TRAINED, Artifact, Format
from tfopt.recipe.details.quantization import NoiseRemedy
from tfopt.recipe.details.verification import AccuracyGate, ClassScores, GatedFile
from tfopt.recipe.stage import Context, Need, Outlook, Stage
from tfopt.stages.changed_classes import MOST_CLASSES, ChangedClasses, classified, labels_of
from tfopt.stages.class_labels import small_split_warning
from tfopt.stages.scoring import check_drop, check_gate, check_metrics, gated, metrics_of

if TYPE_CHECKING:
    from tfopt.data.splits import Samples
    from tfopt.metrics import Metric, Outputs

    Predictions = Callable[[Artifact], tuple[list[Metric], Outputs]]


class Verify(Stage):
    """Runs every `.tflite` made so far on LiteRT over the whole test split, and holds it to an accuracy check.

    Each file is compared with the model that the last `train` stage before it made, or, where there is none, with the
    best Keras model that it descends from: what compression cost, pruning included. Agreement is with the Keras model
    that the file was made from, the one that `qat` trained for its own; what changed class, and which samples, is told
    against the first of these two. A file that is within `max_drop` of the first and not of the second is a warning,
    and so are fewer than 100 test samples.
    """

    kind: ClassVar[str] = "verify"
    rank: ClassVar[int] = 11
    version: ClassVar[int] = 4
    takes: ClassVar[Format] = "tflite"
    gives: ClassVar[Format] = "tflite"
    gathers: ClassVar[bool] = True

    max_drop: float | None = Field(None, ge=0)
    """How much worse than the float model a file may be, in the units of the metric (0.01: one point of accuracy).
    A file that is worse ends the run with exit code 3."""
    metric: str | None = None
    """The metric that max_drop is about, if not the first one."""
    against: str | None = None
    """The stage to compare with, if not the usual one."""

    def check_settings(self, outlook: Outlook) -> None:
        """Checks `max_drop`."""
        check_gate(self.max_drop, self.metric, outlook.metrics)

    def check(self, model: Any, context: Context) -> None:
        """Checks the metrics and `max_drop`."""
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
        """Measures each file; a check that fails is in the result's `failed`."""
        test = context.data.test
        files: dict[str, dict[str, float]] = {}
        failures = []
        by_class: dict[str, Any] = {}
        compared: dict[str, GatedFile] = {}
        models: dict[str, dict[str, float]] = {}
        changed = ChangedClasses(context)
        predicted_by = _cached_predictions(context)
        for file in inputs:
            origin = _origin(file, context)
            metrics, predicted = predicted_by(origin)
            _, outputs = predicted_by(file)
            gate = gated(self.metric, metrics)
            measured = {metric.name: score_split(metric, test, outputs) for metric in metrics}
            if origin.name != file.name:
                models[origin.name] = {metric.name: score_split(metric, test, predicted) for metric in metrics}
            by_class |= {file.name: found} if (found := _by_class(metrics, test.y, outputs)) else {}
            candidates = [context.artifacts[self.against]] if self.against else _baselines(file, context)
            scores = [(_score(gate, one, test, predicted_by), one.name) for one in candidates]
            before, baseline = (max if gate.higher_is_better else min)(scores)
            after = measured[gate.name]
            drop = gate.drop(before, after)
            compared[file.name] = GatedFile(baseline, before, after, drop)
            files[file.name] = {**measured, **compare_outputs(predicted, outputs), "drop": drop}
            held_to = functools.partial(_outputs_of, predicted_by, context.artifacts[baseline])
            changed.add(file.name, baseline, metrics, held_to, outputs)
            if self.max_drop is not None and not drop <= self.max_drop:  # NaN is no drop that is allowed
                context.told.append(_remedy(file))
                failures.append(failure(file.name, gate, compared[file.name], self.max_drop))
            elif self.max_drop is not None:
                of_both = (score_split(gate, test, predicted), after)
                context.told.append(_lost_on_the_way(file, origin, gate, of_both, self.max_drop))
            context.told.append(small_split_warning(test, metrics))
        context.told.append(context.data.note)
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
                AccuracyGate(gate.name, self.max_drop, compared, models),
                *changed.detail(),
            ],
            failed=" ".join(failures) or None,
        )


def failure(name: str, metric: Metric, file: GatedFile, max_drop: float) -> str:
    """What a gate says of a file that is too much worse, in points where the metric is a fraction.

    Args:
        name: Name of the stage that made the file.
        metric: The gate's metric.
        file: What the gate compared.
        max_drop: How much worse the file may be.
    """
    if math.isnan(file.drop):
        return (
            f"{name} has {metric.name} {file.after:.4f} on LiteRT, and {file.baseline} has {file.before:.4f}: what is "
            "not a number can be held to no limit. Take another metric, or more test samples."
        )
    if metric.of_classes:
        worse, allowed = f"{100 * file.drop:.2f} points", f"{100 * max_drop:.4g} point{'' if max_drop == 0.01 else 's'}"
    else:
        worse, allowed = f"{file.drop:.4f}", f"{max_drop:g}"
    return (
        f"{name} has {metric.name} {file.after:.4f} on LiteRT, {worse} worse than the {file.before:.4f} of "
        f"{file.baseline}; the recipe allows {allowed}."
    )


def _remedy(file: Artifact) -> str:
    """The settings that make a file less noisy, where they are known and its own warnings do not say them."""
    found = file.details.of(NoiseRemedy)
    if not found or any(found.settings[-1] in sentence for sentence in file.warnings):
        return ""
    settings = f"{file.kind}: {{{', '.join(found.settings)}}}"
    lost = f"{file.name} is noisy, and most is lost in {', '.join(found.layers)}"
    return f"{lost}: {settings} would give {found.snr_db:.1f} dB."


def _lost_on_the_way(file: Artifact, origin: Artifact, gate: Metric, scores: tuple[float, float], most: float) -> str:
    """What is said of a file that the gate lets pass, and that is far worse than the Keras model that it was made from.

    Args:
        file: The file.
        origin: That Keras model.
        gate: The gated metric.
        scores: The metric of the Keras model and of the file.
        most: The drop that the gate allows.
    """
    before, after = scores
    if not (lost := gate.drop(before, after)) > most:
        return ""
    way = f" To hold it to that model write against: {origin.name}." if origin.name != file.name else ""
    return (
        f"{file.name} is within max_drop with {gate.name} {after:.4f} on LiteRT, but the Keras model of {origin.name} "
        f"that it was made from has {before:.4f}: {lost:.4f} are lost on the way to the file, more than max_drop, "
        f"{most:g}.{way}"
    )


def _origin(file: Artifact, context: Context) -> Artifact:
    """The Keras model that a file was made from: the one that training for it has left beside it, or its parent."""
    trained = file.folder / TRAINED
    return replace(file, file=TRAINED, format="keras") if trained.exists() else context.artifacts[file.parents[0]]


def _cached_predictions(context: Context) -> Predictions:
    """The metrics of a Keras model, none of a file, and its outputs on the test split, as a function of the artifact.

    The last few are kept: the files of a recipe often have their Keras model, and the one that they are held against,
    in common.
    """
    from tfopt.models import signature
    from tfopt.tflite import batch_interpreter

    known: dict[Path, Artifact] = {}

    @functools.lru_cache(maxsize=3)
    def computed(path: Path) -> tuple[list[Metric], Outputs]:
        artifact, test = known[path], context.data.test
        if artifact.format == "tflite":
            return [], batch_interpreter.file_outputs(path, test)
        model = context.read(artifact)
        return metrics_of(model, context), signature.keras_outputs(model, test)

    def predicted_by(artifact: Artifact) -> tuple[list[Metric], Outputs]:
        known[artifact.path] = artifact
        return computed(artifact.path)

    return predicted_by


def _baselines(file: Artifact, context: Context) -> list[Artifact]:
    """The Keras models that a file descends from; the last trained one alone, if a `train` stage made one."""
    found, artifact = [], file
    while artifact.parents:
        artifact = context.artifacts[artifact.parents[0]]
        if artifact.kind == "train":
            return [artifact]
        found.append(artifact)
    return [artifact for artifact in found if artifact.format == "keras"]


def _outputs_of(predicted_by: Predictions, artifact: Artifact) -> Outputs:
    return predicted_by(artifact)[1]


def _score(metric: Metric, artifact: Artifact, test: Samples, predicted_by: Predictions) -> float:
    known = artifact.metrics.get(metric.name)
    return score_split(metric, test, _outputs_of(predicted_by, artifact)) if known is None else known


def _by_class(metrics: Sequence[Metric], y: Any, outputs: Outputs) -> dict[str, Any]:
    """The scores of each class, for every classified output of at most `MOST_CLASSES` classes."""
    from tfopt.metrics import by_class

    return {
        name: by_class(labels_of(y, name), outputs[name], decision)
        for name, decision in classified(metrics, outputs)
        if outputs[name].shape[-1] <= MOST_CLASSES
    }
