"""Help texts that list the entries of registries, which are walked only when help is shown."""

from __future__ import annotations

import importlib
import re
from typing import Any

from typer.core import TyperCommand

_REGISTRY = re.compile(r"\{([A-Z_]+)\}")
# The modules of registries that are not in `tfopt.recipe.export`.
_ELSEWHERE = {"SNIPPETS": "tfopt.deployment.snippet"}


class Command(TyperCommand):
    """A command whose options' help may contain `{MODES}` for the names in `tfopt.recipe.export.MODES`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help of the command."""
        for parameter in self.params:
            text = getattr(parameter, "help", None)
            if text and _REGISTRY.search(text):
                parameter.help = _REGISTRY.sub(lambda found: _names(found[1]), text)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


def _names(registry: str) -> str:
    from tfopt.recipe.settings import either

    place = importlib.import_module(_ELSEWHERE.get(registry, "tfopt.recipe.export"))
    return either(getattr(place, registry))
