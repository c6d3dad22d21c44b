"""The only compile() and fit(): seeded, resumable at every epoch, the same weights whether interrupted or not."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt import models, regularizers
from tfopt.artifact import BACKUP
from tfopt.backup import EarlyStopping, EpochBackup, State
from tfopt.callbacks import ClosureStep, LearningRateFinder, PenaltyLog
from tfopt.callbacks.learning_rate_finder import with_rate
from tfopt.data import Data, Split, training_batches
from tfopt.errors import InputError, ModelError, TrainingError
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
        decay_steps: Steps that a learning rate schedule spans where it does not say; all of them if None.
    """

    epochs: int
    batch_size: int = 32
    optimizer: Any = None
    penalties: tuple[regularizers.Penalty, ...] = ()
    early_stopping: Mapping[str, Any] | None = None
    loss: str | None = None
    metrics: tuple[str, ...] = ()
    seed: int = 0
    decay_steps: int | None = None


@dataclass(frozen=True)
class Listener:
    """Where training tells how far it is.

    Args:
        epoch: Called with epochs done, epochs in all, and the epoch's logs.
        batch: Called with the running epoch (from 0), epochs in all, and the fraction of it that is through.
    """

    epoch: Callable[[int, int, Mapping[str, float]], None] = lambda *_: None
    batch: Callable[[int, int, float], None] = lambda *_: None


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
        early = _early_stopping(settings.early_stopping) if settings.early_stopping else None
        extra = [*callbacks, *([early] if early else [])]
        backup = EpochBackup(folder / BACKUP, state, extra)
        backup.restore_model(model)
        model.fit(
            training_batches(
                data.train, settings.batch_size, settings.seed, state.epoch, settings.epochs, data.augment
            ),
            validation_data=_in_order(data.validation, settings.batch_size),
            steps_per_epoch=steps,
            initial_epoch=settings.epochs if state.stopped else state.epoch,
            epochs=settings.epochs,
            verbose=0,
            callbacks=[
                Reseed(settings.seed),
                StopOnNaN(),
                ClosureStep(),
                PenaltyLog(),
                *extra,
                backup,
                _Telling(listener or Listener()),
            ],
        )
    return {name: [logs[name] for logs in state.history] for name in (state.history[0] if state.history else ())}


def find_learning_rate(
    model: keras.Model,
    data: Data,
    settings: Settings,
    finder: LearningRateFinder,
    part: Callable[[float], None] = lambda _: None,
) -> None:
    """Runs a learning rate finder over a training; the model's weights are then as they were.

    Args:
        model: A built Keras model; it is compiled here.
        data: Training split.
        settings: The training; the rate of its optimizer does not count, and neither does a schedule.
        finder: What finds; it holds the rates and the losses afterwards.
        part: Told how much is done, 0-1.

    Raises:
        InputError: An optimizer that does not exist, a model without a loss.
    """
    steps = math.ceil(len(data.train) / settings.batch_size)
    epochs = math.ceil(finder.steps / steps)
    with deterministic(settings.seed), regularizers.attached(model, settings.penalties):
        arguments = compile_arguments(model, settings, steps)
        model.compile(**{**arguments, "optimizer": with_rate(arguments["optimizer"], finder.low)})
        done = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: part(len(finder.rates) / finder.steps)
        )
        model.fit(
            training_batches(data.train, settings.batch_size, settings.seed, 0, epochs, data.augment),
            steps_per_epoch=steps,
            epochs=epochs,
            verbose=0,
            callbacks=[Reseed(settings.seed), ClosureStep(), finder, done],
        )


def compile_model(model: keras.Model, settings: Settings, steps_per_epoch: int) -> None:
    """Compiles a model with a fresh optimizer; what the settings leave open comes from the model's own compile."""
    model.compile(**compile_arguments(model, settings, steps_per_epoch))


def compile_arguments(model: keras.Model, settings: Settings, steps_per_epoch: int) -> dict[str, Any]:
    """The arguments of `model.compile`; the model stays as it is.

    Raises:
        ModelError: Neither says a loss.
        InputError: The optimizer, the loss or a metric does not exist.
    """
    own = models.compile_settings(model)
    spec = settings.optimizer or own.get("optimizer") or "adam"
    loss = settings.loss or own.get("loss")
    if loss is None:
        raise ModelError("no loss to train with. Write `loss:` in the recipe, or compile the model.", ("loss",))
    own.update(
        optimizer=build_optimizer(spec, settings.decay_steps or settings.epochs * steps_per_epoch),
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
    """Seeds Python, NumPy and TensorFlow, and has ops give the same bits each time, for the length of the block."""
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


def _early_stopping(arguments: Mapping[str, Any]) -> EarlyStopping:
    lower = arguments.get("monitor") in ("penalty", "val_task_loss")  # which way is better Keras knows of its own alone
    return EarlyStopping(**arguments, **({"mode": "min"} if lower else {}))


def _in_order(split: Split, batch_size: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((split.x, split.y)).batch(batch_size)
