"""The Keras callback for magnitude pruning."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.errors import ModelError
from tfopt.keras_private import step_count
from tfopt.models.attachment import ConstraintCallback, refuse_combinations
from tfopt.models.constraints import HeldConstraint
from tfopt.models.layers import Kernel, Rules, as_rules
from tfopt.models.requirements import check_weights
from tfopt.recipe.settings import takes_settings
from tfopt.sparsity.mask_updates import MaskUpdater
from tfopt.sparsity.pruning_config import PruningConfig
from tfopt.sparsity.pruning_plan import PruningPlan, build_schedule, pattern_of, plan_pruning
from tfopt.sparsity.rewinding import Rewinding
from tfopt.sparsity.schedule_table import ScheduleTable
from tfopt.sparsity.selection import UNASKED

__all__ = ["MagnitudePruning"]


_PRUNES = "_tfopt_prunes"  # attribute of a replaced train_step: the callback that replaced it


class _Masked(HeldConstraint):
    """Holds a kernel to its mask.

    While the gate is 1 it lets the weights pass: TF-MOT makes a mask from the weights as the optimizer left them.
    """

    def __init__(self, mask: tf.Variable, gate: tf.Variable, own: Any, holder: MagnitudePruning):
        super().__init__(own, holder)
        self.mask, self.gate = mask, gate

    def hold(self, weights: tf.Tensor) -> tf.Tensor:
        """The weights with their zeros."""
        return weights * tf.maximum(tf.cast(self.mask, weights.dtype), tf.cast(self.gate, weights.dtype))


@takes_settings(PruningConfig)
class MagnitudePruning(ConstraintCallback):
    """Sets the smallest weights of each kernel to zero while `fit()` trains, with the masks that TF-MOT would make.

    The masks live in the callback and act through the variables' constraints for the length of a `fit()`. The model
    stays an ordinary Keras model at every moment: save it, checkpoint it, clone it, export it.

    A callback object counts its steps over all the fits it is given to. A new one begins at step 0, or, where `fit`
    starts at a later epoch (`initial_epoch`, `BackupAndRestore`), at that epoch's first step with the zeros it finds as
    masks, which resumes an interrupted schedule. `EarlyStopping(restore_best_weights=True)` can bring back weights from
    before the schedule's end, less sparse: let it start after that (`start_from_epoch`).

    Layers with a kernel that it does not prune, such as one of your own class or one with `trainable=False` that `only`
    does not name, are a `tfopt.TfoptWarning` when `fit` begins; `skipped` lists them all.

    Its settings are those of the stage `prune`, and `tfopt stages prune` lists what the words of `allocation` and
    `schedule` mean. A TF-MOT `PruningSchedule` object as `schedule` has its own sparsity, begin, end and frequency.

    Args:
        rules: Sparsities by layer pattern, such as `{"head": 0.5}`, before any allocation; of several that match the
            last one counts, 0 keeps a layer dense.
        start_step: First step, if neither 0 nor the first step of the epoch that `fit` starts at.
        **settings: Fields of `PruningConfig`.

    Raises:
        InputError: Settings that contradict each other.
        ModelError: When `fit` begins: a pattern that matches no layer, a model that is not built, or a way of training
            that Keras cannot combine.

    References:
        Zhu and Gupta, To prune, or not to prune, arXiv:1710.01878.
        Frankle et al., Stabilizing the lottery ticket hypothesis, arXiv:1903.01611 (rewinding the weights).
        Renda et al., Comparing rewinding and fine-tuning in neural network pruning, arXiv:2003.02389 (the learning
        rate).

    Example:
        ```python
        model.fit(x, y, epochs=10, callbacks=[tfopt.callbacks.MagnitudePruning(sparsity=0.8)])
        ```
    """

    def __init__(
        self,
        sparsity: float | None = None,
        *,
        rules: Rules[float] | None = None,
        prunable: Mapping[str, Sequence[str]] | None = None,
        start_step: int | None = None,
        **settings: Any,
    ):
        super().__init__()
        settings |= {"sparsity": sparsity, "prunable": prunable or {}}
        settings["rules"] = [{"layers": patterns, "sparsity": value} for patterns, value in as_rules(rules)]
        self._config = PruningConfig(**settings)
        pattern_of(self._config)  # raises for numbers that make no pattern
        self.schedule: Any = None
        self.start_step = start_step
        self.step: int | None = None
        self.skipped: list[tuple[str, str]] = []
        rewind = self._config.rewind
        self._rewinding = Rewinding(rewind, self._config.rewind_to) if rewind else None
        self._masking: MaskUpdater
        self._pending: dict[str, np.ndarray] | None = None
        self._in_graph = False
        self._epoch = 0
        self._gate_open = False

    # The state of the schedule

    def choose(self, model: keras.Model, total: int | None) -> tuple[list[tuple[Kernel, float | None]], Any]:
        """The kernels to prune, each with its final sparsity, and the schedule; skipped layers go to `skipped`.

        Args:
            model: A built model.
            total: Steps of the whole training; None where it is not known.

        Raises:
            InputError: Settings that contradict each other or the length of the training.
        """
        plan = self._plan(model, total)
        return list(zip(plan.kernels, plan.shares, strict=True)), plan.schedule

    def _plan(self, model: keras.Model, total: int | None) -> PruningPlan:
        plan = plan_pruning(self._config, model, total)
        self.skipped = list(plan.skipped)
        if self._rewinding:
            self._rewind_step = self._rewinding.before(plan.schedule, total)
        return plan

    def schedule_for(self, total: int | None) -> Any:
        """The TF-MOT schedule of a training of `total` steps; None for a length that is not known.

        Raises:
            InputError: A fraction of an unknown length, or an end before the begin.
        """
        return build_schedule(self._config, total)

    def sparsity(self) -> dict[str, float]:
        """The fraction of zeros of each pruned kernel, by its path, such as `conv2d/kernel`."""
        return self._masking.sparsity() if self._prepared else {}

    def sizes(self) -> dict[str, int]:
        """The number of weights of each pruned kernel, by its path."""
        kernels = self._masking.kernels if self._prepared else []
        return {kernel.path: int(np.prod(kernel.variable.shape)) for kernel in kernels}

    def get_state(self) -> dict[str, np.ndarray]:
        """The step, the masks and the rewinding point, to continue in another process with `set_state`."""
        masks = {f"mask{index}": mask.numpy() for index, mask in enumerate(self._masks)}
        rewinding = self._rewinding.get_state() if self._rewinding else {}
        return {"step": np.asarray(self._count()), **masks, **rewinding}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores a state of `get_state`; the next batch of `fit` continues from it."""
        self._pending = dict(state)

    def _count(self) -> int:
        return int(self._graph_step.numpy()) if self._in_graph and self._held else self.step or 0

    @property
    def _prepared(self) -> bool:
        return hasattr(self, "_masking")

    @property
    def _masks(self) -> list[tf.Variable]:
        return self._masking.masks if self._prepared else []

    # Attaching to a model and letting go of it

    def _prepare(self) -> None:
        """Chooses the kernels and makes the masks, once for a model."""
        model, strategy = self.model, self.model.distribute_strategy
        check_weights(model, ", so there is nothing to prune. Call model.build or the model first.")
        plan = self._plan(model, self._total())
        self.schedule = plan.schedule
        if self._rewinding:
            self._rewinding.forget()
        self._masking = MaskUpdater(
            plan.kernels, plan.pattern, plan.shares, plan.final, strategy, self._config.allocation
        )
        with strategy.scope():
            once = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
            self._gate = tf.Variable(0.0, **once)
            self._graph_step = tf.Variable(0, dtype=tf.int64, **once)
            self._epoch_step = tf.Variable(0, dtype=tf.int64, **once)
        self._owner = model

    def _total(self) -> int | None:
        """The steps of the whole training, where its length is known."""
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        return steps * epochs if steps and epochs else None

    def _attach(self) -> None:
        model = self.model
        self.detach()
        own = self._own_constraints(self._masking.kernels)
        self._in_graph = model.steps_per_execution > 1
        other = getattr(model.train_step, _PRUNES, None)
        if other is not None and other.params is self.params:
            raise ModelError("two pruning callbacks in one fit take steps_per_execution=1.")
        if other is not None:  # an interrupted fit left it
            del model.train_step
        if self._in_graph:
            model.train_step = self._pruning_step(model.train_step)
        pairs = zip(self._masks, own, strict=True)
        self._hold(self._masking.kernels, [_Masked(mask, self._gate, mine, self) for mask, mine in pairs])

    def detach(self) -> None:
        """Removes the constraints from the model, which keeps its zeros; `fit` does this at its end."""
        if not self._held:
            return
        self.step = self._count()
        model = self._owner
        if model is not None and getattr(model.train_step, _PRUNES, None) is self:
            del model.train_step
        super().detach()

    def _pruning_step(self, train_step: Any) -> Any:
        """TF-MOT's update inside the traced step: with several steps in one execution no callback runs between them."""
        step, epoch_step = self._graph_step, self._epoch_step
        schedule, per_epoch = self.schedule, self.params.get("steps")
        update = self._masking.update_in_graph(step, schedule)

        def pruned_step(data: Any) -> Any:
            step.assign_add(1)
            epoch_step.assign_add(1)
            update()
            due_next = schedule(step + 1)[0]
            if per_epoch:
                due_next = tf.logical_and(due_next, epoch_step < per_epoch)
            self._gate.assign(tf.cast(due_next, tf.float32))
            return train_step(data)

        setattr(pruned_step, _PRUNES, self)
        return pruned_step

    # What Keras calls

    def on_train_begin(self, logs: Any = None) -> None:
        """Chooses the kernels, makes the schedule and attaches the masks to the variables."""
        refuse_combinations(self.model)
        if self._owner is not self.model:
            self.detach()
            self._prepare()
            self._tell([(path, reason) for path, reason in self.skipped if reason in UNASKED])
            self.step = None
        self._timetable = ScheduleTable(self.schedule)
        if self._rewinding and self.model.steps_per_execution > 1:
            raise ModelError(
                "rewinding looks at every step: compile with steps_per_execution=1. "
                f"Received: {self.model.steps_per_execution}."
            )
        optimizer = self.model.optimizer
        if optimizer is not None and not optimizer.built:
            with self.model.distribute_strategy.scope():
                optimizer.build(self.model.trainable_variables)
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
        rewinding, done = self._rewinding, self.step or 0
        if rewinding and done == self._rewind_step:
            rewinding.keep(self.model)
        self.step = done + 1
        if self._timetable.due(self.step):
            self._masking.renew(self._timetable.sparsity(self.step))
            if rewinding:
                rewinding.go_back(self.model)
                self._masking.apply()
        steps = self.params.get("steps")
        last = bool(steps) and batch + 1 >= steps  # an epoch ends masked, so that a checkpoint of it is
        opened = self._timetable.due(self.step + 1) and not last
        if opened != self._gate_open:
            self._gate.assign(float(opened))
            self._gate_open = opened

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Masks the weights: an epoch's checkpoint holds the zeros."""
        self._masking.apply()

    def on_test_begin(self, logs: Any = None) -> None:
        """Masks the weights, so that the evaluated model is the one that will be saved."""
        if self._held:
            self._masking.apply()

    def on_train_end(self, logs: Any = None) -> None:
        """Masks a last time (an optimizer's weight average is dense) and detaches from the model."""
        if not self._synced:
            self._sync()
        self._masking.apply()
        self.detach()
        end = getattr(self.schedule, "end_step", -1)
        if (self.step or 0) < end:
            warnings.warn(
                f"pruning stopped at step {self.step}, before its schedule's end at {end}: sparsity not reached.",
                stacklevel=2,
            )

    def _sync(self) -> None:
        """Finds the step to continue from, and its masks."""
        self._synced = True
        if self._pending is not None:
            self.step = int(self._pending["step"])
            kept = [self._pending.get(f"mask{index}") for index in range(len(self._masks))]
            for mask, values in zip(self._masks, kept, strict=True):
                if values is None or values.shape != mask.shape:
                    raise ModelError("the state is of other layers: its masks do not fit these kernels.")
                mask.assign(values)
            if self._rewinding:
                self._rewinding.set_state(self._pending)
            self._pending = None
        elif self.step is None:
            self.step = self.start_step if self.start_step is not None else self._steps_before()
            if self.step and self.step >= getattr(self.schedule, "begin_step", 0):
                self._masking.from_zeros()
        self._graph_step.assign(self.step or 0)
        self._gate.assign(0.0)
        self._gate_open = False

    def _steps_before(self) -> int:
        """Steps of the epochs that this fit() skips because an earlier one trained them."""
        if not self._epoch:
            return 0
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        steps = self.params.get("steps")
        return self._epoch * steps if steps else int(step_count(optimizer).numpy())  # TF-MOT counts every batch
