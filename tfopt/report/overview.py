"""The first picture of a report: the metric against the bytes, the stages as steps from the start to the file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tfopt.metrics import output_and_metric
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.search import SearchOutcome
from tfopt.recipe.details.training import ChannelRemoval
from tfopt.recipe.details.verification import AccuracyGate
from tfopt.report.baseline import Baseline
from tfopt.report.blocks import Figure
from tfopt.report.charts import Key, Limit, Point, Scatter
from tfopt.report.outcome import Measured
from tfopt.report.units import bytes_

Place = tuple[float, float]
SIZES = {"raw_bytes": "bytes of the file", "gzip_bytes": "bytes of the file after gzip -9"}
# Models that the picture shows, the last ones.
SHOWN = 24
# The least range of the axis of a share: on a shorter one a difference of a thousandth looks like a cliff.
SPAN = 0.05
# Kinds of stages that leave the number of parameters as it is.
SAME_SHAPE = ("train", "prune", "cluster", "qat")


@dataclass(frozen=True)
class Overview:
    """What the picture is made of.

    Args:
        artifacts: The artifacts of the run.
        measured: What was measured of each model, by its stage.
        metric: The metric that counts.
        baseline: The model one started from.
        final: The stage of the final file.
    """

    artifacts: Mapping[str, Artifact]
    measured: Measured
    metric: str
    baseline: Baseline | None
    final: str

    @cached_property
    def size(self) -> str:
        """The size that counts: that of a search's budget, else the file's own."""
        found = self.artifacts[self.final].details.of(SearchOutcome)
        limited = [name for name in SIZES if found and name == found.wish.size_name and name in found.limits]
        return limited[0] if limited else "raw_bytes"

    @property
    def base(self) -> float | None:
        """The size of the model one started from."""
        return getattr(self.baseline, self.size) if self.baseline else None

    def figure(self) -> Figure | None:
        """The picture; None where fewer than two models have both figures."""
        files, models = self._files(), self._models()
        start = self._start()
        points = [start] if start and (start.x, start.y) not in files.values() else []
        points += [
            self._point(name, place, "hollow s7", "in float32, by its parameters") for name, place in models.items()
        ]
        points += self._front()
        points += [self._point(name, place, "s0") for name, place in files.items() if name != self.final]
        points += [self._point(self.final, files[self.final], "chosen")] if self.final in files else []
        if len(points) < 2:
            return None
        places = models | files
        steps = [way for name in places if len(set(way := self._way(name, places, start))) > 1]
        hollow = [Key("a Keras model, at the size of its float32 file", "s7 hollow", line=False)] if models else []
        before = [Key("the model you started from", "s7", line=False)] if points[0] is start else []
        others = [Key("a file", "s0", line=False)] if any(point.style == "s0" for point in points) else []
        _, metric = output_and_metric(self.metric)
        share = metric is not None and metric.of_classes
        chart = Scatter(
            f"{self.metric} against bytes of {', '.join(point.label for point in points if point.label)}",
            points,
            f"{SIZES[self.size]} (log scale)",
            self.metric,
            log_x=True,
            steps=steps,
            limits=self._limits(),
            keys=[*before, *hollow, *others, Key("the chosen file", "chosen", line=False)],
            height=350,
            span_y=self._span() if share else 0.0,
            ends_y=(0.0, 1.0) if share else (-math.inf, math.inf),
        )
        return Figure(chart, "Step by step from the model you started from to the file.")

    def _span(self) -> float:
        """The least range of a share's axis: twice what the gate lets pass."""
        gates = (artifact.details.of(AccuracyGate) for artifact in self.artifacts.values())
        allowed = [gate.max_drop for gate in gates if gate and gate.max_drop and gate.metric == self.metric]
        return max([SPAN, *(2 * drop for drop in allowed)])

    def _point(self, name: str, place: Place, style: str, note: str = "") -> Point:
        size, score = place
        said = f"{name}: {self.metric} {score:.4f}, {bytes_(size)}{f' {note}' if note else ''}"
        return Point(size, score, said, name, style, 6)

    def _start(self) -> Point | None:
        if self.base is None or self.baseline is None or self.metric not in self.baseline.scores:
            return None
        return self._point("start", (self.base, self.baseline.scores[self.metric]), "s7")

    def _files(self) -> dict[str, Place]:
        """The files with both figures."""
        shown = list(self.measured.items())[-SHOWN:]
        return {
            name: (figures[self.size], figures[self.metric])
            for name, figures in shown
            if self.size in figures and self.metric in figures
        }

    def _models(self) -> dict[str, Place]:
        """The Keras models on the way, at the size that their weights have in float32."""
        found: dict[str, Place] = {}
        if self.baseline is None or self.base is None or self.size != "raw_bytes":
            return {}
        for name, artifact in list(self.artifacts.items())[-SHOWN:]:
            share = self._parameters(artifact) if artifact.format == "keras" and name != self.baseline.name else None
            if share is not None and self.metric in artifact.metrics:
                found[name] = (self.base * share, artifact.metrics[self.metric])
        return found

    def _parameters(self, artifact: Artifact) -> float | None:
        """The fraction of the start's parameters that a model has; None where it is not known."""
        share = 1.0
        while self.baseline and artifact.name != self.baseline.name:
            removal = artifact.details.of(ChannelRemoval)
            if removal and removal.layers:
                before, after = (sum(layer.parameters[index] for layer in removal.layers) for index in (0, 1))
                share *= after / before if before else 1.0
            elif artifact.kind not in SAME_SHAPE:
                return None
            if not artifact.parents or artifact.parents[0] not in self.artifacts:
                return None
            artifact = self.artifacts[artifact.parents[0]]
        return share

    def _front(self) -> list[Point]:
        """The other files of a search's front, on the test split."""
        found = self.artifacts[self.final].details.of(SearchOutcome)
        rest = [one for one in found.front if one.number != found.chosen and self.metric in one.test] if found else []
        return [
            Point(
                getattr(one, self.size),
                one.test[self.metric],
                f"{one.file}: {self.metric} {one.test[self.metric]:.4f}, {bytes_(getattr(one, self.size))}",
                style="s0",
                size=4,
            )
            for one in rest[-SHOWN:]
        ]

    def _way(self, name: str, places: Mapping[str, Place], start: Point | None) -> Sequence[Place]:
        """The line to a model from the nearest one that it was made of and that has a place, else from the start."""
        at = self.artifacts[name]
        while at.parents and at.parents[0] in self.artifacts:
            at = self.artifacts[at.parents[0]]
            if at.name in places:
                return [places[at.name], places[name]]
        return [(start.x, start.y), places[name]] if start else [places[name]]

    def _limits(self) -> list[Limit]:
        """The budget of a search, in bytes of the file, and the least metric that the gate lets pass."""
        found = []
        for artifact in self.artifacts.values():
            outcome = artifact.details.of(SearchOutcome)
            if outcome and (budget := outcome.limits.get(self.size)):
                found.append(Limit("x", budget, f"budget {bytes_(budget)}"))
            gate = artifact.details.of(AccuracyGate)
            if gate and gate.max_drop is not None and gate.metric == self.metric and self.final in gate.files:
                _, metric = output_and_metric(gate.metric)
                sign = 1 if metric is None or metric.higher_is_better else -1
                least = gate.files[self.final].before - sign * gate.max_drop
                found.append(Limit("y", least, f"{'least' if sign > 0 else 'most'} allowed {least:.4f}"))
        return found
