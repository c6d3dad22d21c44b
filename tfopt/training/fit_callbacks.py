"""The callbacks of every training: seeds by epoch, a stop at NaN, progress reports."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfopt.errors import TrainingError
from tfopt.keras_private import seed_generators
from tfopt.models.layers import walk


@dataclass(frozen=True)
class Listener:
    """Receives the progress of a training.

    Args:
        epoch: Called with epochs done, epochs in all, and the epoch's logs.
        batch: Called with the running epoch (from 0), epochs in all, and the fraction of it that is done, 0-1.
        note: Called with one line on the checkpoint that training goes on from, or on one that is not used.
    """

    epoch: Callable[[int, int, Mapping[str, float]], None] = lambda *_: None
    batch: Callable[[int, int, float], None] = lambda *_: None
    note: Callable[[str], None] = lambda *_: None


class Reseed(keras.callbacks.Callback):
    """Reseeds random layers (dropout, augmentation) at each epoch, by the seed and the epoch alone."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the state of every seed generator of the model."""
        owners = [self.model, *(place.layer for place in walk(self.model))]
        generators = {id(g): g for owner in owners for g in seed_generators(owner)}
        for index, generator in enumerate(generators.values()):
            digest = hashlib.sha256(f"{self.seed} {epoch} {index}".encode()).digest()
            generator.state.assign(np.frombuffer(digest[:8], np.uint32))


class StopOnNaN(keras.callbacks.Callback):
    """Raises a `TrainingError` that names epoch and step, where the loss becomes NaN or infinite."""

    _epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Checks the running loss."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            raise TrainingError(
                f"the loss became {float(loss)} in epoch {self._epoch + 1} at step {batch + 1}. "
                "Lower the learning rate, or look for values in the data that are far from the rest."
            )


class _Telling(keras.callbacks.Callback):
    """Passes epochs on to a listener, and batches a few times a second."""

    def __init__(self, listener: Listener):
        super().__init__()
        self._listener, self._told, self._epoch = listener, 0.0, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if time.monotonic() - self._told > 0.2:
            self._told = time.monotonic()
            self._listener.batch(
                self._epoch, self.params["epochs"], (batch + 1) / (self.params.get("steps") or batch + 1)
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._listener.epoch(epoch + 1, self.params["epochs"], logs or {})
