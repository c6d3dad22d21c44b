"""The only compile() and fit(): seeded, resumable at every epoch, the same weights whether interrupted or not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt import regularizers
from tfopt.artifact import BACKUP, storage_errors
from tfopt.data import Data, Split, training_batches
from tfopt.errors import DataError, InputError, ModelError, TrainingError
from tfopt.knobs import did_you_mean
from tfopt.layers import walk
from tfopt.optimizers import build_optimizer


@dataclass(frozen=True)
class Settings:
    """How to train.

    Args:
        epochs: Passes over the training split.
        batch_size: Samples to a step.
        optimizer: As `optimizers.build_optimizer` takes it; None means the model's own, or Adam.
        penalties: Regularizers for the length of the training.
        early_stopping: Arguments of `keras.callbacks.EarlyStopping`; None trains all epochs.
        loss: Name of a Keras loss; None means the model's own compile.
        metrics: Names of Keras metrics; empty means the model's own compile.
        seed: Of the order of the data and of random layers.
    """

    epochs: int
    batch_size: int = 32
    optimizer: Any = None
    penalties: tuple[regularizers.Penalty, ...] = ()
    early_stopping: Mapping[str, Any] | None = None
    loss: str | None = None
    metrics: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Listener:
    """Where training tells how far it is.

    Args:
        epoch: Called with epochs done, epochs in all, and the epoch's logs.
        batch: Called with the running epoch (from 0), epochs in all, and the fraction of it that is through.
    """

    epoch: Callable[[int, int, Mapping[str, float]], None] = lambda *_: None
    batch: Callable[[int, int, float], None] = lambda *_: None


@dataclass
class State:
    """What a training that goes on needs to know of the one that stopped."""

    epoch: int = 0
    stopped: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


def fit(
    model: keras.Model,
    data: Data,
    settings: Settings,
    folder: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    listener: Listener | None = None,
) -> dict[str, list[float]]:
    """Trains a model in place, from the last finished epoch if `folder` has a backup of one.

    Args:
        model: A built Keras model; it is compiled here.
        data: Training and validation splits.
        settings: How to train.
        folder: Where the backup of each epoch goes.
        callbacks: More callbacks; one with `get_state` and `set_state` is backed up along with the weights.
        listener: Where to tell how far it is.

    Returns:
        The history: each logged value by name, one entry for each epoch.

    Raises:
        InputError: An optimizer that does not exist, a model without a loss.
        TrainingError: The loss became NaN or infinite.
    """
    steps = math.ceil(len(data.train) / settings.batch_size)
    state = State()
    with deterministic(settings.seed), regularizers.attached(model, settings.penalties):
        compile_model(model, settings, steps)
        early = keras.callbacks.EarlyStopping(**settings.early_stopping) if settings.early_stopping else None
        extra = [*callbacks, *([early] if early else [])]
        backup = EpochBackup(folder / BACKUP, state, extra)
        backup.restore_model(model)
        model.fit(
            training_batches(data.train, settings.batch_size, settings.seed, state.epoch, settings.epochs),
            validation_data=_in_order(data.validation, settings.batch_size),
            steps_per_epoch=steps,
            initial_epoch=settings.epochs if state.stopped else state.epoch,
            epochs=settings.epochs,
            verbose=0,
            callbacks=[Reseed(settings.seed), StopOnNaN(), *extra, backup, _Telling(listener or Listener())],
        )
    return {name: [logs[name] for logs in state.history] for name in (state.history[0] if state.history else ())}


def compile_model(model: keras.Model, settings: Settings, steps_per_epoch: int) -> None:
    """Compiles a model with a fresh optimizer; what the settings leave open comes from the model's own compile."""
    model.compile(**compile_arguments(model, settings, steps_per_epoch))


def compile_arguments(model: keras.Model, settings: Settings, steps_per_epoch: int) -> dict[str, Any]:
    """The arguments of `model.compile`; the model stays as it is.

    Raises:
        ModelError: Neither says a loss.
        InputError: The optimizer, the loss or a metric does not exist.
    """
    own = dict(keras.saving.deserialize_keras_object(model.get_compile_config() or {}))
    spec = settings.optimizer or own.get("optimizer") or "adam"
    loss = settings.loss or own.get("loss")
    if loss is None:
        raise ModelError(
            "no loss to train with. Write `loss:` in the recipe, or compile the model where it is built.", ("loss",)
        )
    own.update(
        optimizer=build_optimizer(spec, settings.epochs * steps_per_epoch),
        loss=loss,
        metrics=list(settings.metrics) or own.get("metrics"),
    )
    try:
        keras.losses.get(loss) if isinstance(loss, str) else None
    except ValueError:
        known = [name for name, value in vars(keras.losses).items() if name.islower() and callable(value)]
        raise InputError(f"Keras has no loss {loss!r}. {did_you_mean(loss, known)}", ("loss",)) from None
    return own


@contextlib.contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seeds Python, NumPy and TensorFlow, and has every op give the same bits each time, for the length of the block."""
    from tensorflow.python.framework import config  # the public module can switch determinism on but not off

    before = config.is_op_determinism_enabled()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            config.disable_op_determinism()


class Reseed(keras.callbacks.Callback):
    """Gives random layers (dropout, augmentation) at each epoch a state that only the seed and the epoch decide."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the state of every seed generator of the model."""
        owners = [self.model, *(place.layer for place in walk(self.model))]
        generators = {id(g): g for owner in owners for g in getattr(owner, "_seed_generators", ())}
        for index, generator in enumerate(generators.values()):
            digest = hashlib.sha256(f"{self.seed} {epoch} {index}".encode()).digest()
            generator.state.assign(np.frombuffer(digest[:8], np.uint32))


class StopOnNaN(keras.callbacks.Callback):
    """Stops a training whose loss is no longer a number, with the epoch and the step."""

    _epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Looks at the running loss."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            raise TrainingError(
                f"the loss became {float(loss)} in epoch {self._epoch + 1} at step {batch + 1}. "
                "Lower the learning rate, or look for values in the data that are far from the rest."
            )


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
                record["early"] = {
                    name: None if v is None else float(v) if name == "best" else int(v) for name, v in values.items()
                }
                arrays.update({f"{index}:{i}": weight for i, weight in enumerate(other.best_weights or ())})
        with storage_errors(self.folder):
            self._write(record, arrays)

    def _write(self, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        new = self.folder / "new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        self.model.save_weights(new / "model.weights.h5")
        np.savez(new / "arrays.npz", **arrays)
        (new / "state.json").write_text(json.dumps(record))
        final = self.folder / f"epoch-{self.state.epoch:06d}"
        os.rename(new, final)
        for old in self.folder.glob("epoch-*"):
            if old != final:
                shutil.rmtree(old)


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


def _in_order(split: Split, batch_size: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((split.x, split.y)).batch(batch_size)


def loss_name(loss: Any) -> str | None:
    """The snake-case name of a loss given by name, class or function; None for several losses."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    name = getattr(loss, "name", None) or getattr(loss, "__name__", None)
    return str(name) if name else None


def check_targets(model: keras.Model, data: Data, loss: str | None) -> None:
    """Whether the labels are of the kind that the loss takes.

    Raises:
        DataError: They are not; the error says which loss would take them, or which labels the loss takes.
    """
    loss = loss_name(loss or model.loss)
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        return
    shape = tuple(outputs[0].shape[1:])
    for name, split in data.splits().items():
        if isinstance(split.y, np.ndarray):
            _check_one(f"y_{name}", split.y, loss or "", shape)


def _check_one(what: str, y: np.ndarray, loss: str, shape: tuple[int | None, ...]) -> None:
    classes = shape[-1] if shape else None
    squeezed = y[..., 0] if y.ndim == len(shape) + 1 and y.shape[-1] == 1 else y
    wrong = None
    if loss == "sparse_categorical_crossentropy":
        if squeezed.ndim != len(shape):
            wrong = (
                f"takes class ids of shape {('samples', *shape[:-1])}: for one-hot labels use categorical_crossentropy"
            )
        elif squeezed.dtype.kind == "f" and (squeezed % 1 != 0).any():
            wrong = "takes whole class ids"
        elif classes is not None and (squeezed.min() < 0 or squeezed.max() >= classes):
            wrong = f"takes class ids from 0 to {classes - 1}, as the model has {classes} outputs, and there is {y.max() if y.min() >= 0 else y.min()}"
    elif loss == "categorical_crossentropy":
        if y.ndim == len(shape) or y.shape[-1] != classes:
            wrong = f"takes one-hot labels of width {classes}: for class ids use sparse_categorical_crossentropy"
    elif loss == "binary_crossentropy":
        if y.min() < 0 or y.max() > 1:
            wrong = f"takes labels from 0 to 1, and there is {y.max() if y.max() > 1 else y.min()}"
    elif loss.startswith("mean_") and math.prod(y.shape[1:]) != math.prod(s or 1 for s in shape):
        wrong = f"takes targets of the model's output shape {shape}"
    if wrong:
        raise DataError(
            f"{what} does not fit the loss: {loss} {wrong}. Received: shape {y.shape}, {y.dtype}.", ("data",)
        )
