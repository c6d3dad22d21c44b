"""The devices of a run: their distribution strategy, and the copy of a model that trains on them.

References:
    tensorflow.org/guide/distributed_training; Micikevicius et al., Mixed precision training, arXiv:1710.03740.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfopt.errors import InputError, TrainingError
from tfopt.keras_private import built_from_local_batch, weighed_by_samples
from tfopt.models.clone import in_precision
from tfopt.recipe.runtime import Runtime
from tfopt.tensorflow_private import limit_cluster_start
from tfopt.training.cluster import cluster
from tfopt.user_code import describe

# A worker without a heartbeat for so long counts as lost.
HEARTBEAT_SECONDS = 10


@dataclass(frozen=True)
class Devices:
    """The devices that models are trained on.

    Args:
        runtime: The recipe's runtime settings.
        strategy: TensorFlow's distribution strategy; None for one device.
        rank: Index of this process among the workers; 0 leads, and alone writes results.
        workers: Number of worker processes.
        folders: This process's folder for results, and the leader's; None where they are the same.
    """

    runtime: Runtime = field(default_factory=lambda: Runtime(**{}))
    strategy: Any = None
    rank: int = 0
    workers: int = 1
    folders: tuple[Path, Path] | None = None

    @property
    def leads(self) -> bool:
        """Whether this process leads, and so writes results."""
        return self.rank == 0

    def leaders(self, folder: Path) -> Path:
        """The folder in which the leader works where this process works in `folder`."""
        if self.folders is None:
            return folder
        own, leader = self.folders
        return leader / folder.relative_to(own)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """The scope of the strategy, in which variables have to be made."""
        return self.strategy.scope() if self.strategy is not None else contextlib.nullcontext()

    def compile_arguments(self, steps_per_epoch: int) -> dict[str, Any]:
        """The arguments of `compile` that the runtime sets: XLA and steps per execution.

        Keras runs whole executions: one that reaches beyond the end of an epoch takes steps of the next, so that the
        epoch's validation and checkpoint come too late. Only divisors of the steps of an epoch leave no such rest.

        Args:
            steps_per_epoch: Training steps of an epoch.
        """
        runtime = self.runtime
        given: dict[str, Any] = {}
        if runtime.jit != "auto":
            given["jit_compile"] = runtime.jit
        if (at_once := self._steps_at_once(steps_per_epoch)) > 1:
            given["steps_per_execution"] = at_once
        return given

    def _steps_at_once(self, steps_per_epoch: int) -> int:
        """The most steps to an execution, up to those that were asked for, that leave no rest."""
        return next(n for n in range(self.runtime.steps_per_execution, 0, -1) if steps_per_epoch % n == 0)

    def lowered_executions(self, steps_per_epoch: int) -> str:
        """The warning of executions of fewer steps than were asked for; empty where there are as many.

        Args:
            steps_per_epoch: Training steps of an epoch.
        """
        asked, at_once = self.runtime.steps_per_execution, self._steps_at_once(steps_per_epoch)
        if at_once == asked:
            return ""
        if asked > steps_per_epoch:
            return f"runtime.steps_per_execution {asked} was taken as {at_once}: an epoch has no more steps."
        above = next(n for n in range(asked + 1, steps_per_epoch + 1) if steps_per_epoch % n == 0)
        return (
            f"runtime.steps_per_execution {asked} was taken as {at_once}: it has to divide the {steps_per_epoch:,} "
            f"steps of an epoch. The next number that does is {above:,}."
        )

    @contextlib.contextmanager
    def training_copy(self, model: keras.Model) -> Iterator[keras.Model]:
        """The model itself where it can be trained as it is; else a copy, whose weights the model gets after the block.

        Raises:
            ModelError: The model cannot be built again for these devices or this precision.
        """
        precision = self.runtime.precision
        if self.strategy is None and precision == "float32":
            yield model
            return
        with self.scope():
            copy = in_precision(model, precision)
        own = type(copy)
        if self.strategy is not None and self.strategy.num_replicas_in_sync > 1:
            copy.__class__ = built_from_local_batch(weighed_by_samples(own))
        if self.workers > 1:
            copy.__class__ = _across_workers(type(copy))
        try:
            yield copy
        finally:
            copy.__class__ = own
        model.set_weights(copy.get_weights())

    def optimizer(self, optimizer: Any) -> Any:
        """The optimizer to compile with: for float16 it scales the loss, as small gradients would be zero without."""
        scaled = self.runtime.precision == "mixed_float16"
        return keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer

    def meet(self) -> None:
        """A barrier for all workers: none goes on while another still reads files that the leader may remove."""
        if self.workers > 1:
            self.strategy.reduce("SUM", self.strategy.run(tf.function(lambda: tf.constant(1.0))), axis=None)


def start(runtime: Runtime) -> Devices:
    """Makes the distribution strategy of a runtime; for several workers before anything else of TensorFlow.

    Raises:
        InputError: The devices do not exist, or TF_CONFIG does not describe a cluster.
        TrainingError: Other workers did not start in time.
    """
    if runtime.strategy == "none":
        return Devices(runtime)
    if runtime.strategy == "mirrored":
        return Devices(runtime, _mirrored(runtime))
    return _tpu(runtime) if runtime.strategy == "tpu" else _multi_worker(runtime)


def _mirrored(runtime: Runtime) -> Any:
    known = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    if unknown := [name for name in runtime.devices if name not in known]:
        raise InputError(
            f"there is no device {unknown[0]!r}. TensorFlow sees {', '.join(known)}.", ("runtime", "devices")
        )
    return tf.distribute.MirroredStrategy(list(runtime.devices) or None)


def _tpu(runtime: Runtime) -> Devices:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=next(iter(runtime.devices), ""))
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return Devices(runtime, tf.distribute.TPUStrategy(resolver))
    except Exception as error:  # whatever TensorFlow's TPU code meets where there is none
        raise InputError(f"no TPU answers: {describe(error)}", ("runtime", "strategy")) from error


def _multi_worker(runtime: Runtime) -> Devices:
    addresses, rank = cluster()
    limit_cluster_start(json.loads(os.environ["TF_CONFIG"])["cluster"], runtime.start_timeout, HEARTBEAT_SECONDS)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise InputError(
            f"strategy: multi_worker has to come before anything else of TensorFlow in a process: {describe(error)}",
            ("runtime", "strategy"),
        ) from error
    except tf.errors.OpError as error:
        raise TrainingError(
            f"the {len(addresses)} workers of TF_CONFIG did not all start within {runtime.start_timeout:g} s, or "
            f"cannot reach each other: {describe(error)}"
        ) from error
    return Devices(runtime, strategy, rank, len(addresses))


def _across_workers(cls: type[keras.Model]) -> type[keras.Model]:
    """A model class whose `fit` works under MultiWorkerMirroredStrategy, besides what `training_copy` sets right.

    Keras 3 has the values that a step logs reduced over an axis that they do not have
    (github.com/keras-team/keras/issues/20585).
    """

    class AcrossWorkers(cls):
        def train_step(self, data: Any) -> Any:
            return _as_vectors(super().train_step(data))

        def test_step(self, data: Any) -> Any:
            return _as_vectors(super().test_step(data))

    AcrossWorkers.__name__ = cls.__name__
    return AcrossWorkers


def _as_vectors(logs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tf.reshape(value, [1]) for name, value in logs.items()}
