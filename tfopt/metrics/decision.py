"""How the scores of an output decide on classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Decision:
    """How an output decides, where it is not the largest of several scores, or one probability above one half.

    Args:
        logits: Whether a score is a logit, or a margin, that decides at 0.
        multilabel: Whether each of several scores decides on its own, so that a sample has any number of classes.
    """

    logits: bool = False
    multilabel: bool = False

    @property
    def threshold(self) -> float:
        """The score above which a sample is of the class."""
        return 0.0 if self.logits else 0.5

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """The outputs as probabilities, of the same shape: classes are above one half, in the same order."""
        if not self.logits or (outputs.ndim > 1 and outputs.shape[-1] > 1 and not self.multilabel):
            return outputs
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * outputs.astype(np.float64)))


def multi_hot(y: np.ndarray) -> bool:
    """Whether labels `(..., classes)` are 0 and 1 with several classes or none in some samples."""
    several = y.ndim > 1 and y.shape[-1] > 1
    return several and bool(np.isin(y, (0, 1)).all()) and bool((y.sum(axis=-1) != 1).any())
