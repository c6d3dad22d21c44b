"""The Keras callback that records the sparsity of each kernel during training."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.errors import InputError, ModelError
from tfopt.models.layers import Kernel, walk
from tfopt.models.requirements import check_not_quantized, check_weights
from tfopt.sparsity.selection import all_kernels

__all__ = ["SparsityLog"]


class SparsityLog(keras.callbacks.Callback):
    """Records the fraction of zeros of every kernel that could be pruned, and of all of them together.

    Each epoch's logs get the latter as `sparsity`, for the history and for every callback behind this one in the list:
    put it before `CSVLogger`. Beside a pruning callback it counts by the masks in force, so it may stand before it or
    behind it.

    A callback object counts its steps, and keeps its history, over all the fits of one model.

    Args:
        log_dir: A folder for TensorBoard: scalars `sparsity/overall` and `sparsity/<kernel's path>` by step. The
            package tensorboard is not needed to write them.
        every: `"epoch"`, or a number of steps from one record to the next; the end of an epoch is always recorded.
        prunable: Names of the weights to record by layer pattern, for layers that tfopt does not know; what the pruning
            callback was given.

    Attributes:
        history: The records, oldest first: `step` and `epoch` (both counted from 1), `overall`, and `kernels`, the
            fraction of zeros of each by its path, such as `conv2d/kernel`.

    Raises:
        InputError: Another word or number for `every`.
        ModelError: When `fit` begins: a model that is not built, or has no such kernel, or not the one of `prunable`.

    Example:
        ```python
        log = tfopt.callbacks.SparsityLog("logs")
        model.fit(x, y, epochs=10, callbacks=[tfopt.callbacks.MagnitudePruning(sparsity=0.8), log])
        ```
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        every: str | int = "epoch",
        prunable: Mapping[str, Sequence[str]] | None = None,
    ):
        super().__init__()
        if every != "epoch" and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
            raise InputError(f"every is 'epoch' or a number of steps, at least 1. Received: every={every!r}.")
        self.log_dir, self.every, self.prunable = log_dir, every, prunable
        self.history: list[dict[str, Any]] = []
        self.step = 0
        self._epoch = self._before = 0
        self._kernels: list[Kernel] = []
        self._owner: keras.Model | None = None
        self._writer: Any = None

    def get_state(self) -> dict[str, np.ndarray]:
        """The step and the records, to continue in another process with `set_state`."""
        return {"step": np.asarray(self.step), "history": np.asarray(json.dumps(self.history))}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores a state of `get_state`."""
        self.step, self.history = int(state["step"]), json.loads(str(state["history"]))

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the kernels."""
        check_weights(self.model, ". Call model.build or the model first.")
        if self._owner is not None and self._owner is not self.model:
            self.history, self.step = [], 0
        self._owner = self.model
        self._kernels = all_kernels(self.model, self.prunable)
        if not self._kernels:
            check_not_quantized(walk(self.model))  # Keras packs the weights of some modes
            raise ModelError("the model has no kernel that could be pruned, so there are no zeros to record.")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Finds the current step, also where `fit` starts at a later epoch."""
        self.step = self.step or epoch * (self.params.get("steps") or 0)
        self._epoch, self._before = epoch + 1, self.step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Records if a step is due; with several steps per execution, after the last."""
        before, steps = self.step, self.params.get("steps")
        self.step = self._before + (min(batch + 1, steps) if steps else batch + 1)
        if isinstance(self.every, int) and self.step // self.every > before // self.every:
            self._record()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Records, and puts the overall sparsity among the epoch's logs."""
        self._record()
        if logs is not None:
            logs["sparsity"] = self.history[-1]["overall"]

    def on_train_end(self, logs: Any = None) -> None:
        """Closes the file for TensorBoard."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _record(self) -> None:
        sizes = [int(np.prod(kernel.variable.shape)) for kernel in self._kernels]
        zeros = [size - _nonzero(kernel.variable) for size, kernel in zip(sizes, self._kernels, strict=True)]
        shares = {k.path: zero / size for k, zero, size in zip(self._kernels, zeros, sizes, strict=True)}
        overall = sum(zeros) / sum(sizes)
        record = {"step": self.step, "epoch": self._epoch, "overall": overall, "kernels": shares}
        if self.history and self.history[-1] == record:
            return
        if self.history and self.history[-1]["step"] == self.step:  # the epoch ends on a step that was due
            self.history.pop()
        self.history.append(record)
        if self.log_dir is not None:
            self._writer = self._writer or tf.summary.create_file_writer(os.fspath(self.log_dir))
            self._write({"overall": overall, **shares})

    def _write(self, values: dict[str, float]) -> None:
        # tf.summary.scalar needs the package tensorboard; this metadata alone marks a scalar in the file.
        kind = tf.compat.v1.SummaryMetadata()
        kind.plugin_data.plugin_name = "scalars"
        with self._writer.as_default(step=self.step):
            for name, value in values.items():
                tf.summary.write(f"sparsity/{name}", tf.constant(value, tf.float32), metadata=kind)
        self._writer.flush()


def _nonzero(variable: Any) -> int:
    """How many weights are not zero, or would not be once the mask of a pruning callback is on them."""
    weights = variable.value.read_value()
    mask = getattr(variable.constraint, "mask", None)  # weights are dense on the step before a new mask is made
    return int(tf.math.count_nonzero(weights if mask is None else weights * tf.cast(mask, weights.dtype)))
