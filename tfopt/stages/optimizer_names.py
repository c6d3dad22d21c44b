"""How a recipe writes an optimizer, and the names that it may have, told before Keras and tfopt's own are imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from tfopt.errors import InputError, did_you_mean
from tfopt.source_names import SourceNames, words

GROUP = "tfopt.optimizers"


def _optimizer(value: Any) -> Any:
    named = isinstance(value, str) or (
        isinstance(value, Mapping) and len(value) == 1 and isinstance(next(iter(value.values())), Mapping | None)
    )
    if value is not None and not named and not hasattr(value, "get_config"):
        raise ValueError(
            "is a name such as adam, or a name with its arguments such as {adam: {learning_rate: 0.001}}. "
            f"Received: {value!r}"
        )
    return value


def _written(value: Any) -> Any:
    return {type(value).__name__.lower(): value.get_config()} if hasattr(value, "get_config") else value


Optimizer = Annotated[
    Any,
    BeforeValidator(_optimizer),
    PlainSerializer(_written),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object", "maxProperties": 1}, {"type": "null"}]}),
]


def check_optimizer(spec: Any) -> None:
    """Refuses the name of an optimizer that there certainly is not; what can be told of the rest is told by Keras.

    Args:
        spec: An optimizer as a recipe has it: a name, `{name: {argument: value}}`, or an object, which is left alone.

    Raises:
        InputError: There is no optimizer of that name.
    """
    name = next(iter(spec)) if isinstance(spec, dict) and len(spec) == 1 else spec
    if not isinstance(name, str) or "keras" in sys.modules or entry_points(group=GROUP):
        return
    of_keras, own = find_spec("keras"), find_spec(__name__.partition(".")[0])
    if of_keras is None or of_keras.origin is None or own is None or own.origin is None:
        return
    listed = Path(of_keras.origin).parent / "optimizers" / "__init__.py"
    if not listed.is_file() or not (found := SourceNames.of(listed)).certain:
        return
    mine = {word for file in (Path(own.origin).parent / "optimizers").glob("*.py") for word in words(file)}
    known = {known.lower() for known in found.names if known[0].isupper() and "ptimizer" not in known}
    if name.lower() not in {*mine, *(known.lower() for known in found.names)}:
        near = known | {word for word in mine if word.isidentifier() and "_" in word}
        raise InputError(f"there is no optimizer {name!r}. {did_you_mean(name.lower(), near)}", ("optimizer",))
