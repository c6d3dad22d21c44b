"""Help texts that list the entries of registries, walked only when help is shown; mistakes in a command's words."""

from __future__ import annotations

import importlib
import re
from typing import Any

from typer.core import TyperCommand

_REGISTRY = re.compile(r"\{([A-Z_]+)\}")
# The modules of registries that are not in `tfopt.recipe.modes`.
_ELSEWHERE = {"SNIPPETS": "tfopt.deployment.snippet", "TARGETS": "tfopt.recipe.target", "GOALS": "tfopt.drafting.goals"}


class Command(TyperCommand):
    """A command whose options' help may contain `{MODES}` for the names in `tfopt.recipe.modes.MODES`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help of the command."""
        self.name_entries()
        super().format_help(ctx, formatter)

    def name_entries(self) -> None:
        """Puts the names of the entries into the help of the options."""
        for parameter in self.params:
            text = getattr(parameter, "help", None)
            if text and _REGISTRY.search(text):
                parameter.help = _REGISTRY.sub(lambda found: _names(found[1]), text)  # type: ignore[attr-defined]


def typing_mistake(error: Any) -> str:
    """The line that says what is wrong with a command as it was typed, and where its words are explained.

    Args:
        error: Typer's exception, with the parameter and the command where it knows them.
    """
    from pydantic import ValidationError

    from tfopt.recipe.settings import rule

    context = getattr(error, "ctx", None)
    cause = error.__cause__
    if isinstance(cause, ValidationError) and getattr(error, "param", None) is not None:
        [first, *_] = cause.errors(include_url=False)
        if sentence := rule(first):
            return f"{error.param.opts[0]} {sentence}. Received: {first['input']!r}."
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    way = f" See: {context.command_path} --help" if context else ""
    return f"{message}{'' if message.endswith('?') else '.'}{way}"


def _names(registry: str) -> str:
    from tfopt.recipe.settings import either

    place = importlib.import_module(_ELSEWHERE.get(registry, "tfopt.recipe.modes"))
    return either(getattr(place, registry))
