"""The stages of a first recipe, by what is wanted of the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfopt.drafting.baseline import Baseline

Stages = list[tuple[str, dict[str, Any], str]]

TRAIN = {"epochs": 20, "early_stopping": {}}
CHANNELS = {"keep": 0.7, "of": "flops", "epochs": 10}


@dataclass(frozen=True)
class Situation:
    """What the stages of a recipe are chosen by.

    Args:
        target: The target's name and options, as a recipe has them.
        baseline: How good the model is; None where there are no samples.
        untrained: Whether the model has to be trained first.
        trainable: Whether there are targets to train on.
        cut: Whether channels may be removed.
    """

    target: Any
    baseline: Baseline | None
    untrained: bool
    trainable: bool
    cut: bool = True

    @property
    def target_name(self) -> str:
        """The target without its options."""
        return next(iter(self.target)) if isinstance(self.target, dict) else str(self.target)

    def drop(self, points: float) -> float:
        """The setting `max_drop`; of an untrained model, whose error says nothing, it is one of R squared."""
        known = self.baseline if self.baseline and (self.baseline.higher_is_better or not self.untrained) else None
        return known.allowed_drop(points) if known else points

    def remark(self, points: float, text: str) -> str:
        """The remark on a stage with `max_drop`, with why that is more than the goal's."""
        one = self.baseline is not None and self.baseline.higher_is_better and self.baseline.by_sample > points
        return f"{text}; max_drop is one sample of the few there are" if one else text


@dataclass(frozen=True)
class Goal:
    """What is wanted of a file.

    Args:
        about: The goal in a few words.
        points: How much worse the file may be, of a metric from 0 to 1.
        changes: The stages that change the model or make files, with a remark on each.
    """

    about: str
    points: float
    changes: Callable[[Situation, float], Stages]


def stages_for(goal: Goal, situation: Situation) -> Stages:
    """The stages of a recipe: each its kind, its settings, and a remark; a stage without a remark needs none."""
    stages: Stages = []
    if situation.untrained:
        stages.append(("train", dict(TRAIN), "without this stage the model is taken as it is"))
    stages += goal.changes(situation, goal.points)
    drop = {"max_drop": situation.drop(2 * goal.points)}
    stages.append(("verify", drop, "on the test split; a worse file ends the run with exit code 3"))
    stages.append(("benchmark", _measured(situation), "sizes, latency and memory of each file"))
    return stages


def _measured(situation: Situation) -> dict[str, Any]:
    """The settings of a benchmark: LiteRT, and the target where that tells something of a file."""
    from tfopt.recipe.target import TARGETS

    target = TARGETS[situation.target_name]
    tells = target.cost is not None or target.measure is not None
    return {"targets": ["litert", situation.target]} if tells and target.name != "litert" else {}


def _quantize(situation: Situation, points: float, **more: Any) -> dict[str, Any]:
    target = {} if situation.target == "litert" else {"target": situation.target}
    return {"mode": "int8", "max_drop": situation.drop(points), **more, **target}


def _safe(situation: Situation, points: float) -> Stages:
    remark = situation.remark(points, "layers that lose too much stay in higher precision")
    return [("quantize", _quantize(situation, points), remark)]


def _smallest(situation: Situation, points: float) -> Stages:
    from tfopt.recipe.modes import MODES
    from tfopt.recipe.target import TARGETS

    if not TARGETS[situation.target_name].runs(MODES["int4"]):
        return [("quantize", _quantize(situation, points), f"{situation.target_name} does not run int4")]
    settings = _quantize(situation, points, goal="smallest")
    return [("quantize", settings, situation.remark(points, "as many layers in 4 bits as max_drop allows"))]


def _fastest(situation: Situation, points: float) -> Stages:
    stages = _safe(situation, points)
    if situation.trainable and situation.cut:
        target = {} if situation.target == "litert" else {"target": situation.target}
        stages.insert(
            0, ("prune_channels", {**CHANNELS, **target}, "channels go, and what is left trains: faster anywhere")
        )
    return stages


GOALS = {
    "safe": Goal("int8 where it is harmless, within half a point of the metric", 0.005, _safe),
    "smallest": Goal("as few bytes as a point of the metric allows", 0.01, _smallest),
    "fastest": Goal("fewer channels, then int8, within a point of the metric", 0.01, _fastest),
}
