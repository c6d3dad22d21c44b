"""The optimizers that a recipe can name besides Keras's, each an entry in the file of its class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tfopt.registry import Registry


@dataclass(frozen=True)
class OptimizerEntry:
    """An optimizer that a recipe can name.

    Args:
        name: The name in a recipe, in lower case.
        make: The class, or a function that makes an optimizer from keyword arguments.
        defaults: Default arguments of the name, overridden by the recipe's.
        batch_size: Batch size that the name stands for: a number, or `full` for the whole training split; None
            leaves it to the recipe.
        inner: The argument that takes another optimizer, whose learning rate is the one that counts; None for an
            optimizer that stands alone.
        about: One sentence that says what it is; empty where the docstring of the class does.
    """

    name: str
    make: Callable[..., Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int | Literal["full"] | None = None
    inner: str | None = None
    about: str = ""


OPTIMIZERS = Registry("tfopt.optimizers", OptimizerEntry, "tfopt.optimizers")


def named(spec: Any) -> str | None:
    """The name in a recipe's optimizer spec, in lower case; None for an object."""
    name = next(iter(spec)) if isinstance(spec, Mapping) and spec else spec
    return name.lower() if isinstance(name, str) else None
