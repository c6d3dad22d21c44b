"""The detail on how a file that a stage made is fed and read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfopt.errors import InputError
from tfopt.recipe.details.usage import Usage
from tfopt.recipe.stage import Context
from tfopt.stages.scoring import metrics_of

if TYPE_CHECKING:
    from pathlib import Path


def usage_detail(file: Path, model: Any, context: Context, figures: Mapping[str, float]) -> Usage:
    """The detail of a file.

    Args:
        file: The `.tflite`.
        model: The Keras model that it was made of.
        context: The stage's context, whose metrics tell how the outputs decide on classes.
        figures: What was measured of the file.
    """
    from tfopt.deployment.file_usage import usage, with_arena
    from tfopt.models.preparation import preparation

    try:
        metrics = metrics_of(model, context)
    except InputError:  # labels of no output: the file alone tells
        metrics = []
    return with_arena(usage(file, preparation(model), metrics), figures)
