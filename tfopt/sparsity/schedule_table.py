"""Lookup table of a pruning schedule."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


class ScheduleTable:
    """A schedule looked up instead of evaluated: TensorFlow ops at every step would cost more than the step.

    Args:
        schedule: A TF-MOT `PruningSchedule`; steps count from 1.
    """

    WINDOW = 4096

    def __init__(self, schedule: Any):
        self.schedule = schedule
        self._start = -1
        self._due: np.ndarray = np.zeros(0, bool)
        self._sparsity: np.ndarray = np.zeros(0, np.float32)

    def due(self, step: int) -> bool:
        """Whether masks are made anew before training step `step`."""
        return bool(self._at(step)[0])

    def sparsity(self, step: int) -> float:
        """The sparsity, 0-1, of masks made before training step `step`."""
        return float(self._at(step)[1])

    def _at(self, step: int) -> tuple[Any, Any]:
        start = step - step % self.WINDOW
        if start != self._start:
            steps = tf.range(start, start + self.WINDOW, dtype=tf.int64)
            due, sparsity = self.schedule(steps)
            self._due = np.broadcast_to(np.asarray(due), (self.WINDOW,))
            self._sparsity = np.broadcast_to(np.asarray(sparsity, np.float32), (self.WINDOW,))
            self._start = start
        return self._due[step - start], self._sparsity[step - start]
