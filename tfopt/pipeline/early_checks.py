"""The checks of a recipe that need no TensorFlow, whose import takes seconds: what they refuse, they refuse at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tfopt.errors import InputError
from tfopt.metrics import Metric
from tfopt.recipe.recipe import Recipe, Step
from tfopt.recipe.stage import Outlook


def check_settings(recipe: Recipe, source: Any, metrics: tuple[Metric, ...], trust: bool) -> None:
    """Checks the model's file, and every stage's settings as far as they say it alone.

    Args:
        recipe: The recipe.
        source: Its resolved model.
        metrics: Its metrics.
        trust: Whether Python code stored in the model may be loaded.

    Raises:
        InputError: A damaged file, or a setting that cannot work; with file:line where the recipe came from a file.
    """
    from tfopt.models import loading
    from tfopt.stages.scoring import foreseen_metrics

    try:
        loading.check_source(source, trust)
    except InputError as error:
        raise recipe.located(error, field=("model",)) from error
    compiled = loading.compiled_with(source)
    outlook = Outlook(recipe.runtime, foreseen_metrics(metrics, recipe.loss, compiled))
    steps = recipe.chain()
    stages = {step.name: step.stage for step in steps}
    for step in steps:
        inputs = {name: stages[name] for name in step.parents if name in stages}
        try:
            step.stage.check_settings(replace(outlook, inputs=inputs))
        except InputError as error:
            raise recipe.located(error, step if is_own(error, step) else None) from error


def is_own(error: InputError, step: Step) -> bool:
    """Whether the setting at fault is the stage's, and not the recipe's."""
    return not error.field or error.field[0] in type(step.stage).model_fields
