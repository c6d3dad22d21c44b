"""Metrics that Keras does not have, in the logs of every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfopt.data.labels import check_named
from tfopt.data.splits import Samples, Split
from tfopt.metrics import Metric, find, score_split
from tfopt.models import signature
from tfopt.training.output_decisions import decided

__all__ = ["ValidationScores"]


class ValidationScores(keras.callbacks.Callback):
    """Logs scikit-learn's metrics, or your own, of a validation split at the end of each epoch, as `val_<name>`.

    Callbacks that come after it, such as `EarlyStopping`, can watch them.

    Args:
        validation: `(x, y)`, each an array or a dict of arrays by the model's input or output names; a `tfopt.Split`,
            or a `tfopt.Stream`.
        metrics: Names as in a recipe, such as `balanced_accuracy`, `f1` or `top_5`, functions of targets and outputs,
            or `tfopt.Metric`s.

    Raises:
        InputError: There is no such metric.

    Example:
        ```python
        model.fit(x, y, callbacks=[tfopt.callbacks.ValidationScores((x_val, y_val), ["balanced_accuracy"])])
        ```
    """

    def __init__(self, validation: Any, metrics: Sequence[Any]):
        super().__init__()
        self._split = validation if isinstance(validation, Samples) else Split(*validation)
        self._metrics = [find(metric) for metric in metrics]
        self._decided: list[Metric] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks that the labels are of the model's outputs, and forgets how those of another model decided."""
        if any(metric.output is None for metric in self._metrics):
            check_named(self._split.y, signature.output_names(self.model))
        self._decided = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the scores to the logs of the epoch."""
        outputs = signature.keras_outputs(self.model, self._split)
        self._decided = self._decided or decided(self._metrics, self.model, y=self._split.y)
        for metric in self._decided:
            (logs if logs is not None else {})[f"val_{metric.name}"] = score_split(metric, self._split, outputs)
