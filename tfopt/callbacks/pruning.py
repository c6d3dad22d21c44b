"""Magnitude pruning while `fit()` trains."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.errors import InputError, ModelError
from tfopt.layers import Kernel
from tfopt.sparsity.engine import updates_in_graph
from tfopt.sparsity.masks import magnitude_threshold, sparsity_of
from tfopt.sparsity.schedules import Timetable, build_schedule, check_knobs, check_schedule
from tfopt.sparsity.selection import choose_kernels

__all__ = ["MagnitudePruning"]


_PRUNES = "_tfopt_prunes"  # marks a train_step that a callback has put in place of the model's


class _Masked:
    """A variable's constraint while pruning: its own constraint first, then the mask.

    It is a plain callable and not a `keras.constraints.Constraint`, so nothing of it is ever saved. While the gate is 1
    it lets the weights pass: TF-MOT makes a mask from the weights as the optimizer left them.
    """

    def __init__(self, mask: tf.Variable, gate: tf.Variable, own: Any):
        self.mask, self.gate, self.own = mask, gate, own

    def __call__(self, weights: Any) -> tf.Tensor:
        weights = tf.convert_to_tensor(self.own(weights) if self.own else weights)
        return weights * tf.maximum(tf.cast(self.mask, weights.dtype), tf.cast(self.gate, weights.dtype))


class MagnitudePruning(keras.callbacks.Callback):
    """Sets the smallest weights of each kernel to zero while `fit()` trains, with the masks that TF-MOT would make.

    The masks live in the callback and act through the variables' constraints for the length of a `fit()`. The model
    stays an ordinary Keras model at every moment: save it, checkpoint it, clone it, export it.

    A callback object counts its steps over all the fits it is given to. A new one begins at step 0, or, where `fit`
    starts at a later epoch (`initial_epoch`, `BackupAndRestore`), at that epoch's first step with the zeros it finds as
    masks, which resumes an interrupted schedule. `EarlyStopping(restore_best_weights=True)` can bring back weights from
    before the schedule's end, less sparse: let it start after that (`start_from_epoch`).

    Args:
        sparsity: The fraction of zeros to reach in each kernel, in [0, 1).
        begin: The first step that prunes: a step number (int) or a fraction of the training (float).
        end: The last step that makes new masks, the same way; after it the zeros stay where they are.
        frequency: Steps from one mask update to the next; a twentieth of the way, at most 100, if not given.
        schedule: `"polynomial"` (TF-MOT's PolynomialDecay), `"constant"` (ConstantSparsity), or a TF-MOT
            `PruningSchedule` object, which then says all of the above.
        initial_sparsity: Where the polynomial schedule starts, in [0, 1).
        power: Its exponent.
        only: Layer patterns; empty means every layer of a class that TF-MOT prunes.
        skip: Layer patterns to leave dense.
        start_step: The step to begin at, where the rule above is not the one you want.

    Raises:
        InputError: Settings that contradict each other.
        ModelError: When `fit` begins: a pattern that matches no layer, a model that is not built, or a way of training
            that Keras cannot combine.

    References:
        Zhu and Gupta, To prune, or not to prune, arXiv:1710.01878.

    Example:
        ```python
        model.fit(x, y, epochs=10, callbacks=[tfopt.callbacks.MagnitudePruning(sparsity=0.8)])
        ```
    """

    def __init__(
        self,
        sparsity: float | None = None,
        *,
        begin: int | float = 0.0,
        end: int | float = 0.75,
        frequency: int | None = None,
        schedule: Any = "polynomial",
        initial_sparsity: float = 0.0,
        power: float = 3.0,
        only: str | Sequence[str] = (),
        skip: str | Sequence[str] = (),
        start_step: int | None = None,
    ):
        super().__init__()
        self._spec: dict[str, Any] | None = None
        self.schedule: Any = None
        if isinstance(schedule, str):
            self._spec = check_knobs(schedule, sparsity, initial_sparsity, power, begin, end, frequency)
        elif (sparsity, begin, end, frequency, initial_sparsity, power) != (None, 0.0, 0.75, None, 0.0, 3.0):
            raise InputError(
                "a schedule object says sparsity, begin, end and frequency itself: leave one or the other out. "
                f"Received: {sparsity=}, {begin=}, {end=}, {frequency=}."
            )
        else:
            self.schedule = check_schedule(schedule)
        self.only = (only,) if isinstance(only, str) else tuple(only)
        self.skip = (skip,) if isinstance(skip, str) else tuple(skip)
        self.start_step = start_step
        self.step: int | None = None
        self.skipped: list[tuple[str, str]] = []
        self._kernels: list[Kernel] = []
        self._masks: list[tf.Variable] = []
        self._own_constraints: list[Any] = []
        self._pending: dict[str, np.ndarray] | None = None
        self._attached = self._in_graph = False
        self._epoch = 0
        self._gate_open = False

    # The state of the schedule

    def schedule_for(self, total: int | None) -> Any:
        """The TF-MOT schedule of a training of `total` steps; None for a length that is not known.

        Raises:
            InputError: A fraction of an unknown length, or an end before the begin.
        """
        return self.schedule if self._spec is None else build_schedule(**self._spec, total=total)

    def sparsity(self) -> dict[str, float]:
        """The fraction of zeros of each pruned kernel, by its path, such as `conv2d/kernel`."""
        return {kernel.path: sparsity_of(_numpy(kernel.variable)) for kernel in self._kernels}

    def sizes(self) -> dict[str, int]:
        """The number of weights of each pruned kernel, by its path."""
        return {kernel.path: int(np.prod(kernel.variable.shape)) for kernel in self._kernels}

    def get_state(self) -> dict[str, np.ndarray]:
        """The step and the masks, to go on from in another process with `set_state`."""
        masks = {f"mask{index}": mask.numpy() for index, mask in enumerate(self._masks)}
        return {"step": np.asarray(self._count()), **masks}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes up what `get_state` gave; the next batch of `fit` goes on from there."""
        self._pending = dict(state)

    def _count(self) -> int:
        return int(self._graph_step.numpy()) if self._in_graph and self._attached else self.step or 0

    # Attaching to a model and letting go of it

    def __enter__(self) -> MagnitudePruning:
        return self

    def __exit__(self, *error: object) -> None:
        """Lets go of the model even where `fit` raised, which Keras does not tell its callbacks."""
        self.detach()

    def _prepare(self) -> None:
        """Chooses the kernels and makes the masks, once for a model."""
        model, strategy = self.model, self.model.distribute_strategy
        if not model.built:
            raise ModelError(
                "the model has no weights yet, so there is nothing to prune. Call model.build or the model first."
            )
        self._kernels, self.skipped = choose_kernels(model, self.only, self.skip)
        with strategy.scope():
            once = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
            self._gate = tf.Variable(0.0, **once)
            self._graph_step = tf.Variable(0, dtype=tf.int64, **once)
            self._epoch_step = tf.Variable(0, dtype=tf.int64, **once)
            mean = {"trainable": False, "aggregation": tf.VariableAggregation.MEAN}
            raw = [kernel.variable.value for kernel in self._kernels]
            self._masks = [tf.Variable(tf.ones(w.shape, w.dtype), **mean) for w in raw]
            self._thresholds = [tf.Variable(tf.zeros([], w.dtype), **mean) for w in raw]
        pairs = list(zip(raw, self._masks, strict=True))

        @tf.function
        def renew(thresholds: list[tf.Tensor]) -> None:
            for (weights, mask), threshold in zip(pairs, thresholds, strict=True):
                keep = tf.cast(tf.abs(weights) >= threshold, weights.dtype)
                mask.assign(keep)
                weights.assign(weights * keep)

        @tf.function
        def mask_all() -> None:
            for weights, mask in pairs:
                weights.assign(weights * mask)

        self._renew, self._mask_all, self._owner = renew, mask_all, model

    def _attach(self) -> None:
        model = self.model
        self.detach()
        self._own_constraints = [_without_mask(kernel.variable.constraint) for kernel in self._kernels]
        for kernel, mask, own in zip(self._kernels, self._masks, self._own_constraints, strict=True):
            kernel.variable.constraint = _Masked(mask, self._gate, own)
        self._in_graph = model.steps_per_execution > 1
        if hasattr(model.train_step, _PRUNES):
            del model.train_step
        if self._in_graph:
            model.train_step = self._pruning_step(model.train_step)
        self._attached = True
        model.make_train_function(force=True)  # fit() keeps a step traced earlier, without these constraints

    def detach(self) -> None:
        """Gives the model back as it was, with its zeros; `fit` does it at its end."""
        if not self._attached:
            return
        self.step, self._attached = self._count(), False
        for kernel, own in zip(self._kernels, self._own_constraints, strict=True):
            kernel.variable.constraint = own
        if self._in_graph:
            del self._owner.train_step
        self._owner.make_train_function(force=True)

    def _pruning_step(self, train_step: Any) -> Any:
        """TF-MOT's update inside the traced step: with several steps in one execution no callback runs between them."""
        triples = zip((k.variable.value for k in self._kernels), self._masks, self._thresholds, strict=True)
        step, epoch_step = self._graph_step, self._epoch_step
        schedule, per_epoch = self.schedule, self.params.get("steps")
        update = updates_in_graph(step, list(triples), schedule)

        def pruned_step(data: Any) -> Any:
            step.assign_add(1)
            epoch_step.assign_add(1)
            update()
            due_next = schedule(step + 1)[0]
            if per_epoch:
                due_next = tf.logical_and(due_next, epoch_step < per_epoch)
            self._gate.assign(tf.cast(due_next, tf.float32))
            return train_step(data)

        setattr(pruned_step, _PRUNES, True)
        return pruned_step

    # What Keras calls

    def on_train_begin(self, logs: Any = None) -> None:
        """Chooses the kernels, makes the schedule and hangs the masks on the variables."""
        _refuse_combinations(self.model)
        if getattr(self, "_owner", None) is not self.model:
            self.detach()
            self._prepare()
            self.step = None
            self.schedule = None if self._spec is not None else self.schedule
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        if self.schedule is None:
            self.schedule = self.schedule_for(steps * epochs if steps and epochs else None)
        self._timetable = Timetable(self.schedule)
        if not self.model.optimizer.built:
            with self.model.distribute_strategy.scope():
                self.model.optimizer.build(self.model.trainable_variables)
        self._attach()
        self._synced = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch, from which an interrupted schedule is resumed."""
        self._epoch = epoch
        self._epoch_step.assign(0)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Makes new masks where the schedule says so, from the weights as the optimizer left them."""
        if not self._synced:
            self._sync()  # here and not earlier: other callbacks restore weights when training begins
        if self._in_graph:
            return
        self.step = (self.step or 0) + 1
        if self._timetable.due(self.step):
            self._update_masks(self._timetable.sparsity(self.step))
        steps = self.params.get("steps")
        last = bool(steps) and batch + 1 >= steps  # an epoch ends masked, so that a checkpoint of it is
        opened = self._timetable.due(self.step + 1) and not last
        if opened != self._gate_open:
            self._gate.assign(float(opened))
            self._gate_open = opened

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Masks the weights: an epoch's checkpoint holds the zeros."""
        self._mask_all()

    def on_test_begin(self, logs: Any = None) -> None:
        """Masks the weights: what is evaluated is what will be saved."""
        if self._attached:
            self._mask_all()

    def on_train_end(self, logs: Any = None) -> None:
        """Masks a last time (an optimizer's weight average is dense) and lets go of the model."""
        if not self._synced:
            self._sync()
        self._mask_all()
        self.detach()
        end = getattr(self.schedule, "end_step", -1)
        if (self.step or 0) < end:
            warnings.warn(
                f"pruning stopped at step {self.step}, before its schedule's end at {end}: sparsity not reached.",
                stacklevel=2,
            )

    def _sync(self) -> None:
        """Finds the step to go on from, and the masks that belong to it."""
        self._synced = True
        if self._pending is not None:
            self.step = int(self._pending["step"])
            kept = [self._pending.get(f"mask{index}") for index in range(len(self._masks))]
            for mask, values in zip(self._masks, kept, strict=True):
                if values is None or values.shape != mask.shape:
                    raise ModelError("the state is of other layers: its masks do not fit these kernels.")
                mask.assign(values)
            self._pending = None
        elif self.step is None:
            self.step = self.start_step if self.start_step is not None else self._steps_before()
            if self.step and self.step >= getattr(self.schedule, "begin_step", 0):
                for kernel, mask in zip(self._kernels, self._masks, strict=True):
                    mask.assign((_numpy(kernel.variable) != 0).astype(mask.dtype.as_numpy_dtype))
        self._graph_step.assign(self.step or 0)
        self._gate.assign(0.0)
        self._gate_open = False

    def _steps_before(self) -> int:
        """Steps of the epochs that this fit() leaves out because an earlier one did them."""
        if not self._epoch:
            return 0
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        steps = self.params.get("steps")
        # `iterations` would be divided by the gradient accumulation steps; TF-MOT counts every forward pass.
        return self._epoch * steps if steps else int(optimizer._iterations.numpy())

    def _update_masks(self, sparsity: float) -> None:
        weights = [_numpy(kernel.variable) for kernel in self._kernels]
        thresholds = [
            tf.constant(magnitude_threshold(array, sparsity), mask.dtype)
            for array, mask in zip(weights, self._masks, strict=True)
        ]
        self._renew(thresholds)


def _without_mask(constraint: Any) -> Any:
    """A variable's own constraint, below the mask that an interrupted `fit` of another callback left on it."""
    while isinstance(constraint, _Masked):
        constraint = constraint.own
    return constraint


def _refuse_combinations(model: keras.Model) -> None:
    """Says in one line what Keras 3 would say in a hundred, or would do wrong."""
    if keras.backend.backend() != "tensorflow":
        raise ModelError(f"tfopt prunes on Keras's TensorFlow backend. Received: {keras.backend.backend()!r}.")
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return
    if model.steps_per_execution > 1:
        raise ModelError(
            "Keras 3 cannot run several steps in one execution under a distribution strategy "
            f"(keras issue 19246). Compile with steps_per_execution=1. Received: {model.steps_per_execution}."
        )
    if model.jit_compile is True:
        raise ModelError(
            "Keras 3 cannot compile with XLA under a distribution strategy. Compile with jit_compile=False."
        )


def _numpy(variable: Any) -> np.ndarray:
    """A variable's values, on a CPU without copying them."""
    return np.asarray(variable.value.read_value())
