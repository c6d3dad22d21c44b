"""The registry of importance scores of channel groups, one per file.

A score maps every group to a number; groups of low scores are removed first. A group that a score says nothing
of has none. A new score is a new file here, or an entry point of the group `tfopt.channel_scores` in another package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt.errors import InputError
from tfopt.registry import Registry

if TYPE_CHECKING:
    from tfopt.sparsity.structured.dependency_graph import DependencyGraph

# Samples per batch.
BATCH = 64


@dataclass(frozen=True)
class ScoreInputs:
    """The inputs of a score besides the model.

    Args:
        x: Samples `(samples, ...)`, or a dict of such arrays by input name.
        y: Labels of the samples, `(samples, ...)`.
        loss: A Keras loss, or its name; None for the one that the model is compiled with.
        seed: Seed of random scores.
    """

    x: Any = None
    y: Any = None
    loss: Any = None
    seed: int = 0


@dataclass(frozen=True)
class ChannelScore:
    """An importance score of channel groups.

    Args:
        name: The name in a recipe.
        about: One sentence that says what it measures.
        measure: Maps the dependency graph and the inputs to a score by group number.
        needs_samples: Whether the score needs samples.
        needs_labels: Whether the score also needs labels and a loss.
        rank: Position in lists.
    """

    name: str
    about: str
    measure: Callable[[DependencyGraph, ScoreInputs], dict[int, float]]
    needs_samples: bool = False
    needs_labels: bool = False
    rank: int = 100


SCORES = Registry("tfopt.sparsity.structured.importance", ChannelScore, "tfopt.channel_scores")


def score(
    structure: DependencyGraph, name: str, x: Any = None, y: Any = None, loss: Any = None, seed: int = 0
) -> dict[int, float]:
    """Scores all groups by one criterion.

    Args:
        structure: The dependency graph of the model.
        name: Name of an entry of `SCORES`.
        x: Samples `(samples, ...)`, or a dict of such arrays by input name, for a score that needs samples.
        y: Labels `(samples, ...)`, for a score that needs labels.
        loss: A Keras loss, for a score that needs labels; the one that the model is compiled with if not given.
        seed: Seed of random scores.

    Returns:
        Scores by group number.

    Raises:
        InputError: An unknown name, or samples, labels or a loss are missing.
    """
    if name not in SCORES:
        raise InputError(f"score is one of {', '.join(SCORES)}. Received: score={name!r}.", ("score",))
    chosen = SCORES[name]
    if (chosen.needs_samples and x is None) or (chosen.needs_labels and y is None):
        what = "samples and their labels: hand over x and y" if chosen.needs_labels else "samples: hand over x"
        raise InputError(f"the score {name} looks at {what}.", ("score",))
    return chosen.measure(structure, ScoreInputs(x, y, loss, seed))


def groups_of(structure: DependencyGraph) -> list[int]:
    """The numbers of all groups that can be removed."""
    return [group for family in structure.families for group in family.groups]


def by_group(structure: DependencyGraph, values: np.ndarray) -> dict[int, float]:
    """Sums values of channels, `(channels,)`, by group."""
    total = np.zeros(len(structure.channels))
    np.add.at(total, structure.roots, values)
    return {group: float(total[group]) for group in groups_of(structure)}


def normalized(structure: DependencyGraph, scores: dict[int, float]) -> dict[int, float]:
    """Scores divided by the mean of their family, so that different layers can be compared."""
    found = {}
    for family in structure.families:
        known = [group for group in family.groups if group in scores]
        mean = float(np.mean([scores[group] for group in known])) if known else 0.0
        found.update({group: scores[group] / mean if mean else 0.0 for group in known})
    return found


def batches(arrays: Any) -> Iterator[Any]:
    """Samples, `(samples, ...)` or a dict of such arrays, `BATCH` at a time."""
    count = len(next(iter(arrays.values())) if isinstance(arrays, dict) else arrays)
    for start in range(0, count, BATCH):
        chosen = slice(start, start + BATCH)
        yield {k: v[chosen] for k, v in arrays.items()} if isinstance(arrays, dict) else arrays[chosen]
