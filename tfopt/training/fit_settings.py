"""The settings of a training, as `trainer.fit` takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tfopt.metrics import Metric
from tfopt.training import regularizers
from tfopt.training.devices import Devices
from tfopt.training.output_decisions import Decisions


@dataclass(frozen=True)
class FitSettings:
    """The settings of a training.

    Args:
        epochs: Passes over the training split.
        batch_size: Samples of a training step.
        optimizer: In a form that `optimizers.build_optimizer` takes; None means the model's own, or Adam.
        penalties: Penalties on weights for the length of the training.
        early_stopping: Arguments of `keras.callbacks.EarlyStopping`; None trains all epochs.
        loss: In a form that `losses.build_loss` takes; None means the model's own compile.
        metrics: Metrics to log at each epoch; empty means the model's own compile.
        class_weight: Weight of the samples of each class, by class id; `balanced` for all classes the same; None for
            no weights.
        devices: Devices to train on.
        freeze: Layer patterns of the layers to freeze.
        rates: Factors of the learning rate by layer pattern.
        seed: Seed of the order of the data and of random layers.
        decisions: How outputs decide on classes, where it is not the usual way; `fit` finds it.
        decay_steps: Steps that a learning rate schedule spans where it does not say; all of the training if None.
        key: Identifies what is trained, and how: checkpoints of another are not used. None for no checkpoints.
    """

    epochs: int
    batch_size: int = 32
    optimizer: Any = None
    penalties: tuple[regularizers.WeightPenalty, ...] = ()
    early_stopping: Mapping[str, Any] | None = None
    loss: Any = None
    metrics: tuple[Metric, ...] = ()
    class_weight: Mapping[int, float] | Literal["balanced"] | None = None
    devices: Devices = field(default_factory=Devices)
    freeze: tuple[str, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    decisions: Decisions = ()
    decay_steps: int | None = None
    key: str | None = ""
