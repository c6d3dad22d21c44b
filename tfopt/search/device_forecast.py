"""Estimates of what a target measures: the size, memory, cycles and time of a file there, before it is made.

Each figure is taken as linear in the bytes that the kernels take as the target stores them: its slope lies between two
files, that of the model as it is and one with most weights zero, whose figures the target's own tool gave. What is left
of a figure where the kernels take nothing shrinks with the operations, where it is a time, or with the channels, where
it is the memory of activations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tfopt.recipe.figure import Figure

# Density of the second file.
THIN = 0.2


@dataclass(frozen=True)
class DeviceForecast:
    """What a target measures of the model's own file, and what zeros change about it.

    Args:
        figures: What the target tells of a file, by name.
        coding: Maps a kernel's integers to the bytes that they take as the target stores them; None where zeros and
            shared values save nothing there.
        whole: Figures of the model's own file by name.
        thin: Figures of the same file with all but `THIN` of each kernel's weights zero; empty without a coding.
    """

    figures: Mapping[str, Figure] = field(default_factory=dict)
    coding: Callable[[np.ndarray], float] | None = None
    whole: Mapping[str, float] = field(default_factory=dict)
    thin: Mapping[str, float] = field(default_factory=dict)

    def _kind(self, name: str) -> str:
        return self.figures[name].kind if name in self.figures else "count"

    def slopes(self, whole: float, thin: float) -> dict[str, float]:
        """The change of each figure for a byte of stored kernels; without a coding only files grow, byte by byte.

        Args:
            whole: Bytes of the kernels in the file of the model as it is.
            thin: Bytes of the kernels in the thin file.
        """
        if self.coding is None:
            return {name: float(self._kind(name) == "size") for name in self.whole}
        less = max(whole - thin, 1.0)
        return {name: max((value - self.thin[name]) / less, 0.0) for name, value in self.whole.items()}

    def __call__(
        self, stored: float, whole: float, thin: float, operations: float, channels: float
    ) -> dict[str, float]:
        """The estimated figures of a file by name.

        Args:
            stored: Bytes of its kernels, as the target stores them.
            whole: Bytes of the kernels in the file of the model as it is.
            thin: Bytes of the kernels in the thin file.
            operations: Fraction of the operations that are left, 0-1.
            channels: Fraction of the channels that are left, 0-1.
        """
        found = {}
        for name, slope in self.slopes(whole, thin).items():
            kind = self._kind(name)
            scale = operations if kind == "time" else channels if kind == "activations" else 1.0
            rest = max(self.whole[name] - slope * whole, 0.0)
            if kind == "activations":  # with the kernels that are decoded, which those of the dense file may not be
                rest = max(rest, self.thin.get(name, 0.0))
            found[name] = slope * stored + rest * scale
        return found
