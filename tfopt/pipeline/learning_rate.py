"""A learning rate for a stage of a recipe, found before the recipe is run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tfopt.errors import InputError
from tfopt.output_capture import captured
from tfopt.pipeline.plan import Plan
from tfopt.recipe.artifact import SOURCE
from tfopt.recipe.progress import Progress
from tfopt.recipe.recipe import Recipe, Step
from tfopt.stages.training_stage import TrainingStage

if TYPE_CHECKING:
    from tfopt.training.learning_rate_finder import LearningRateFinder


def find_learning_rate(
    recipe: Recipe | str | os.PathLike[str] | Plan,
    finder: LearningRateFinder,
    stage: str | None = None,
    part: Callable[[float], None] = lambda _: None,
) -> str:
    """Runs a learning rate finder over the first stage of a recipe that trains, or over another; nothing is written.

    Args:
        recipe: A recipe, the path of a YAML one, or the plan that `check` made of it.
        finder: The learning rate finder, which holds the rates and the losses afterwards.
        stage: Name of a stage that trains the model the recipe starts from; the first such if None.
        part: Called with the fraction that is done, 0-1.

    Returns:
        The stage's name.

    Raises:
        InputError: There is no such stage, or something in the recipe, the model or the data cannot work.
    """
    if not isinstance(recipe, Plan):
        recipe = check(recipe if isinstance(recipe, Recipe) else Recipe.load(recipe), stage)
    plan, (step, trains) = recipe, _trained_step(recipe.recipe, stage)
    with captured():
        from tfopt.training import trainer

        context = plan.context(step.name, "", Path(), {})
        try:
            trains.check(plan.model, context)
            settings = trains.training(context)
        except InputError as error:
            raise plan.recipe.located(error, step) from error
        trainer.find_learning_rate(plan.model, plan.data, settings, finder, part)
    return step.name


def check(recipe: Recipe, stage: str | None = None) -> Plan:
    """Checks what `find_learning_rate` is given as far as that can be told without TensorFlow.

    Args:
        recipe: The recipe.
        stage: Name of the stage; the first that trains the recipe's model if None.

    Returns:
        The recipe's plan for `find_learning_rate`, with the data that was loaded for the check.

    Raises:
        InputError: There is no such stage, or something in the recipe, the model's file or the data cannot work.
    """
    _trained_step(recipe, stage)
    with captured():
        plan = Plan(recipe, Path(), Progress())
        plan.check_plain_data()
    return plan


def _trained_step(recipe: Recipe, stage: str | None) -> tuple[Step, TrainingStage]:
    """The stage to run the finder over: that of the name, or the first that trains the recipe's model."""
    fitting = {
        s.name: (s, s.stage) for s in recipe.chain() if isinstance(s.stage, TrainingStage) and s.parents == (SOURCE,)
    }
    if stage not in (fitting if stage is not None else (None,)) or not fitting:
        raise InputError(
            f"the finder takes a stage that trains the model the recipe starts from: {', '.join(fitting) or 'none'}"
            f" in {recipe.name}. Received: {stage}."
        )
    return fitting[stage] if stage is not None else next(iter(fitting.values()))
