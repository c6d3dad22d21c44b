"""Checkpoints: the state of a training after each epoch on disk, from which a killed process resumes exactly."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfopt.durable_files import storage_errors
from tfopt.errors import TfoptWarning
from tfopt.keras_private import all_layers

# The files of a checkpoint's weights: plain arrays, or Keras's own for layers that save themselves.
VARIABLES, WEIGHTS = "variables.npz", "model.weights.h5"
# The types that NumPy's files hold; it knows neither bfloat16 nor the floats of 8 bits.
PLAIN = ("float16", "float32", "float64", "int", "uint", "bool")


@dataclass
class State:
    """The progress of a training, as its checkpoint stores it.

    Args:
        epoch: Number of finished epochs.
        stopped: Whether training is over, as by early stopping.
        history: Logged values by name, one mapping for each finished epoch.
    """

    epoch: int = 0
    stopped: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's early stopping, with a state that a checkpoint can save and restore."""

    def get_state(self) -> dict[str, np.ndarray]:
        """The counters and the weights of the best epoch, as arrays by name."""
        best = np.nan if self.best is None else float(self.best)
        weights = {f"weight{index}": weight for index, weight in enumerate(self.best_weights or ())}
        return {
            "counters": np.array([self.wait, self.best_epoch, self.stopped_epoch]),
            "best": np.array(best),
            **weights,
        }

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores what `get_state` returned."""
        self.wait, self.best_epoch, self.stopped_epoch = (int(value) for value in state["counters"])
        self.best = None if np.isnan(state["best"]) else float(state["best"])
        self.best_weights = [state[f"weight{index}"] for index in range(len(state) - 2)] or None


def _variables(model: keras.Model) -> dict[str, Any] | None:
    """The variables of a model and its optimizer by name; None where they are not all of its state."""
    owners = [*all_layers(model), model.optimizer]
    found = {
        **{f"model{index}": variable for index, variable in enumerate(model.variables)},
        **{f"optimizer{index}": variable for index, variable in enumerate(model.optimizer.variables)},
    }
    plain = all(keras.backend.standardize_dtype(variable.dtype).startswith(PLAIN) for variable in found.values())
    return found if plain and all(map(_saved_as_keras_does, owners)) else None


def _saved_as_keras_does(owner: Any) -> bool:
    """Whether a layer or an optimizer leaves it to Keras how its state is saved."""
    methods = (getattr(type(owner), name, None) for name in ("save_own_variables", "save_assets"))
    return all(method is None or method.__module__.startswith("keras.") for method in methods)


def _save(model: keras.Model, folder: Path) -> None:
    """Writes weights and optimizer; Keras's own file of the same variables takes several times as long."""
    variables = _variables(model)
    if variables is None:
        model.save_weights(folder / WEIGHTS)
    else:
        np.savez(folder / VARIABLES, **{n: keras.ops.convert_to_numpy(v) for n, v in variables.items()})


def _restore(model: keras.Model, folder: Path) -> bool:
    """Reads what `_save` has written into a model whose optimizer is built.

    Returns:
        Whether it is of this model; the variables stay as they are where it is of others.
    """
    if not (folder / VARIABLES).exists():
        return _load_weights(model, folder / WEIGHTS)
    variables = _variables(model)
    with np.load(folder / VARIABLES) as stored:
        arrays = dict(stored)
    if variables is None or _shapes(variables) != _shapes(arrays):
        return False
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return True


def _shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in arrays.items()}


def _load_weights(model: keras.Model, file: Path) -> bool:
    """Reads Keras's own file; Keras may have read a part of it before it finds that the file is of another model."""
    variables = [*model.variables, *model.optimizer.variables]
    before = [keras.ops.convert_to_numpy(variable) for variable in variables]
    try:
        with warnings.catch_warnings():
            # Keras goes on with an optimizer that has other variables.
            warnings.filterwarnings("error", "Skipping variable loading", UserWarning)
            model.load_weights(file)
    except (ValueError, KeyError, UserWarning):
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return False
    return True


class EpochBackup(keras.callbacks.Callback):
    """Writes a checkpoint of the whole training after each epoch, in one folder that appears by a rename.

    Args:
        folder: Folder for checkpoints; only the newest is kept.
        state: Progress of the training; filled from the newest checkpoint.
        others: Callbacks; the state of those with `get_state` and `set_state` is part of the checkpoint.
        writes: Whether checkpoints are written, or only those of another process of the same training are read.
    """

    def __init__(self, folder: Path, state: State, others: Sequence[keras.callbacks.Callback], writes: bool = True):
        super().__init__()
        self._writes = writes
        self.folder, self.state = folder, state
        self.others = [other for other in others if hasattr(other, "get_state")]
        self._newest = max(folder.glob("epoch-*"), default=None)
        if self._newest:
            vars(state).update(json.loads((self._newest / "state.json").read_text()))

    def restore_model(self, model: keras.Model) -> None:
        """Restores weights and optimizer from the newest checkpoint, if there is one.

        One of another model, as where the code of a layer has changed, is left, and training starts at its beginning.

        Warns:
            TfoptWarning: The checkpoint is of another model.
        """
        if not self._newest:
            return
        model.optimizer.build(model.trainable_variables)
        if not _restore(model, self._newest):
            warnings.warn(
                f"the checkpoint of epoch {self.state.epoch} is of a model with other variables: training starts again "
                "at the first epoch.",
                TfoptWarning,
                stacklevel=2,
            )
            self._newest = None
            vars(self.state).update(vars(State()))

    def on_train_begin(self, logs: Any = None) -> None:
        """Restores the state of the other callbacks, which they cleared when training began."""
        if not self._newest:
            return
        for index, other in enumerate(self.others):
            with np.load(self._newest / f"callback{index}.npz") as state:
                other.set_state(dict(state))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the checkpoint."""
        self.state.epoch, self.state.stopped = epoch + 1, bool(self.model.stop_training)
        self.state.history.append({name: float(value) for name, value in (logs or {}).items()})
        if not self._writes:
            return
        with storage_errors(self.folder):
            new, final = self.folder / "new", self.folder / f"epoch-{epoch + 1:06d}"
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            _save(self.model, new)
            for index, other in enumerate(self.others):
                np.savez(new / f"callback{index}.npz", **other.get_state())
            (new / "state.json").write_text(json.dumps(asdict(self.state)))
            shutil.rmtree(final, ignore_errors=True)  # that of another model
            os.rename(new, final)
            for old in self.folder.glob("epoch-*"):
                if old != final:
                    shutil.rmtree(old)
