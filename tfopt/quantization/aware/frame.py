"""What is known of one call of a model while its graph is built on the grids of its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Frame:
    """One call of the model, while its graph is built.

    Args:
        root: The name scope of the call.
        training: Whether the call is a training step.
        low: Lower ends of the grids, `(grids,)`.
        high: Upper ends of the grids, `(grids,)`.
        steps: Learned scales of kernels by part and attribute.
        table: Grid numbers of values inside of layers, by op name and number of its output.
        calls: Number of calls so far by part number.
        kernels: Rounded kernels by part and attribute.
        seen: Pairs of smallest and largest value by grid number.
        inside: Whether op callbacks are active.
    """

    root: str
    training: bool
    low: Sequence[Any]
    high: Sequence[Any]
    steps: Mapping[tuple[int, str], Any]
    table: dict[str, dict[int, int]]
    calls: dict[int, int] = field(default_factory=dict)
    kernels: dict[tuple[int, str], Any] = field(default_factory=dict)
    seen: dict[int, list[tuple[Any, Any]]] = field(default_factory=dict)
    inside: bool = False
