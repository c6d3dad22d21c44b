"""Stage `prune`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from tfopt.errors import InputError
from tfopt.recipe.artifact import TENSORBOARD, Artifact
from tfopt.recipe.details.detail import Detail
from tfopt.recipe.details.training import KernelSparsity, SparsityRecords, TrainingHistory
from tfopt.recipe.settings import OneOf
from tfopt.recipe.stage import Context, Stage
from tfopt.sparsity.methods import METHODS
from tfopt.sparsity.pruning_config import PruningConfig
from tfopt.sparsity.schedules import SCHEDULES
from tfopt.stages.training_stage import TrainingStage


class Prune(PruningConfig, TrainingStage):
    """Sets the smallest weights of each kernel to zero while training goes on (TF-MOT's magnitude pruning).

    It takes a trained model or one with random weights, whatever the stage before left. `method: sparsegpt` prunes a
    trained one at once, on samples and before any training: {sparsity: 0.6, schedule: one_shot, method: sparsegpt,
    epochs: 0} does not train at all, and with epochs the training goes on from there, with the zeros held.
    """

    kind: ClassVar[str] = "prune"
    rank: ClassVar[int] = 4
    version: ClassVar[int] = 2

    epochs: int = Field(ge=0)
    """Passes over the training data; 0 prunes once, without any training, with `schedule: one_shot`."""
    method: Annotated[str, OneOf(METHODS)] = "magnitude"
    """How weights are chosen, and whether those that stay make up for the others. Where few epochs follow, sparsegpt is
    the better start: LeNet-5 has an accuracy of .984 on MNIST one epoch after it at 80% of zeros, and .976 after two
    epochs of pruning step by step; at 90%, .961 and .942."""
    samples: int = Field(500, ge=1)
    """Training samples, of all classes, that `sparsegpt` looks at; labels are not used."""

    @field_validator("schedule", mode="before")
    @classmethod
    def _is_a_word(cls, schedule: Any) -> Any:
        if not isinstance(schedule, str):
            raise ValueError(f"a recipe's schedule is {', '.join(map(repr, SCHEDULES))}. Received: {schedule!r}")
        return schedule

    @model_validator(mode="after")
    def _prunes_once(self) -> Prune:
        """Refuses what means nothing where pruning is not a part of the training."""
        needs_samples = METHODS[self.method].needs_samples
        if not needs_samples and self._is_given("samples"):
            raise ValueError(f"samples means nothing with method: {self.method}. Leave it out")
        if self.epochs and not needs_samples:
            return self
        why = f"method: {self.method}" if needs_samples else "epochs: 0"
        if self.schedule_kind is not SCHEDULES["one_shot"]:
            raise ValueError(f"{why} prunes once. Write schedule: one_shot. Received: schedule={self.schedule!r}")
        names = ["begin", "rewind"]
        if not self.epochs:
            why = "epochs: 0, which does not train"
            names += [name for name in TrainingStage.model_fields if name not in ("epochs", *Stage.model_fields)]
        for name in names:
            if self._is_given(name):
                raise ValueError(f"{name} means nothing with {why}. Leave it out")
        return self

    def check(self, model: Any, context: Context) -> None:
        """Resolves the patterns and builds the schedule."""
        total = max(self.epochs, 1) * self.epoch_steps(context)
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
        if METHODS[self.method].needs_samples:  # it has pruned before the first step, whose zeros are the masks
            settings |= {"begin": 1, "start_step": 1}
        return MagnitudePruning(rules=[(rule.layers, rule.sparsity) for rule in self.rules], **settings)

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Prunes at once where the settings say so, trains with the callback, and saves."""
        from tfopt.models.weight_statistics import snapshot

        model = context.load(inputs[0])
        before = snapshot(model)
        skipped: dict[str, str] = {}
        details: list[Detail] = []
        if not self.epochs or METHODS[self.method].needs_samples:
            once = self._prune_at_once(model, context)
            skipped, details = dict(once.skipped), [KernelSparsity(once.sparsity)]
        if self.epochs:
            pruning, trained = self._train(model, inputs, context)
            skipped, details = dict(pruning.skipped) | skipped, trained
        return self.sparse_artifact(model, inputs, context, list(skipped.items()), details, before)

    def _prune_at_once(self, model: Any, context: Context) -> Any:
        from tfopt.sparsity.one_shot.pruning import prune_by

        needs_samples = METHODS[self.method].needs_samples
        x = context.data.train.choose_of_all(self.samples, context.seed, 0x5BA25E).x if needs_samples else None
        return prune_by(self, model, self.method, x)

    def _train(self, model: Any, inputs: Sequence[Artifact], context: Context) -> tuple[Any, list[Detail]]:
        """Trains with the pruning callback; the callback, and the details of the training."""
        from tfopt.sparsity.sparsity_log import SparsityLog

        pruning = self._callback()
        pruning.quiet = True  # `skipped` of the result says it
        logged = not context.devices or context.devices.runtime.tensorboard
        log = SparsityLog(context.folder / TENSORBOARD if logged else None, prunable=self.prunable)
        history = self.fit(model, inputs, context, pruning, log)
        records = SparsityRecords.from_json(log.history)
        return pruning, [TrainingHistory(history), KernelSparsity(pruning.sparsity()), records]
