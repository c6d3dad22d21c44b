"""Warnings of layers with a kernel that a callback or function leaves alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from tfopt.errors import TfoptWarning
from tfopt.keras_private import own_trainable_variables

# Layers that a warning names; of more it says how many.
NAMED = 8
# Scales and offsets may have several axes too, and are no kernels.
_NO_KERNELS = ("alpha", "beta", "gamma")


def has_kernel(layer: Any) -> bool:
    """Whether a layer itself has weights of two axes or more that training can change, and that are no scales."""
    return any(len(v.shape) > 1 and v.name not in _NO_KERNELS for v in own_trainable_variables(layer))


def warn_of(what: str, skipped: Iterable[tuple[str, str]], stacklevel: int = 3) -> None:
    """Warns of layers that were left alone, in one line for those of the same reason.

    Args:
        what: What leaves them alone, such as `MagnitudePruning`.
        skipped: Paths of layers, each with the reason.
        stacklevel: Number of calls from here up to the line that the warning is about, as `warnings.warn` takes it.
    """
    by_reason: dict[str, list[str]] = {}
    for path, reason in skipped:
        by_reason.setdefault(reason, []).append(path)
    for reason, paths in by_reason.items():
        warnings.warn(f"{what} leaves {listed(paths)} alone: {reason}.", TfoptWarning, stacklevel=stacklevel)


def listed(paths: Sequence[str]) -> str:
    """Paths in a row; of many the first, and how many more there are."""
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return f"{', '.join(paths[:NAMED])}{more}"
