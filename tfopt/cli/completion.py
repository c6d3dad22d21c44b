"""What a shell completes after options and commands: names of registries, each with what it is; no TensorFlow."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

Completed = list[tuple[str, str]]
# Characters of what is said of a name: shells put it into one line.
MOST = 60


def _starting(incomplete: str, entries: Mapping[str, Any]) -> Completed:
    """The names that begin with a text, each with the first sentence on it."""
    return [(name, _about(entry)) for name, entry in entries.items() if name.startswith(incomplete)]


def _about(entry: Any) -> str:
    about = getattr(entry, "about", None) or getattr(entry, "__doc__", None) or ""
    return textwrap.shorten(str(about).strip().partition("\n\n")[0].rstrip("."), MOST, placeholder=" ...")


def _of_modes(registry: str) -> Callable[[str], Completed]:
    """The completion of a registry in `tfopt.recipe.modes`, which is imported when a shell asks."""

    def complete(incomplete: str) -> Completed:
        from tfopt.recipe import modes

        return _starting(incomplete, getattr(modes, registry))

    return complete


quantization_modes = _of_modes("MODES")
range_methods = _of_modes("RANGES")
roundings = _of_modes("ROUNDINGS")


def targets(incomplete: str) -> Completed:
    """Names of targets."""
    from tfopt.recipe.target import TARGETS

    return _starting(incomplete, TARGETS)


def stage_kinds(incomplete: str) -> Completed:
    """Kinds of the installed stages."""
    from tfopt.recipe.stage import INSTALLED

    return _starting(incomplete, INSTALLED)


def languages(incomplete: str) -> Completed:
    """Languages that there is code in for a `.tflite`."""
    from tfopt.deployment.snippet import SNIPPETS

    return _starting(incomplete, SNIPPETS)


def goals(incomplete: str) -> Completed:
    """Goals of `tfopt init`."""
    from tfopt.drafting.goals import GOALS

    return _starting(incomplete, GOALS)


def metrics(incomplete: str) -> Completed:
    """Names of metrics."""
    from tfopt.metrics import METRICS

    return [(name, "") for name in METRICS if name.startswith(incomplete)]


def words(*names: str) -> Callable[[str], Completed]:
    """The completion of an option with these values."""
    return lambda incomplete: [(name, "") for name in names if name.startswith(incomplete)]
