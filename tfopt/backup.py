"""The state of a training after each epoch, on disk: what a killed process goes on from, to the same weights."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfopt.artifact import storage_errors


@dataclass
class State:
    """What a training that goes on needs to know of the one that stopped."""

    epoch: int = 0
    stopped: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


class EpochBackup(keras.callbacks.Callback):
    """Keeps the whole state of a training after each epoch, in one folder that appears by a rename.

    Args:
        folder: Where the backups go; only the newest is kept.
        state: Epoch, history and whether training was over; read from the newest backup when training begins.
        others: Callbacks whose state belongs to it.
    """

    def __init__(self, folder: Path, state: State, others: Sequence[keras.callbacks.Callback]):
        super().__init__()
        self.folder, self.state, self.others = folder, state, others
        newest = max(folder.glob("epoch-*"), default=None)
        self._arrays: dict[str, np.ndarray] = {}
        self._newest = newest
        if newest:
            record = json.loads((newest / "state.json").read_text())
            state.epoch, state.stopped, state.history = record["epoch"], record["stopped"], record["history"]
            self._record = record
            with np.load(newest / "arrays.npz") as arrays:
                self._arrays = dict(arrays)

    def restore_model(self, model: keras.Model) -> None:
        """Weights and optimizer as they were after the last finished epoch."""
        if self._newest:
            model.optimizer.build(model.trainable_variables)
            model.load_weights(self._newest / "model.weights.h5")

    def on_train_begin(self, logs: Any = None) -> None:
        """Gives the other callbacks their state back; they cleared it when training began."""
        if not self._newest:
            return
        for index, other in enumerate(self.others):
            mine = {k.removeprefix(f"{index}:"): v for k, v in self._arrays.items() if k.startswith(f"{index}:")}
            if hasattr(other, "set_state"):
                other.set_state(mine)
            elif isinstance(other, keras.callbacks.EarlyStopping):
                vars(other).update(self._record["early"])
                other.best_weights = [mine[str(i)] for i in range(len(mine))] or None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the backup."""
        self.state.epoch, self.state.stopped = epoch + 1, bool(self.model.stop_training)
        self.state.history.append({name: float(value) for name, value in (logs or {}).items()})
        arrays: dict[str, np.ndarray] = {}
        record = {**vars(self.state), "early": {}}
        for index, other in enumerate(self.others):
            if hasattr(other, "get_state"):
                arrays.update({f"{index}:{key}": value for key, value in other.get_state().items()})
            elif isinstance(other, keras.callbacks.EarlyStopping):
                counters = ("wait", "best", "best_epoch", "stopped_epoch")
                values = {name: getattr(other, name, None) for name in counters}
                record["early"] = {name: _plain(value) for name, value in values.items()}
                arrays.update({f"{index}:{i}": weight for i, weight in enumerate(other.best_weights or ())})
        with storage_errors(self.folder):
            self._write(record, arrays)

    def _write(self, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        new = self.folder / "new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        self.model.save_weights(new / "model.weights.h5")
        np.savez(new / "arrays.npz", **arrays)  # type: ignore[arg-type]  # the stub takes names for allow_pickle
        (new / "state.json").write_text(json.dumps(record))
        final = self.folder / f"epoch-{self.state.epoch:06d}"
        os.rename(new, final)
        for old in self.folder.glob("epoch-*"):
            if old != final:
                shutil.rmtree(old)


def _plain(value: Any) -> float | int | None:
    """A counter of Keras's as JSON can hold it."""
    if value is None or isinstance(value, int):
        return value
    return float(value)
