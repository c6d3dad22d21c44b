"""The only compile() and fit(): seeded, resumable at every epoch, the same weights whether interrupted or not."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfopt.data.labels import balanced_weights, label_ids
from tfopt.data.splits import Data, Reading, Samples
from tfopt.errors import InputError, ModelError
from tfopt.keras_private import compiled_settings
from tfopt.losses import build_loss
from tfopt.metrics import METRICS, Metric
from tfopt.models import signature
from tfopt.models.clone import in_precision
from tfopt.models.seeding import deterministic
from tfopt.optimizers import build_optimizer
from tfopt.optimizers.closure import needs_closure
from tfopt.recipe.artifact import BACKUP, TENSORBOARD, content_key
from tfopt.recipe.environment import versions
from tfopt.training import regularizers
from tfopt.training.checkpoint import EarlyStopping, EpochBackup, State
from tfopt.training.closure_step import ClosureStep
from tfopt.training.fit_callbacks import Listener, Reseed, StopOnNaN, _Telling
from tfopt.training.fit_settings import FitSettings
from tfopt.training.layer_rates import factors_of, frozen, rated
from tfopt.training.learning_rate_finder import LearningRateFinder, with_rate
from tfopt.training.output_decisions import at_thresholds, decisions_of, keras_metric
from tfopt.training.penalty_log import PenaltyLog
from tfopt.training.step_functions import direct_steps
from tfopt.training.validation_scores import ValidationScores

if TYPE_CHECKING:
    import tensorflow as tf

# What the numbers of a training come from; a tool for devices may be updated in the middle of one.
TRAINED_BY = ("tfopt", "tensorflow", "keras")


def fit(
    model: keras.Model,
    data: Data,
    settings: FitSettings,
    folder: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    listener: Listener | None = None,
) -> dict[str, list[float]]:
    """Trains a model in place, from the last finished epoch if `folder` has a checkpoint of one.

    Args:
        model: A built Keras model; it is compiled here.
        data: Training and validation splits.
        settings: The settings of the training.
        folder: Folder for the checkpoint of each epoch.
        callbacks: More callbacks; the state of one with `get_state` and `set_state` is part of the checkpoint.
        listener: Receives the progress.

    Returns:
        The history: each logged value by name, one entry for each epoch.

    Raises:
        InputError: The optimizer does not exist, or there is no loss.
        TrainingError: The loss became NaN or infinite.
    """
    steps = math.ceil(len(data.train) / settings.batch_size)
    state = State()
    weights = class_weights(model, settings, data.train)
    settings = replace(settings, decisions=decisions_of(model, settings.loss, data.validation.y))
    scores = scored_metrics(model, settings, data.validation)
    with training_setup(model, settings, steps) as trained:
        early = _early_stopping(settings.early_stopping, scores) if settings.early_stopping else None
        extra = [*callbacks, *([early] if early else [])]
        listener = listener or Listener()
        backup = _restored(trained, settings, folder, state, extra, listener)
        called = [
            *_own_callbacks(settings, data, scores),
            *extra,
            *_logs(settings, folder),
            backup,
            _Telling(listener),
        ]
        reading = Reading(settings.batch_size, settings.seed, state.epoch, settings.epochs, data.augment)
        batches = unscored_filled(model, data.train.training(reading))
        with direct_steps(trained, batches):
            trained.fit(
                batches,
                validation_data=unscored_filled(model, data.validation.batches(settings.batch_size)),
                class_weight=weights,
                steps_per_epoch=steps,
                initial_epoch=settings.epochs if state.stopped else state.epoch,
                epochs=settings.epochs,
                shuffle=False,  # the data has an order of its own for each epoch
                verbose=0,
                callbacks=called,
            )
        settings.devices.meet()
    return {name: [logs[name] for logs in state.history] for name in (state.history[0] if state.history else ())}


def _restored(
    model: keras.Model,
    settings: FitSettings,
    folder: Path,
    state: State,
    callbacks: Sequence[keras.callbacks.Callback],
    listener: Listener,
) -> EpochBackup:
    """The callback that writes the checkpoints; model and state are set to what the last one holds, if there is one."""
    devices = settings.devices
    writes = devices.leads and settings.key is not None
    key = content_key(settings.key, versions(TRAINED_BY))
    backup = EpochBackup(devices.leaders(folder) / BACKUP, state, callbacks, writes, key, listener.note)
    with devices.scope():
        backup.restore_model(model)
    if state.epoch:
        listener.note(f"goes on after epoch {state.epoch} of {settings.epochs}")
    return backup


def unscored_filled(model: keras.Model, batches: tf.data.Dataset) -> tf.data.Dataset:
    """Batches `(x, y)` with zeros as targets of the outputs that have none, which no loss and no metric reads.

    Keras asks for targets of all of several outputs, also of those without a loss.

    Args:
        model: The model.
        batches: The batches; where `y` is no dict they stay as they are.
    """
    import tensorflow as tf

    targets = batches.element_spec[1]
    missing = [name for name in signature.output_names(model) if isinstance(targets, dict) and name not in targets]
    if not missing:
        return batches

    def filled(x: Any, y: Any) -> tuple[Any, Any]:
        samples = tf.shape(next(iter(y.values())))[0]
        return x, {**y, **{name: tf.zeros((samples, 1)) for name in missing}}

    return batches.map(filled)


def find_learning_rate(
    model: keras.Model,
    data: Data,
    settings: FitSettings,
    finder: LearningRateFinder,
    part: Callable[[float], None] = lambda _: None,
) -> None:
    """Runs a learning rate finder over a training; the model's weights are then as they were.

    Args:
        model: A built Keras model; it is compiled here.
        data: The data, of which the training split is used.
        settings: The settings of the training; the learning rate of its optimizer is not used.
        finder: The learning rate finder, which holds the rates and the losses afterwards.
        part: Called with the fraction that is done, 0-1.

    Raises:
        InputError: The optimizer does not exist, or there is no loss.
    """
    steps = math.ceil(len(data.train) / settings.batch_size)
    epochs = math.ceil(finder.steps / steps)
    with training_setup(model, settings, steps, lambda optimizer: with_rate(optimizer, finder.low)) as trained:
        done = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: part(len(finder.rates) / finder.steps)
        )
        trained.fit(
            unscored_filled(
                model, data.train.training(Reading(settings.batch_size, settings.seed, 0, epochs, data.augment))
            ),
            class_weight=class_weights(model, settings, data.train),
            steps_per_epoch=steps,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[Reseed(settings.seed), ClosureStep(), finder, done],
        )


@contextlib.contextmanager
def training_setup(
    model: keras.Model,
    settings: FitSettings,
    steps_per_epoch: int,
    change: Callable[[Any], Any] = lambda optimizer: optimizer,
) -> Iterator[keras.Model]:
    """The model to train in the block, set up and compiled; afterwards `model` has its weights.

    It is seeded, on its devices, in its precision, with its penalties, frozen where asked for, and compiled with a
    fresh optimizer; what the settings leave open comes from the model's own compile.

    Args:
        model: A built model.
        settings: The settings of the training.
        steps_per_epoch: Training steps of an epoch.
        change: Maps the optimizer of the settings to the one to train with.
    """
    devices = settings.devices
    with contextlib.ExitStack() as stack:
        stack.enter_context(deterministic(settings.seed))
        copy = stack.enter_context(devices.training_copy(model))
        stack.enter_context(frozen(copy, settings.freeze))
        stack.enter_context(regularizers.attached(copy, settings.penalties))
        if copy is not model:  # it is saved with what it was compiled with last
            model.compile(**compile_arguments(model, settings, steps_per_epoch))
        with devices.scope():
            arguments = compile_arguments(model, settings, steps_per_epoch)
            arguments["optimizer"] = devices.optimizer(change(arguments["optimizer"]))
            copy.compile(**{**arguments, **devices.compile_arguments(steps_per_epoch)})
            copy.optimizer.build(copy.trainable_variables)  # a step that makes its variables is traced twice
        stack.enter_context(rated(copy, settings.rates))
        yield copy


def batches_warning(model: keras.Model, settings: FitSettings, samples: int) -> str | None:
    """The warning of an optimizer that is for all samples at once, for so many samples; None for none."""
    steps = math.ceil(samples / settings.batch_size)
    closing = needs_closure(compile_arguments(model, settings, steps)["optimizer"])
    return closing.batches_warning(steps) if closing is not None else None


def check_trainable(model: keras.Model, settings: FitSettings) -> None:
    """Checks that a model can be trained with these settings, as far as it can be known before; the model is unchanged.

    Raises:
        InputError: The optimizer, the loss or a metric does not exist, a pattern matches no layer, nothing is left to
            train, the model cannot be built again for its devices, or the optimizer cannot be used so.
    """
    runtime = settings.devices.runtime
    if runtime.strategy != "none" or runtime.precision != "float32":
        in_precision(model, runtime.precision)
    optimizer = compile_arguments(model, settings, steps_per_epoch=1)["optimizer"]
    with frozen(model, settings.freeze):
        factors_of(model, settings.rates)
    closing = needs_closure(optimizer)
    if closing is None:
        return
    if settings.rates and closing.searches_step:
        raise InputError(
            f"{optimizer.name} searches for its own step: rates mean nothing to it. Leave them out.", ("rates",)
        )
    if runtime.strategy == "multi_worker":
        raise InputError(
            f"{type(closing).__name__} needs more than the gradient, which Keras does not hand it across workers. "
            "Take another optimizer, or strategy: mirrored.",
            ("optimizer",),
        )


def compile_arguments(model: keras.Model, settings: FitSettings, steps_per_epoch: int) -> dict[str, Any]:
    """The arguments of `model.compile`; the model stays as it is.

    Raises:
        ModelError: Neither the settings nor the model have a loss.
        InputError: The optimizer, the loss or a metric does not exist.
    """
    own = compiled_settings(model)
    spec = settings.optimizer or own.get("optimizer") or "adam"
    loss = build_loss(settings.loss) or own.get("loss")
    if loss is None:
        raise ModelError(
            "no loss to train with. Write `loss:` in the recipe, or compile the model; a model file keeps no loss of "
            "your own.",
            ("loss",),
        )
    if isinstance(loss, Mapping):  # of outputs in a list Keras takes no dict but one of all of them
        missing = [name for name in signature.output_names(model) if name not in loss]
        loss = {**loss, **dict.fromkeys(missing)}
        if isinstance(weights := own.get("loss_weights"), Mapping):
            own["loss_weights"] = {**dict.fromkeys(loss, 1.0), **weights}
    own.update(
        optimizer=build_optimizer(spec, settings.decay_steps or settings.epochs * steps_per_epoch),
        loss=loss,
        metrics=_keras_metrics(model, settings, loss)
        if settings.metrics
        else at_thresholds(own.get("metrics"), settings.decisions, signature.output_names(model)),
    )
    return own


def _keras_metrics(model: keras.Model, settings: FitSettings, loss: Any) -> Any:
    """The metrics that Keras has, as `compile` takes them."""
    outputs = signature.output_names(model)
    decisions = dict(settings.decisions)
    known = [metric for metric in settings.metrics if metric.keras]
    if len(outputs) < 2:
        only = next(iter(decisions.values()), None)
        return [keras_metric(str(metric.keras), only) for metric in known]
    trained = [name for name in outputs if not isinstance(loss, Mapping) or loss.get(name) is not None]
    of_each = {
        name: [keras_metric(str(m.keras), decisions.get(name)) for m in known if m.output in (None, name)]
        for name in trained
    }
    return {name: found for name, found in of_each.items() if found}


def scored_metrics(model: keras.Model, settings: FitSettings, split: Samples) -> list[Metric]:
    """The metrics that Keras does not have, for each output with targets."""
    outputs = [name for name in signature.output_names(model) if not isinstance(split.y, dict) or name in split.y]
    return [each for metric in settings.metrics if not metric.keras for each in metric.at(outputs)]


def class_weights(model: keras.Model, settings: FitSettings, split: Samples) -> dict[int, float] | None:
    """The weight of each class in training, by class id; None for no weights.

    Raises:
        InputError: The model has several outputs, or a class has no weight.
    """
    if settings.class_weight is None:
        return None
    if len(outputs := signature.output_names(model)) > 1:
        raise InputError(
            f"class_weight is for models of one output, and this one has {', '.join(outputs)}. Weigh classes in the "
            "losses instead, such as alpha of a focal loss.",
            ("class_weight",),
        )
    if settings.class_weight == "balanced":
        return balanced_weights(split.y)
    weights = {int(label): float(weight) for label, weight in settings.class_weight.items()}
    if missing := sorted(set(np.unique(label_ids(split.y)).tolist()) - set(weights)):
        raise InputError(
            f"class_weight says nothing of class {missing[0]}. Give every class one, or write balanced.",
            ("class_weight",),
        )
    return weights


def _own_callbacks(settings: FitSettings, data: Data, scores: Sequence[Metric]) -> list[keras.callbacks.Callback]:
    """The callbacks of every training, which come before any other."""
    measured = [ValidationScores(data.validation, scores)] if scores else []
    return [Reseed(settings.seed), StopOnNaN(), ClosureStep(), PenaltyLog(), *measured]


def _logs(settings: FitSettings, folder: Path) -> list[keras.callbacks.Callback]:
    """The TensorBoard callback, with a profile where asked for; empty where no logs are wanted."""
    runtime = settings.devices.runtime
    if not runtime.tensorboard or not settings.devices.leads:
        return []
    return [keras.callbacks.TensorBoard(folder / TENSORBOARD, write_graph=False, profile_batch=runtime.profile or 0)]


def _early_stopping(arguments: Mapping[str, Any], scores: Sequence[Metric]) -> EarlyStopping:
    """Early stopping that knows which way is better of metrics that Keras does not have."""
    higher = {f"val_{metric.name}": metric.higher_is_better for metric in (*METRICS.values(), *scores)}
    monitor = str(arguments.get("monitor"))
    better = higher.get(monitor, False if monitor in ("penalty", "val_task_loss") or monitor.endswith("loss") else None)
    mode = {True: "max", False: "min", None: "auto"}[better]
    return EarlyStopping(**arguments, mode=mode)
