"""Builds the candidates of a search by stages of a recipe, and measures them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfopt.metrics import score_split
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.search import FrontFile
from tfopt.recipe.export import Export
from tfopt.recipe.modes import closed_form
from tfopt.recipe.stage import Context, Stage
from tfopt.stages.cluster import Cluster
from tfopt.stages.prune import Prune
from tfopt.stages.prune_channels import PruneChannels
from tfopt.stages.quantize import Quantize
from tfopt.stages.scoring import metrics_of
from tfopt.stages.subpipeline import is_made, run_stages
from tfopt.stages.training_stage import TrainingStage

if TYPE_CHECKING:
    from tfopt.metrics import Metric
    from tfopt.search.cost_model import Cost
    from tfopt.search.model_profile import ModelProfile
    from tfopt.search.pareto import Objective, Point
    from tfopt.search.space import Candidate

# The folders, in that of the stage, of the files of all candidates and of those of the Pareto front.
CANDIDATES, FRONT = "candidates", "front"


def shared_training_settings() -> list[str]:
    """The names of training settings that are shared by all candidates."""
    return [name for name in TrainingStage.model_fields if name not in ("name", "after", "epochs")]


class CandidateBuilder:
    """Makes and measures candidates.

    Args:
        source: Artifact of the original model.
        context: Context of the stage.
        profile: Search space, cost model and layer sensitivities of the model.
        metric: The metric to score.
        training: Training settings of all candidates.
        samples: Number of training samples for calibration.
        export: Settings of the files.
        rounding: How integers are chosen; None for the best of the quick ways where a layer has 4 bits.
    """

    def __init__(
        self,
        source: Artifact,
        context: Context,
        profile: ModelProfile,
        metric: Metric,
        training: Mapping[str, Any],
        samples: int,
        export: Export,
        rounding: str | None = None,
    ):
        from tfopt.models import signature

        self.profile, self.metric = profile, metric
        self.folder = context.folder / CANDIDATES
        self._source, self._context, self._samples = source, context, samples
        self._export, self._rounding = export, rounding
        self._training = dict(training)
        if distill := training.get("distill"):  # the model that the search starts from teaches in every stage
            self._training["distill"] = {"teacher": source.name, **dict(distill)}
        split = context.data.validation
        model = context.load(source)
        self.before = score_split(metric, split, signature.keras_outputs(model, split))
        self._metrics = metrics_of(model, context)

    def stages(self, candidate: Candidate, epochs: int) -> list[Stage]:
        """The stages that make a candidate, with the epochs spread over those that train."""
        from tfopt.sparsity.sensitivity import rules

        space, kernels = self.profile.space, self.profile.kernels
        density = rules(kernels, dict(space.by_layer(candidate.density)))
        bits = rules(kernels, dict(space.by_layer(candidate.bits)))
        parts: list[tuple[type[TrainingStage], int, dict[str, Any]]] = []
        if candidate.channels < 1:
            parts.append((PruneChannels, 1, {"keep": candidate.channels, **self.profile.channels}))
        if candidate.keep:
            parts.append((Prune, 3, {"keep": candidate.keep, "only": list(density) or []}))
        elif any(value < 1 for value in density.values()):
            sparsities = [{"layers": path, "sparsity": round(1 - value, 6)} for path, value in density.items()]
            parts.append((Prune, 3, {"sparsity": 0.0, "rules": sparsities, "end": 0.5}))
        if candidate.clusters:
            parts.append((Cluster, 1, {"clusters": candidate.clusters, "only": list(density) or []}))
        lengths = _spread(epochs, [weight for _, weight, _ in parts])
        found: list[Stage] = [
            kind(epochs=length, **settings, **self._training)
            for length, (kind, _, settings) in zip(lengths, parts, strict=True)
        ]
        # A pattern for one layer may match others, which a later rule puts right.
        precisions = [{"layers": path, "to": f"int{width}"} for path, width in bits.items()]
        four = 4 in bits.values()
        settings = {name: getattr(self._export, name) for name in self._export.model_fields_set}
        settings["rounding"] = self._rounding or (closed_form() if four else "nearest")
        found.append(Quantize(**{**settings, "samples": self._samples, "rules": precisions if four else []}))
        return found

    def make(self, candidate: Candidate, epochs: int, number: int) -> tuple[float, float, Cost]:
        """Makes a candidate; returns its score on LiteRT over the validation split, its drop, and its cost."""
        from tfopt.search.model_profile import cost_of, on_device
        from tfopt.tflite import batch_interpreter

        made = self._made(candidate, epochs, number)
        file = made.path
        device = on_device(file.read_bytes(), self._export, made.metrics)
        split = self._context.data.validation
        score = score_split(self.metric, split, batch_interpreter.file_outputs(file, split))
        return score, self.metric.drop(self.before, score), cost_of(file, self._shapes(file), device=device)

    def _made(self, candidate: Candidate, epochs: int, number: int) -> Artifact:
        """Runs the stages of a candidate; returns its last artifact, and removes all files but its own."""
        file = self.folder / f"{number}.tflite"
        folder = self.folder / str(number)
        return run_stages(self.stages(candidate, epochs), self._source, self._context, folder, file)

    def _shapes(self, file: Path) -> Mapping[str, Sequence[int]]:
        from tfopt.tflite.timing_process import sample_shapes

        return sample_shapes(self._context.data.test.few(1).x, file)

    def find(self, number: int) -> bool:
        """Whether the file of a trial is on this machine, as it was made."""
        return is_made(self.folder / f"{number}.tflite")

    def made_again(self, point: Point) -> Point:
        """A point remade and remeasured on this machine, if its file is on another."""
        self._context.progress.step(f"candidate {point.number} is made again: its file is not on this machine")
        score, drop, cost = self.make(point.candidate, point.epochs, point.number)
        return replace(point, score=score, drop=drop, cost=cost)

    def trained(self, candidate: Candidate, epochs: int) -> int:
        """The epochs that the stages of a candidate train in all, at least one each."""
        return sum(stage.epochs for stage in self.stages(candidate, epochs) if isinstance(stage, TrainingStage))

    def row(self, point: Point, file: Path, objective: Objective) -> FrontFile:
        """A point as a row of the front, with its metrics on the test split and the stages that make it."""
        from tfopt.tflite import batch_interpreter

        split = self._context.data.test
        outputs = batch_interpreter.file_outputs(file, split)
        stages = self.stages(point.candidate, point.epochs)
        return FrontFile(
            number=point.number,
            file=f"{FRONT}/{point.number}.tflite",
            epochs=self.trained(point.candidate, point.epochs),
            score=point.score,
            drop=point.drop,
            raw_bytes=point.cost.raw_bytes,
            gzip_bytes=point.cost.gzip_bytes,
            milliseconds=point.cost.milliseconds,
            test={metric.name: score_split(metric, split, outputs) for metric in self._metrics},
            stages=[stage.written() for stage in stages],
            meets=point.meets(objective),
            device=dict(point.cost.device),
        )


def _spread(epochs: int, weights: Sequence[int]) -> list[int]:
    """Spreads epochs over stages by weights: at least one each, `epochs` in all where that is enough."""
    found = [1] * len(weights)
    while sum(found) < epochs and found:
        needy = max(range(len(found)), key=lambda i: weights[i] / found[i])
        found[needy] += 1
    return found
