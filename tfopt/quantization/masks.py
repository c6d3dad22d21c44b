"""Values that a mask puts out of play: where they are in a float file, and where the ranges of the others end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tfopt.quantization.calibration import ActivationExtremes, values_of
from tfopt.tflite.file import read


@dataclass(frozen=True)
class Masked:
    """An activation in which values were put out of play.

    Args:
        sign: -1 where they lie below those in play, 1 where above.
        limit: The absolute value from which on a value of the model itself is out of play.
        margin: How far the range reaches beyond the values in play, where the others are cut off; None where they are
            not, as in the mask itself.
        end: The end of the range on that side; None where all values are out of play.
    """

    sign: int
    limit: float
    margin: float | None
    end: float | None

    def beyond(self, ends: tuple[float, float], margin: float) -> float:
        """The end of a range on the side of the values out of play, a margin beyond those in play."""
        return ends[0] - margin if self.sign < 0 else ends[1] + margin


@dataclass(frozen=True)
class Masks:
    """The masks of a float file.

    Args:
        tensors: What is known of each activation that has values out of play, by name.
        inputs: For each input that hands in a mask, the absolute value that stands in for its huge values.
    """

    tensors: Mapping[str, Masked] = field(default_factory=dict)
    inputs: Mapping[str, float] = field(default_factory=dict)

    def clipped(self, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Samples with the huge values of masks brought near."""
        near = self.inputs
        return {n: np.clip(x, -near[n], near[n]).astype(x.dtype) if n in near else x for n, x in samples.items()}

    def bounded(self, extremes: ActivationExtremes) -> ActivationExtremes:
        """Extremes of the rewritten file, in which ranges of masked activations end where their values are cut off."""
        low, high = extremes.low.copy(), extremes.high.copy()
        for column, name in enumerate(extremes.names):
            masked = self.tensors.get(name)
            if masked is not None and masked.end is not None:
                (low if masked.sign < 0 else high)[:, column] = masked.end
        return replace(extremes, low=low, high=high)

    def on(self, content: bytes, samples: Mapping[str, np.ndarray]) -> Masks:
        """The masks with the ends of ranges for other samples.

        Args:
            content: Bytes of the float file as it was before it was rewritten.
            samples: Inputs `(samples, ...)` by input name.
        """
        limits = {name: masked.limit for name, masked in self.tensors.items() if masked.margin is not None}
        found = dict(self.tensors)
        for name, playing in in_play(content, samples, limits).items():
            masked = found[name]
            if playing.ends is not None and masked.margin is not None:
                found[name] = replace(masked, end=masked.beyond(playing.ends, masked.margin))
        return replace(self, tensors=found)

    def remarks(self) -> Iterator[str]:
        """What is to be said of the masks."""
        for name, masked in self.tensors.items():
            if masked.margin is not None:
                yield f"values that a mask puts out of play are at {masked.end:.3g} in {name}, where the range ends"


@dataclass(frozen=True)
class Playing:
    """What an activation has in play and out of it on some samples.

    Args:
        low: The smallest value in play, infinite where there is none.
        high: The largest.
        below: Numbers of the runs in which values out of play lie below those in play.
        above: Numbers of the runs in which some lie above.
    """

    low: float = math.inf
    high: float = -math.inf
    below: frozenset[int] = frozenset()
    above: frozenset[int] = frozenset()

    def __or__(self, other: Playing) -> Playing:
        return Playing(
            min(self.low, other.low), max(self.high, other.high), self.below | other.below, self.above | other.above
        )

    @property
    def ends(self) -> tuple[float, float] | None:
        """The smallest and the largest value in play; None where nothing is."""
        return (self.low, self.high) if self.low <= self.high else None


def in_play(content: bytes, samples: Mapping[str, np.ndarray], limits: Mapping[str, float]) -> dict[str, Playing]:
    """What some activations of a float file have in play.

    Args:
        content: Bytes of the file.
        samples: Inputs `(samples, ...)` by input name.
        limits: The absolute value from which on values are out of play, by name of the activation.
    """
    found: dict[str, Playing] = {}
    for limit in set(limits.values()):

        def look(values: np.ndarray, limit: float = limit) -> tuple[float, float, bool, bool]:
            out = np.abs(values) >= limit
            below, above = bool((values[out] < 0).any()), bool((values[out] > 0).any())
            inside = values[~out]
            ends = (float(inside.min()), float(inside.max())) if inside.size else (math.inf, -math.inf)
            return *ends, below, above

        names = {name for name, own in limits.items() if own == limit}
        for number, run in enumerate(values_of(content, batches(content, samples), look, names)):
            for name, (low, high, below, above) in run.items():
                here = frozenset({number})
                seen = Playing(low, high, here if below else frozenset(), here if above else frozenset())
                found[name] = found.get(name, Playing()) | seen
    return found


def batches(content: bytes, samples: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The samples in batches of the file's size."""
    shapes = [shape for _, shape in read(content).inputs.values()]
    step = max((shape[0] for shape in shapes if shape), default=1)
    count = len(next(iter(samples.values())))
    chunks = (np.arange(start, start + step) % count for start in range(0, count, step))
    return [{name: array[chunk] for name, array in samples.items()} for chunk in chunks]
