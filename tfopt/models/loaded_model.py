"""A model as it was loaded, and how it came over if it was one of Keras 2."""

from __future__ import annotations

from typing import Any, NamedTuple

from tfopt.models.keras2.migration import MigratedModel


class LoadedModel(NamedTuple):
    """A loaded Keras 3 model, and its migration if it was one of Keras 2."""

    model: Any
    carried: MigratedModel | None = None
