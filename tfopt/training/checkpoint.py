"""Checkpoints: the state of a training after each epoch on disk, from which a killed process resumes exactly.

One is a NumPy archive of arrays with its sha256 behind it: what is cut short, changed or of another training is known
before anything of it is used. The checkpoint of the epoch before stays until the new one was read back.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfopt.durable_files import remove, sha256_of, storage_errors, write
from tfopt.errors import StorageError
from tfopt.keras_private import all_layers
from tfopt.models.serialization import load_weights, weights_file

# Members of a checkpoint besides variables: the progress as JSON, and Keras's own file of layers that save themselves.
STATE, WEIGHTS = "state", "weights"
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


def _saved(model: keras.Model) -> dict[str, np.ndarray]:
    """Weights and optimizer; Keras's own file of the same variables takes several times as long."""
    variables = _variables(model)
    if variables is None:
        return {WEIGHTS: np.frombuffer(weights_file(model), np.uint8)}
    return {name: keras.ops.convert_to_numpy(variable) for name, variable in variables.items()}


def _restore(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> bool:
    """Restores what `_saved` gave into a model whose optimizer is built.

    Returns:
        Whether it is of this model; the variables stay as they are where it is of others.
    """
    if WEIGHTS in arrays:
        return _restore_file(model, arrays[WEIGHTS].tobytes())
    variables = _variables(model)
    stored = {name: array for name, array in arrays.items() if name.startswith(("model", "optimizer"))}
    if variables is None or _shapes(variables) != _shapes(stored):
        return False
    for name, variable in variables.items():
        variable.assign(stored[name])
    return True


def _shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in arrays.items()}


def _restore_file(model: keras.Model, content: bytes) -> bool:
    """Reads Keras's own file; Keras may have read a part of it before it finds that the file is of another model."""
    variables = [*model.variables, *model.optimizer.variables]
    before = [keras.ops.convert_to_numpy(variable) for variable in variables]
    try:
        with warnings.catch_warnings():
            # Keras goes on with an optimizer that has other variables.
            warnings.filterwarnings("error", "Skipping variable loading", UserWarning)
            load_weights(model, content)
    except (ValueError, KeyError, UserWarning):
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return False
    return True


def _write(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a checkpoint, and reads it back."""
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    content.seek(0, os.SEEK_END)
    digest = hashlib.sha256(content.getbuffer()).digest()
    content.write(digest)
    write(file, content.getbuffer())
    if sha256_of(file) != hashlib.sha256(content.getbuffer()).hexdigest():
        remove(file)
        raise StorageError(
            f"{file} was written and reads back as other bytes: the disk is failing. The epoch before is still there."
        )


def _read(file: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a checkpoint; None of what is not as it was written.

    Raises:
        StorageError: It cannot be read, which says nothing of its content.
    """
    try:
        content = file.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        raise StorageError(
            f"the checkpoint {file} cannot be read: {error.strerror or error}. It is still there: run the same again "
            "once it can be."
        ) from error
    size = hashlib.sha256().digest_size
    if hashlib.sha256(memoryview(content)[:-size]).digest() != content[-size:]:
        return None
    try:
        with np.load(io.BytesIO(content)) as stored:
            return dict(stored)
    except ValueError:  # a callback's state is of objects, which are not read
        return None


class EpochBackup(keras.callbacks.Callback):
    """Writes a checkpoint of the whole training after each epoch.

    Args:
        folder: Folder for checkpoints; only the newest is kept.
        state: Progress of the training; filled from the newest checkpoint that is whole.
        others: Callbacks; the state of those with `get_state` and `set_state` is part of the checkpoint.
        writes: Whether checkpoints are written, or only those of another process of the same training are read.
        key: Identifies the training: a checkpoint with another key is left.
        notify: Called with one line on each checkpoint that is left.
    """

    def __init__(
        self,
        folder: Path,
        state: State,
        others: Sequence[keras.callbacks.Callback],
        writes: bool = True,
        key: str = "",
        notify: Callable[[str], None] = lambda line: None,
    ):
        super().__init__()
        self._writes, self._key, self._notify = writes, key, notify
        self.folder, self.state = folder, state
        self.others = [other for other in others if hasattr(other, "get_state")]
        self._arrays: dict[str, np.ndarray] = {}
        if folder.is_dir():
            self._find()
        elif writes:
            remove(folder)  # a file in its place

    def _find(self) -> None:
        """Takes the newest checkpoint that is whole and of this training; those that are damaged are removed."""
        for file in sorted(self.folder.iterdir(), reverse=True):
            arrays = _read(file)
            told = json.loads(arrays.pop(STATE).tobytes()) if arrays and STATE in arrays else None
            if arrays and told and told.pop("key") == self._key:
                self._arrays = arrays
                vars(self.state).update(told)
                return
            if file.name.startswith("epoch-"):
                fault = "is of another training" if told else "is damaged"
                self._notify(f"the checkpoint {file.name} {fault}: it is not used.")
            if self._writes and not told:  # the first one that is written takes the place of another training's
                with contextlib.suppress(OSError):
                    remove(file)

    def restore_model(self, model: keras.Model) -> None:
        """Restores weights and optimizer from the checkpoint, if there is one.

        One of another model, as where the code of a layer has changed, is left, and training starts at its beginning.
        """
        if not self._arrays:
            return
        model.optimizer.build(model.trainable_variables)
        if not _restore(model, self._arrays):
            self._notify(
                f"the checkpoint of epoch {self.state.epoch} is of a model with other variables: training starts again "
                "at the first epoch."
            )
            self._arrays = {}
            vars(self.state).update(vars(State()))

    def on_train_begin(self, logs: Any = None) -> None:
        """Restores the state of the other callbacks, which they cleared when training began."""
        for index, other in enumerate(self.others if self._arrays else ()):
            prefix = _of_callback(index)
            other.set_state({n.removeprefix(prefix): a for n, a in self._arrays.items() if n.startswith(prefix)})
        self._arrays = {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the checkpoint."""
        self.state.epoch, self.state.stopped = epoch + 1, bool(self.model.stop_training)
        self.state.history.append({name: float(value) for name, value in (logs or {}).items()})
        if not self._writes:
            return
        told = json.dumps({**asdict(self.state), "key": self._key}).encode()
        arrays = {STATE: np.frombuffer(told, np.uint8), **_saved(self.model)}
        for index, other in enumerate(self.others):
            arrays |= {_of_callback(index) + name: array for name, array in other.get_state().items()}
        file = self.folder / f"epoch-{epoch + 1:06d}.npz"
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(file, arrays)
            for old in self.folder.iterdir():
                if old != file:
                    remove(old)


def _of_callback(index: int) -> str:
    """What the names of the arrays of a callback begin with."""
    return f"callback{index}/"
