"""Stage `prune_channels`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tfopt.errors import ConversionError, ModelError
from tfopt.recipe.artifact import BACKUP, Artifact, Skipped, content_key
from tfopt.recipe.details.training import ChannelRemoval, TrainingHistory
from tfopt.recipe.details.weights import WeightsByLayer
from tfopt.recipe.export import Export
from tfopt.recipe.settings import OneOf, Patterns, Settings, either
from tfopt.recipe.stage import Context, Outlook
from tfopt.recipe.target import TARGETS, measured_on
from tfopt.recipe.target_choice import NO_OPTIONS, Options, TargetName, options_with_name
from tfopt.sparsity.structured.budget_units import COUNTED, UNITS
from tfopt.sparsity.structured.importance import SCORES, score
from tfopt.stages.scoring import test_metrics
from tfopt.stages.training_stage import TrainingStage

# Samples to check on whether the target takes the model.
CHECKED_SAMPLES = 8


class SparseLearning(Settings):
    """Training under a penalty that drives whole groups of channels to zero, before the first removal.

    References:
        Fang et al., DepGraph: towards any structural pruning, arXiv:2301.12900 (group_norm, growth).
        Yuan and Lin, Model selection and estimation in regression with grouped variables (2006) (group_lasso).
        Liu et al., Learning efficient convolutional networks through network slimming, arXiv:1708.06519 (batchnorm).
    """

    share: float = Field(0.5, gt=0, lt=1)
    """The share of the stage's epochs that come before the first removal; at least one."""
    penalty: Literal["group_norm", "group_lasso", "batchnorm"] = "group_norm"
    """group_norm: the squared norm of all weights that are removed together. group_lasso: their norm. batchnorm: the
    absolute scales of BatchNormalizations, for the score of that name."""
    weight: float = Field(1e-3, gt=0)
    """Factor of the penalty."""
    growth: float = Field(4.0, ge=0)
    """How many times the penalty doubles from the channels of a layer's largest norm to those of its smallest; 0 for
    the same on all. batchnorm has none."""


class PruneChannels(TrainingStage):
    """Removes the channels and units that are worth least, with all that is tied to them, and trains what is left.

    The model that comes out is smaller and faster in any format: an ordinary one of the same layer classes.
    """

    kind: ClassVar[str] = "prune_channels"
    rank: ClassVar[int] = 5
    goes_on_from: ClassVar[tuple[str, ...]] = ("sparse-learning", "round-*")
    version: ClassVar[int] = 4

    keep: float = Field(gt=0)
    """Amount to keep of the model: a fraction below 1, of bytes and cycles too, or an absolute number of `of`; of
    milliseconds and npu_milliseconds always a number. A model that has no more stays as it is: the report says so."""
    of: str = Field("channels", examples=["npu_milliseconds"])
    """channels: of every layer, or of all with ranking: global. parameters. flops. bytes and milliseconds are of the
    int8 file for the target, the time on LiteRT and this machine. With a target also what that measures of the file,
    such as npu_milliseconds, compiled_bytes and sram_bytes on an Ethos-U, flash_bytes and arena_bytes on tflm."""
    target: TargetName = "litert"
    """The target that the file is for, as in `quantize`: what it measures can be in `of`, and channels are rounded to
    as many as it computes together."""
    target_options: Options = NO_OPTIONS
    """The options of the target, which may as well be written with its name."""
    score: Annotated[str, OneOf(SCORES)] = "l2"
    """The importance score of channels."""
    ranking: Literal["local", "global"] = "local"
    """local: the same share of every layer. global: all channels are ranked together."""
    round_to: int | None = Field(None, ge=1)
    """The channels that a layer keeps are a multiple of this; if not given, of as many as the target computes together:
    8 on most."""
    floor: float = Field(0.1, gt=0, le=1)
    """The least share of its channels that a layer keeps."""
    rounds: int = Field(1, ge=1)
    """Number of pruning rounds, each followed by its share of the epochs."""
    samples: int = Field(500, ge=1)
    """Training samples for scores on data, calibration, compensation, and the statistics of BatchNorms."""
    compensate: bool = False
    """Let the layers that read removed channels make up for them, by least squares on `samples`, before training. It
    counts where little training follows: LeNet-5 with half of its channels has an accuracy of .983 on MNIST instead of
    .756 before any, and of .987 instead of .986 after two epochs."""
    sparse_learning: SparseLearning | None = Field(None, examples=[{"share": 0.5, "weight": 1e-3}])
    """Train under a penalty on whole channels before they are removed; `{}` for the usual settings."""
    only: Patterns = ()
    """Layer patterns (path, name or class); empty means every layer. What is tied to a chosen layer goes with it."""
    skip: Patterns = ()
    """Layer patterns to leave alone, with all that is tied to them."""

    @model_validator(mode="before")
    @classmethod
    def _options_with_name(cls, given: Any) -> Any:
        return options_with_name(given)

    @model_validator(mode="after")
    def _is_measured(self) -> PruneChannels:
        if sentence := Export.refusal(mode="int8", target=self.target, target_options=self.target_options):
            raise ValueError(sentence)
        target = TARGETS[self.target]
        known = (*UNITS, *(target.figures if target.cost is not None else ()))
        if self.of not in known:
            elsewhere = measured_on(self.of)
            way = f"It is measured on {elsewhere}: write the target" if elsewhere else f"Received: {self.of!r}"
            raise ValueError(f"of on target {target.name} is {either(known)}. {way}")
        return self

    @model_validator(mode="after")
    def _has_epochs_for_all(self) -> PruneChannels:
        if self.rounds > self.epochs:
            raise ValueError(f"every round is followed by an epoch at least: {self.rounds} rounds take as many epochs")
        if self.sparse_learning and self.rounds + 1 > self.epochs:
            least = self.rounds + 1
            raise ValueError(
                f"sparse_learning takes an epoch at least, and each round one after it: write epochs: {least}"
            )
        if self.of == "channels" and self.keep >= 1:
            raise ValueError("keep is a share of the channels, below 1. Write a fraction, such as 0.5")
        return self

    def check(self, model: Any, context: Context) -> None:
        """Builds the dependency graph, resolves the patterns, and checks that the budget can be reached."""
        from tfopt.sparsity.structured.budget import Budget, fit, whole
        from tfopt.sparsity.structured.dependency_graph import read
        from tfopt.sparsity.structured.importance.random import random
        from tfopt.sparsity.structured.selection import RemovalOrder

        super().check(model, context)
        if self.sparse_learning:
            list(self._penalty(self.sparse_learning).parts(model))
        structure = read(model)
        # Random scores stand in for those that need samples: what can be reached does not depend on the order.
        scores = random(structure) if SCORES[self.score].needs_samples else score(structure, self.score)
        choice = RemovalOrder(structure, scores, self.ranking, self._limits(last=True))
        if self.of in COUNTED:
            fit(structure, choice, Budget(self.keep, self.of))
        elif self.of not in UNITS:
            few = context.data.train.choose(CHECKED_SAMPLES, context.seed).x
            try:
                whole(structure, Budget(self.keep, self.of, self._export()), few)
            except ConversionError as error:
                raise ModelError(str(error), ("target",)) from error

    def surroundings(self) -> tuple[str, ...]:
        """The version of the target's tool, where that measures the file."""
        return () if self.of in (*COUNTED, "channels") else TARGETS[self.target].surroundings

    def check_settings(self, outlook: Outlook) -> None:
        """Checks the training settings, and that what measures the file is installed."""
        super().check_settings(outlook)
        if self.of not in (*COUNTED, "channels"):
            TARGETS[self.target].check_installed()

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Removes channels, trains and saves, in `rounds` rounds."""
        from tfopt.models.weight_statistics import compare, snapshot
        from tfopt.sparsity.structured.budget import Budget, steps
        from tfopt.sparsity.structured.dependency_graph import read
        from tfopt.sparsity.structured.flops import costs
        from tfopt.sparsity.structured.removal import as_rows, changes, reestimate, remove_to

        model = context.load(inputs[0])
        whole, before = read(model), snapshot(model)
        chosen = context.data.train.choose(self.samples, context.seed, 0xC4A77)
        x, y = chosen.x, chosen.y
        history = self._learn_sparsely(model, inputs, context)
        skipped: tuple[tuple[str, str], ...] = ()
        removed = False
        budgets = steps(whole, Budget(self.keep, self.of, self._export()), self.rounds, x)
        for number, (budget, epochs) in enumerate(zip(budgets, self._epochs(), strict=True)):
            context.progress.step(f"round {number + 1} of {self.rounds}") if self.rounds > 1 else None
            limits = self._limits(last=number + 1 == self.rounds)
            removal = remove_to(
                model, budget, self.score, self.ranking, limits, x, y, context.loss, context.seed, self.compensate
            )
            model, skipped = removal.model, removal.skipped
            context.progress.step(str(removal.fit))
            removed = removed or bool(removal.fit and removal.fit.drop)
            reestimate(model, x)
            folder = context.folder / f"round-{number + 1}"
            settings = replace(self.training(context), epochs=epochs)
            settings = replace(settings, key=settings.key and content_key(settings.key, number))
            logs = self.fit(model, inputs, context, settings=settings, folder=folder)
            history = {name: [*history.get(name, []), *values] for name, values in logs.items()}
        if not removed:
            context.told.append(skipped[-1][1])
        for pattern in self.goes_on_from:  # what stays are the logs
            for folder in context.folder.glob(pattern):
                shutil.rmtree(folder / BACKUP, ignore_errors=True)
        metrics = test_metrics(model, context)
        return context.artifact(
            self,
            inputs,
            context.save(model),
            metrics=metrics,
            scores=tuple(metrics),
            skipped=tuple(Skipped(where, reason) for where, reason in skipped),
            details=[
                TrainingHistory(history),
                ChannelRemoval.from_json(as_rows(changes(costs(whole), costs(read(model))))),
                WeightsByLayer.from_json(compare(snapshot(model), before)),
            ],
        )

    def _limits(self, last: bool) -> Any:
        from tfopt.sparsity.structured.selection import LayerLimits

        step = TARGETS[self.target].channel_step if self.round_to is None else self.round_to
        return LayerLimits(step if last else 1, self.floor, self.only, self.skip)

    def _export(self) -> Export:
        """The settings of the file that is measured."""
        return Export(mode="int8", target=self.target, target_options=self.target_options)

    def _penalty(self, learning: SparseLearning) -> Any:
        from tfopt.sparsity.structured.sparse_learning import ChannelPenalty

        return ChannelPenalty(learning.weight, learning.penalty, learning.growth, self.only, self.skip)

    def _learn_sparsely(self, model: Any, inputs: Sequence[Artifact], context: Context) -> dict[str, list[float]]:
        """Trains under the penalty of `sparse_learning`, if there is one; returns what was logged at each epoch."""
        if self.sparse_learning is None:
            return {}
        epochs = self._sparse_epochs()
        context.progress.step(f"{epochs} epochs of sparse learning" if epochs > 1 else "an epoch of sparse learning")
        settings = self.training(context)
        key = settings.key and content_key(settings.key, "sparse_learning")
        penalties = (*settings.penalties, self._penalty(self.sparse_learning))
        settings = replace(settings, epochs=epochs, penalties=penalties, key=key)
        return self.fit(model, inputs, context, settings=settings, folder=context.folder / "sparse-learning")

    def _sparse_epochs(self) -> int:
        """The epochs before the first removal: at least one, and at least one is left to each round."""
        if self.sparse_learning is None:
            return 0
        return min(max(round(self.sparse_learning.share * self.epochs), 1), self.epochs - self.rounds)

    def _epochs(self) -> list[int]:
        """The epochs after each round: equally many, the remainder after the last."""
        left = self.epochs - self._sparse_epochs()
        each = left // self.rounds
        return [each] * (self.rounds - 1) + [left - each * (self.rounds - 1)]
