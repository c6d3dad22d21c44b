"""What a result is called on screens and pages."""

from __future__ import annotations

from tfopt.recipe.artifact import SOURCE


def title(name: str) -> str:
    """The name of a stage; of the model that the recipe starts from, whose folder is `source`, what it is."""
    return "starting model" if name == SOURCE else name
