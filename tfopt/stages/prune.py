"""Stage `prune`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from tfopt.artifact import Artifact, Skipped
from tfopt.errors import InputError
from tfopt.knobs import Patterns
from tfopt.stages.base import Context
from tfopt.stages.fitting import Fitting, test_metrics


class Prune(Fitting):
    """Sets the smallest weights of each kernel to zero while training goes on (TF-MOT's magnitude pruning)."""

    kind: ClassVar[str] = "prune"

    sparsity: float = Field(ge=0, lt=1)
    """The fraction of zeros to reach in each kernel, 0-1."""
    schedule: Literal["polynomial", "constant"] = "polynomial"
    """TF-MOT's PolynomialDecay or ConstantSparsity."""
    initial_sparsity: float = Field(0.0, ge=0, lt=1)
    """Where the polynomial schedule starts, 0-1."""
    power: float = Field(3.0, gt=0)
    """The exponent of the polynomial schedule."""
    begin: int | float = Field(0.0, ge=0)
    """The first step that prunes: a whole number is a step, a fraction 0.0-1.0 a share of the training."""
    end: int | float = Field(0.75, ge=0)
    """The last step that makes new masks, the same way; the rest of the training recovers."""
    frequency: int | None = Field(None, ge=1)
    """Steps between mask updates; a twentieth of the way, at most 100, if not given."""
    only: Patterns = ()
    """Layer patterns (path, name or class); empty means every layer of a class that TF-MOT prunes."""
    skip: Patterns = ()
    """Layer patterns to leave dense."""

    def check(self, model: Any, context: Context) -> None:
        """Resolves the patterns and builds the schedule."""
        import math

        from tfopt.sparsity.selection import choose_kernels

        choose_kernels(model, self.only, self.skip)
        total = self.epochs * math.ceil(len(context.data.train) / self.batch_size)
        schedule = self._callback().schedule_for(total)
        if schedule.end_step > total:
            raise InputError(
                f"pruning ends at step {schedule.end_step}, and the stage has only {total}. Lower end or raise epochs.",
                ("end",),
            )
        super().check(model, context)

    def _callback(self) -> Any:
        from tfopt.callbacks import MagnitudePruning

        names = ("schedule", "initial_sparsity", "power", "begin", "end", "frequency", "only", "skip")
        return MagnitudePruning(self.sparsity, **{name: getattr(self, name) for name in names})

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Trains with the callback and saves."""
        import numpy as np

        from tfopt import training

        model, pruning = context.load(inputs[0]), self._callback()
        history = training.fit(
            model, context.data, self.training(context), context.folder, [pruning], self.listener(context)
        )
        by_kernel = pruning.sparsity()
        kernels = [np.asarray(weight) for weight in model.trainable_weights if len(weight.shape) > 1]
        overall = 1 - sum(map(np.count_nonzero, kernels)) / sum(kernel.size for kernel in kernels)
        return context.artifact(
            self,
            inputs,
            context.save(model),
            metrics={**test_metrics(model, context), "sparsity": float(overall)},
            skipped=tuple(Skipped(where, reason) for where, reason in pruning.skipped),
            details={"history": history, "sparsity": by_kernel},
        )
