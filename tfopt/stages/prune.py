"""Stage `prune`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from tfopt.errors import InputError
from tfopt.recipe.artifact import Artifact, Skipped
from tfopt.recipe.details.training import KernelSparsity, SparsityRecords, TrainingHistory
from tfopt.recipe.settings import Patterns, Settings
from tfopt.recipe.stage import Context
from tfopt.stages.scoring import test_metrics
from tfopt.stages.training_stage import TrainingStage


class PruneRule(Settings):
    """A sparsity for the layers that a pattern chooses."""

    layers: Patterns = Field(min_length=1)
    """Layer patterns: paths, names or classes."""
    sparsity: float = Field(ge=0, lt=1)
    """The fraction of zeros to reach in each of their kernels, 0-1; 0 keeps them dense."""


class Prune(TrainingStage):
    """Sets the smallest weights of each kernel to zero while training goes on (TF-MOT's magnitude pruning).

    It takes a trained model or one with random weights, whatever the stage before left.
    """

    kind: ClassVar[str] = "prune"
    rank: ClassVar[int] = 4

    sparsity: float | None = Field(None, ge=0, lt=1)
    """The fraction of zeros to reach, 0-1: in each kernel, or in all together that have no rule where `allocation` says
    so. Left out with `keep`, which says it itself."""
    allocation: Literal["uniform", "global", "lamp", "erk"] = "uniform"
    """uniform: the same in each kernel. global: the smallest weights of all kernels, wherever they are. lamp: the same,
    measured by what else is in a kernel, which spares small ones. erk: more in kernels with many weights."""
    rules: tuple[PruneRule, ...] = Field((), examples=[[{"layers": "head", "sparsity": 0.5}]])
    """Sparsities of single layers, such as {layers: head, sparsity: 0.5}; a later rule wins, and all win over
    `allocation`."""
    block: tuple[int, int] | None = Field(None, examples=[[1, 4]])
    """Rows and columns of blocks that are pruned as a whole, such as [1, 4]; single weights if not given."""
    block_pooling: Literal["average", "max"] = "average"
    """What of a block's magnitudes decides."""
    keep: tuple[int, int] | None = Field(None, examples=[[2, 4]])
    """[2, 4] keeps two of every four weights in a row along a kernel's inputs."""
    schedule: Literal["polynomial", "constant", "one_shot", "iterative"] = "polynomial"
    """TF-MOT's PolynomialDecay or ConstantSparsity; one_shot: all at `begin`; iterative: `rounds` times from `begin` to
    `end`, each time the same share of what is left."""
    initial_sparsity: float = Field(0.0, ge=0, lt=1)
    """Where the polynomial schedule starts, 0-1."""
    power: float = Field(3.0, gt=0)
    """The exponent of the polynomial schedule."""
    begin: int | float = Field(0.0, ge=0)
    """The first step that prunes: a whole number is a step, a fraction 0.0-1.0 a share of the training."""
    end: int | float = Field(0.75, ge=0)
    """The last step that makes new masks, the same way; the rest of the training recovers."""
    frequency: int | None = Field(None, ge=1)
    """Steps between mask updates; a twentieth of the way, at most 100, if not given."""
    rounds: int | None = Field(None, ge=1)
    """How many prunings the iterative schedule has."""
    rewind: Literal["weights", "learning_rate"] | None = None
    """For one_shot and iterative: what goes back to `rewind_to` after each pruning. weights: those that stay, and the
    optimizer. learning_rate: the optimizer's schedule alone."""
    rewind_to: int | float = Field(0, ge=0)
    """Where rewinding goes back to, as a step or a share of the training."""
    only: Patterns = ()
    """Layer patterns (path, name or class); empty means every layer of a class that TF-MOT prunes."""
    skip: Patterns = ()
    """Layer patterns to leave dense."""
    prunable: dict[str, Patterns] = Field({}, examples=[{"MyDense": ["matrix"]}])
    """For layers of your own: names of the weights to prune by layer pattern, such as {MyDense: [matrix]}."""

    @model_validator(mode="after")
    def _says_how_much(self) -> Prune:
        if (self.sparsity is None) == (self.keep is None):
            raise ValueError("prune takes sparsity, the fraction of zeros, or keep, such as [2, 4]. Write one of them")
        for without, names in self._unused():
            for name in names:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} means nothing {without}. Leave it out")
        if (self.rounds is None) == (self.schedule == "iterative"):
            raise ValueError("rounds goes with schedule: iterative, and iterative with rounds. Write both or neither")
        if self.rewind and self.schedule not in ("one_shot", "iterative") and not self.keep:
            raise ValueError("rewind goes with schedule: one_shot or iterative. Leave it out, or write one of these")
        return self

    def _unused(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The knobs that another one makes meaningless, with the reason."""
        if self.keep:
            yield "with keep", ("allocation", "rules", "block", "schedule", "rounds", "end", "frequency")
        if not self.block:
            yield "without block", ("block_pooling",)
        if not self.rewind:
            yield "without rewind", ("rewind_to",)
        if self.schedule != "polynomial" or self.keep:
            yield "without schedule: polynomial", ("initial_sparsity", "power")
        if self.schedule in ("one_shot", "iterative"):
            yield f"with schedule: {self.schedule}", ("frequency", *(("end",) if self.schedule == "one_shot" else ()))

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
        """The settings; with rewinding a learning rate schedule spans the farthest that it comes."""
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

        names = (
            *("schedule", "initial_sparsity", "power", "begin", "end", "frequency", "rounds", "rewind", "rewind_to"),
            *("allocation", "block", "block_pooling", "keep", "only", "skip", "prunable"),
        )
        rules = [(rule.layers, rule.sparsity) for rule in self.rules]
        return MagnitudePruning(self.sparsity, rules=rules, **{name: getattr(self, name) for name in names})

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Trains with the callback and saves."""
        from tfopt.sparsity.magnitude import kernel_sparsity
        from tfopt.sparsity.sparsity_log import SparsityLog
        from tfopt.training import trainer

        model, pruning = context.load(inputs[0]), self._callback()
        logged = not context.devices or context.devices.runtime.tensorboard
        log = SparsityLog(context.folder / "tensorboard" if logged else None, prunable=self.prunable)
        callbacks = [pruning, log, *self.distillation(inputs, context)]
        history = trainer.fit(
            model, self.data(context), self.training(context), context.folder, callbacks, self.listener(context)
        )
        scores = test_metrics(model, context)
        return context.artifact(
            self,
            inputs,
            context.save(model),
            metrics={**scores, "sparsity": kernel_sparsity(model)},
            scores=tuple(scores),
            skipped=tuple(Skipped(where, reason) for where, reason in pruning.skipped),
            details=[
                TrainingHistory(history),
                KernelSparsity(pruning.sparsity()),
                SparsityRecords.from_json(log.history),
            ],
        )
