"""Stage `tune`."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_serializer, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tfopt.durable_files import DAMAGED
from tfopt.errors import InputError, RecipeError, TfoptError, did_you_mean
from tfopt.keras_private import names_from_start
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.search import TuningOutcome
from tfopt.recipe.recipe import free_name
from tfopt.recipe.settings import PROBLEMS
from tfopt.recipe.stage import Context, Need, Outlook, Stage, read_stages
from tfopt.search.tuning.ranges import ValueRange, set_value
from tfopt.search.tuning.roles import PROJECT
from tfopt.stages.scoring import check_gate, gated, metrics_of, test_metrics
from tfopt.stages.subpipeline import is_made, remove_made, run_stages, told_of
from tfopt.stages.training_stage import TrainingStage

if TYPE_CHECKING:
    from tfopt.search.tuning.tuners import Trial, Tuning

MODEL = "model.keras"


class Tune(Stage):
    """Looks for hyperparameters with keras-tuner: of the stages inside it, and of a model function `build(hp)`.

    Each trial runs the stages with other values and is scored on the validation split. The model of the best one goes
    on down the recipe. A search that was interrupted goes on with the trials it has, and a trial that fails is written
    down and left. Several processes share the trials where keras-tuner's environment variables KERASTUNER_TUNER_ID,
    KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT say so, or with `tfopt search --workers`.

    References:
        O'Malley et al., KerasTuner, https://github.com/keras-team/keras-tuner.
        Li et al., Hyperband, arXiv:1603.06560.
    """

    kind: ClassVar[str] = "tune"
    rank: ClassVar[int] = 3
    goes_on_from: ClassVar[tuple[str, ...]] = (PROJECT, f"{PROJECT}{DAMAGED}")
    prepares: ClassVar[bool] = True
    version: ClassVar[int] = 2
    shared: ClassVar[bool] = True
    has_chief: ClassVar[bool] = True

    stages: list[Any] = Field(min_length=1, examples=[[{"train": {"epochs": 5}}]])
    """The stages of a trial, as in a recipe; each gives a Keras model."""
    space: dict[str, Any] = Field({}, examples=[{"train.l2": {"log": [1e-6, 1e-3]}}])
    """Values to choose from by setting: the stage's name, a dot and its field, and on into it, such as
    {train.optimizer.adam.learning_rate: {log: [1.0e-4, 1.0e-2]}, prune.sparsity: {choice: [0.7, 0.8]}}; a second stage
    of a kind is `train-2`. [low, high] is
    a range, of whole numbers where both are; {range: [low, high], step: s} one in steps. What a model function
    `build(hp)` asks its `hp` for comes to it by itself."""
    tuner: Any = "random"
    """random, hyperband, bayesian, grid, or `file.py:name` of a keras-tuner `Tuner` class or a function that returns a
    tuner, with or without arguments."""
    trials: int | None = Field(None, ge=1)
    """How many trials at most, 20 if not given; hyperband decides it by the epochs of the stages."""
    metric: str | None = None
    """The metric of the validation split that decides, if not the first one."""

    @field_validator("stages", mode="before")
    @classmethod
    def _read_stages(cls, stages: Any) -> list[Stage]:
        found = read_stages(stages)
        for index, stage in enumerate(found):
            if stage.takes != "keras" or stage.gives != "keras" or stage.gathers or stage.shared or stage.after:
                what = "after goes with the stages of a recipe" if stage.after else f"{stage.kind} cannot be tuned here"
                sentence = f"{what}: those inside tune work on a Keras model, one after the other. Put it after tune."
                raise PydanticCustomError(PROBLEMS, "wrong stage", {"problems": [(("stages", index), sentence)]})
        return found

    @field_serializer("stages")
    def _write_stages(self, stages: list[Stage]) -> list[dict[str, Any]]:
        return [stage.written() for stage in stages]

    @field_validator("space")
    @classmethod
    def _read_space(cls, space: dict[str, Any]) -> dict[str, ValueRange]:
        found, problems = {}, []
        for name, written in space.items():
            try:
                found[name] = ValueRange.read(written)
            except ValueError as error:
                problems.append((("space", name), f"tune.space.{name}: {error}."))
        if problems:
            raise PydanticCustomError(PROBLEMS, "wrong space", {"problems": problems})
        return dict(sorted(found.items()))  # the same search, in whatever order it is written

    @field_serializer("space")
    def _write_space(self, space: dict[str, ValueRange]) -> dict[str, Any]:
        return {name: span.written() for name, span in space.items()}

    @model_validator(mode="after")
    def _space_fits(self) -> Tune:
        named = [stage.name for stage in self.stages if stage.name]
        if twice := [name for name in named if named.count(name) > 1]:
            raise ValueError(f"two stages inside tune are called {twice[0]!r}. Give one another name")
        if self.tuner == "hyperband" and self.trials is not None:
            raise ValueError("hyperband decides the number of trials by the epochs. Leave trials out")
        for name, span in self.space.items():
            for value in span.ends():
                try:
                    self.with_values({name: value})
                except RecipeError as error:
                    reason = f"tune.space.{name} = {value!r}: {error.problems[0][1]}"
                    if name.endswith(".learning_rate") and "has no field" in reason:
                        reason += (
                            f" It is the optimizer's: {name.removesuffix('learning_rate')}optimizer.adam.learning_rate."
                        )
                    problems = [(("space", name), reason)]
                    raise PydanticCustomError(PROBLEMS, "wrong space", {"problems": problems}) from None
        return self

    def parts(self) -> list[type[Stage]]:
        """The stages of a trial."""
        return [type(stage) for stage in self.stages]

    def code(self) -> list[Any]:
        """The reference to the tuner, where it is in a user's file."""
        from tfopt.search.tuning.tuners import NAMES

        return [] if self.tuner in NAMES or ":" not in str(self.tuner) else [self.tuner]

    def needs(self) -> Mapping[str, Need]:
        """The earlier stages that the stages of a trial need."""
        return {
            name: replace(need, field=("stages", index, stage.kind, *need.field))
            for index, stage in enumerate(self.stages)
            for name, need in stage.needs().items()
        }

    def with_values(self, values: Mapping[str, Any]) -> list[Stage]:
        """The stages with some settings replaced.

        Raises:
            RecipeError: No such stage or setting, or an invalid value.
        """
        written = [stage.model_dump(mode="json", exclude_defaults=True) for stage in self.stages]
        names = self._names()
        for name, value in values.items():
            stage, *path = name.split(".")
            if stage not in names:
                raise RecipeError(f"no stage inside tune is called {stage!r}. {did_you_mean(stage, names)}")
            if not path:
                raise RecipeError(f"{name!r} is a stage: write its field behind a dot, such as {name}.epochs.")
            try:
                set_value(written[names.index(stage)], path, value)
            except ValueError as error:
                raise RecipeError(f"{error}.") from None
        return [_again(stage, settings) for stage, settings in zip(self.stages, written, strict=True)]

    def _names(self) -> list[str]:
        """The names of the stages: their own, or their kind, numbered where it repeats."""
        found: list[str] = []
        for stage in self.stages:
            found.append(free_name(stage.name or stage.kind, found))
        return found

    @property
    def epochs(self) -> int:
        """The epochs of a trial."""
        return sum(stage.epochs for stage in self.stages if isinstance(stage, TrainingStage))

    def check_settings(self, outlook: Outlook) -> None:
        """Checks the tuner, the stages of a trial, and that trials are what is spread."""
        from tfopt.search.tuning.tuners import NAMES

        if outlook.runtime.strategy == "multi_worker":
            raise InputError(
                "trials are shared by keras-tuner's workers: tfopt search --workers 2, without strategy: multi_worker.",
                ("runtime", "strategy"),
            )
        if self.tuner == "hyperband" and self.epochs < 2:
            raise InputError("hyperband gives trials a share of the epochs, and there are too few.", ("tuner",))
        if isinstance(self.tuner, str) and self.tuner not in NAMES and ":" not in self.tuner:
            raise InputError(
                f"there is no tuner {self.tuner!r}. {did_you_mean(self.tuner, NAMES)} Or file.py:name.", ("tuner",)
            )
        check_gate(None, self.metric, outlook.metrics)
        for stage in self.stages:
            stage.check_settings(outlook)

    def check(self, model: Any, context: Context) -> None:
        """Checks every stage, with both ends of every range, and makes the tuner."""
        import tempfile

        gated(self.metric, metrics_of(model, context))
        if not self.space and context.build is None:
            raise InputError(
                "there is nothing to tune: write a space, or put tune first, on a model function build(hp).", ("space",)
            )
        for name, span in self.space.items():
            for value in span.ends():
                try:
                    self._check_stages(self.with_values({name: value}), model, context)
                except InputError as error:
                    raise InputError(f"{name}: {value!r}: {error}", ("space", name)) from error
        self._check_stages(self.stages, model, context)
        with tempfile.TemporaryDirectory() as folder:
            self._tuning(context, Path(folder), lambda trial: 0.0, higher_is_better=True)

    @staticmethod
    def _check_stages(stages: Sequence[Stage], model: Any, context: Context) -> None:
        for stage in stages:
            stage.check(model, context)
            model = stage.preview(model, context)

    def _tuning(self, context: Context, folder: Path, run: Any, higher_is_better: bool) -> Tuning:
        from tfopt.search.tuning.tuners import NAMES, Tuning

        tuner, arguments = self.tuner, dict[str, Any]()
        if tuner not in NAMES:
            tuner, arguments = context.find(tuner)

        def declare(hyperparameters: Any) -> Any:
            for name, span in self.space.items():
                span.declare(name, hyperparameters)
            return context.build(hyperparameters) if context.build else None

        lost_after = context.devices.runtime.lost_after if context.devices else 120.0
        return Tuning(
            tuner,
            declare,
            run,
            higher_is_better,
            folder,
            self.trials or 20,
            self.epochs,
            context.seed,
            lost_after,
            arguments,
            context.progress.step,
            context.progress.note,
        )

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Tunes, and commits the model of the best trial."""
        from tfopt.durable_files import storage_errors

        tuning, metric = self._begin(inputs, context)
        outcomes = tuning.search()
        done = [one for one in outcomes if one.status == "COMPLETED" and one.score is not None]
        if not done:
            reasons = [one.message for one in outcomes if one.message]
            raise TfoptError(f"no trial came to a score: {reasons[-1] if reasons else 'none was run'}")
        best = sorted(done, key=lambda one: (metric.drop(one.score or 0.0, 0.0), -int(one.number)))[-1]
        own = tuning.trial(best).folder / MODEL
        if not is_made(own):
            context.progress.step(f"trial {best.number} is run again: its model is not on this machine")
            self._train(inputs, context, tuning.trial(best))
        context.told.extend(told_of(own).warnings)
        with storage_errors(context.folder):
            shutil.copyfile(own, context.folder / MODEL)
        artifact = context.artifact(self, inputs, MODEL)
        metrics = test_metrics(context.load(artifact), context)
        stages = self._of_trial(best.values, best.epochs)
        written = [stage.written() for stage in stages]
        details = [TuningOutcome(metric.name, best.number, tuple(outcomes), written)]
        with storage_errors(context.folder):
            for folder in (context.folder / PROJECT).glob("trial_*"):
                remove_made(folder / MODEL)
        return context.artifact(self, inputs, MODEL, metrics=metrics, scores=tuple(metrics), details=details)

    def share(self, inputs: Sequence[Artifact], context: Context) -> None:
        """Runs trials of keras-tuner's chief until there are no more; does nothing without a chief."""
        from tfopt.search.tuning.roles import role_here

        if role_here() == "worker":
            self._begin(inputs, context)[0].search()

    def _begin(self, inputs: Sequence[Artifact], context: Context) -> tuple[Tuning, Any]:
        metric = gated(self.metric, metrics_of(context.load(inputs[0]), context))

        def run(trial: Trial) -> float:
            from tfopt.metrics import score_split
            from tfopt.models import signature

            file = self._train(inputs, context, trial)
            model = context.load(context.artifact(self, inputs, str(file)))
            split = context.data.validation
            return score_split(metric, split, signature.keras_outputs(model, split))

        return self._tuning(context, context.folder, run, metric.higher_is_better), metric

    def _train(self, inputs: Sequence[Artifact], context: Context, trial: Trial) -> Path:
        """Runs the stages of a trial; returns the file of its model."""
        from tfopt.models import files

        source = inputs[0]
        if context.build is not None:
            with names_from_start():  # the same layers have the same names in every trial
                built = context.build(trial.hyperparameters)
            files.save(built, trial.folder / "start.keras")
            source = context.artifact(self, inputs, str(trial.folder / "start.keras"))
        stages = self._of_trial(trial.values, trial.epochs)
        run_stages(stages, source, context, trial.folder / "stages", trial.folder / MODEL)
        (trial.folder / "start.keras").unlink(missing_ok=True)
        return trial.folder / MODEL

    def _of_trial(self, values: Mapping[str, Any], epochs: int | None) -> list[Stage]:
        """The stages of a trial, with its hyperparameter values and the epochs that Hyperband gives it."""
        own = {name: self.space[name].value(value) for name, value in values.items() if name in self.space}
        stages = self.with_values(own)
        return stages if epochs is None else self._shortened(stages, epochs)

    def _shortened(self, stages: Sequence[Stage], epochs: int) -> list[Stage]:
        """The stages with `epochs` epochs in all, in the same proportions."""
        whole = sum(stage.epochs for stage in stages if isinstance(stage, TrainingStage))
        found = []
        for stage in stages:
            if isinstance(stage, TrainingStage):
                own = max(math.floor(stage.epochs * min(epochs / whole, 1.0) + 0.5), 1)
                stage = _again(stage, {**stage.model_dump(mode="json", exclude_defaults=True), "epochs": own})
            found.append(stage)
        return found


def _again(stage: Stage, settings: dict[str, Any]) -> Stage:
    """A stage with other settings.

    Raises:
        RecipeError: The settings are invalid.
    """
    from tfopt.recipe.settings import on_its_own

    with on_its_own():
        return type(stage)(**settings)
