"""The learning rate range test, which finds how large the learning rate may be."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from tfopt.errors import InputError, ModelError
from tfopt.models.attachment import AttachedCallback

__all__ = ["LearningRateFinder"]

SMOOTHING = 0.9  # weight of the earlier losses in the moving average
EDGE = 3  # first steps, whose slopes are not used
DEVIATIONS = 5  # of the noise that smoothing leaves; the smallest of a hundred losses that do not fall is 2 to 3 lower


class LearningRateFinder(AttachedCallback):
    """Raises the learning rate a little at every batch until the loss grows, and then puts the model back as it was.

    The rates are evenly spaced in their logarithm, the losses smoothed by a moving average with its bias corrected.
    `fit` stops by itself after `steps` batches, or once the loss is `stop` times the smallest one; give it epochs
    enough. Weights, optimizer and all else of the model are then as they were before.

    Args:
        low: The first learning rate, above 0.
        high: The last one, above `low`.
        steps: Batches, 10 or more.
        stop: The multiple of the smallest loss to stop at, above 1.

    Attributes:
        rates: The learning rate of each batch.
        losses: The smoothed loss of each batch.

    Raises:
        InputError: An argument is out of its range.
        ModelError: When `fit` begins: an optimizer whose learning rate is a schedule.

    References:
        Smith, Cyclical learning rates for training neural networks, arXiv:1506.01186 (the range test).

    Example:
        ```python
        finder = tfopt.callbacks.LearningRateFinder()
        model.fit(x, y, epochs=100, callbacks=[finder])
        print(finder.suggestion)
        ```
    """

    def __init__(self, low: float = 1e-6, high: float = 10.0, steps: int = 100, stop: float = 4.0):
        super().__init__()
        if not 0 < low < high < math.inf:
            raise InputError(f"low is above 0 and below high. Received: low={low}, high={high}.")
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 10:
            raise InputError(f"steps is a whole number, 10 or more. Received: {steps}.")
        if not stop > 1:
            raise InputError(f"stop is above 1: a multiple of the smallest loss. Received: {stop}.")
        self.low, self.high, self.steps, self.stop = low, high, steps, stop
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._before: list[tuple[Any, Any]] = []

    @property
    def suggestion(self) -> float:
        """The rate at which the loss falls most steeply over the logarithm of the rate, before it is smallest.

        Raises:
            InputError: The loss falls nowhere, or by no more than it varies from batch to batch, as that of a model
                that is trained already.
        """
        losses = np.asarray(self.losses)
        end = int(np.argmin(losses)) + 1 if len(losses) else 0
        if end <= EDGE + 1 or not _falls(losses[:end]):
            raise InputError(
                f"the loss falls at no learning rate from {self.low:g} to {self.high:g} by more than it varies from "
                "batch to batch: the model may be trained already. If it is not, look at other rates, or at the data "
                "and the loss."
            )
        slopes = np.gradient(losses[:end], np.log(self.rates[:end]))
        return float(self.rates[EDGE + int(np.argmin(slopes[EDGE:]))])

    def on_train_begin(self, logs: Any = None) -> None:
        """Saves the state of the model and its optimizer."""
        self.detach()
        optimizer = self.model.optimizer
        try:
            rate = float(optimizer.learning_rate)
            optimizer.learning_rate = rate
        except TypeError:
            raise ModelError(
                "the finder sets the learning rate, and the optimizer's is a schedule. Compile with a number."
            ) from None
        optimizer.build(self.model.trainable_variables)
        variables = [*self.model.variables, *optimizer.variables]
        self._before = [(variable, variable.numpy()) for variable in variables]
        self.rates, self.losses, self._mean = [], [], 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the next learning rate."""
        share = len(self.rates) / (self.steps - 1)
        self.rates.append(self.low * (self.high / self.low) ** share)
        self.model.optimizer.learning_rate = self.rates[-1]
        self.model.reset_metrics()  # the loss in the logs is the mean since then

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Records the smoothed loss, and stops once it has grown or all steps are done."""
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            self.rates.pop()
            self.model.stop_training = True
            return
        self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * loss
        self.losses.append(self._mean / (1 - SMOOTHING ** len(self.rates)))
        if len(self.rates) == self.steps or self.losses[-1] > self.stop * min(self.losses):
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """Puts the model back as it was."""
        self.detach()

    def detach(self) -> None:
        """Puts the model back as it was; `fit` does it at its end."""
        for variable, value in self._before:
            variable.assign(value)
        self._before = []


def _falls(smoothed: np.ndarray) -> bool:
    """Whether smoothed losses, up to the smallest, fall by more than the noise of single batches explains."""
    means = smoothed * (1 - SMOOTHING ** np.arange(1, len(smoothed) + 1))
    losses = (means - SMOOTHING * np.concatenate([[0.0], means[:-1]])) / (1 - SMOOTHING)
    noise = np.std(np.diff(losses, 2)) / math.sqrt(6)  # that of the losses themselves, whatever their trend
    before = losses[: max(EDGE + 1, len(losses) // 2)].mean()
    left = noise * math.sqrt((1 - SMOOTHING) / (1 + SMOOTHING))
    return bool(before - smoothed[-1] > DEVIATIONS * left)


def with_rate(optimizer: keras.optimizers.Optimizer, rate: float) -> keras.optimizers.Optimizer:
    """A fresh optimizer with the settings of another one and a constant learning rate."""
    config = optimizer.get_config()
    inner = getattr(optimizer, "optimizer", None)
    if inner is not None:  # SAM's
        return type(optimizer)(**{**config, "optimizer": with_rate(inner, rate)})
    return type(optimizer).from_config({**config, "learning_rate": rate})
