"""Stage `prune`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import field_validator

from tfopt.errors import InputError
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.training import KernelSparsity, SparsityRecords, TrainingHistory
from tfopt.recipe.stage import Context
from tfopt.sparsity.pruning_config import PruningConfig
from tfopt.sparsity.schedules import SCHEDULES
from tfopt.stages.training_stage import TrainingStage


class Prune(PruningConfig, TrainingStage):
    """Sets the smallest weights of each kernel to zero while training goes on (TF-MOT's magnitude pruning).

    It takes a trained model or one with random weights, whatever the stage before left.
    """

    kind: ClassVar[str] = "prune"
    rank: ClassVar[int] = 4
    version: ClassVar[int] = 2

    @field_validator("schedule", mode="before")
    @classmethod
    def _is_a_word(cls, schedule: Any) -> Any:
        if not isinstance(schedule, str):
            raise ValueError(f"a recipe's schedule is {', '.join(map(repr, SCHEDULES))}. Received: {schedule!r}")
        return schedule

    def check(self, model: Any, context: Context) -> None:
        """Resolves the patterns and builds the schedule."""
        total = self.epochs * self.epoch_steps(context)
        _, schedule = self._callback().choose(model, total)
        if schedule.end_step > total:
            late = "begin" if schedule.begin_step > total or schedule.begin_step == schedule.end_step else "end"
            raise InputError(
                f"pruning would go on to step {schedule.end_step}, and the stage has only {total}. Lower {late} or "
                "raise epochs.",
                (late,),
            )
        super().check(model, context)

    def training(self, context: Context) -> Any:
        """The training settings; with rewinding a learning rate schedule spans the longest run of steps."""
        from tfopt.sparsity.rewinding import Rewinding

        settings = super().training(context)
        if not self.rewind:
            return settings
        total = self.epochs * self.epoch_steps(context)
        schedule = self._callback().schedule_for(total)
        prunings = getattr(schedule, "steps", [schedule.end_step])
        longest = max(after - before for before, after in itertools.pairwise([*prunings, total]))
        to = Rewinding(self.rewind, self.rewind_to).step(total)
        return replace(settings, decay_steps=max(prunings[0], to + longest))

    def _callback(self) -> Any:
        from tfopt.sparsity.pruning_callback import MagnitudePruning

        settings = {name: getattr(self, name) for name in PruningConfig.model_fields if name != "rules"}
        return MagnitudePruning(rules=[(rule.layers, rule.sparsity) for rule in self.rules], **settings)

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Trains with the callback and saves."""
        from tfopt.models.weight_statistics import snapshot
        from tfopt.sparsity.sparsity_log import SparsityLog

        model, pruning = context.load(inputs[0]), self._callback()
        before = snapshot(model)
        pruning.quiet = True  # `skipped` of the result says it
        logged = not context.devices or context.devices.runtime.tensorboard
        log = SparsityLog(context.folder / "tensorboard" if logged else None, prunable=self.prunable)
        history = self.fit(model, inputs, context, pruning, log)
        records = SparsityRecords.from_json(log.history)
        details = [TrainingHistory(history), KernelSparsity(pruning.sparsity()), records]
        return self.sparse_artifact(model, inputs, context, pruning.skipped, details, before)
