"""Stage `train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from tfopt.artifact import Artifact
from tfopt.errors import InputError
from tfopt.knobs import Knobs, did_you_mean
from tfopt.stages.base import Context
from tfopt.stages.fitting import Fitting, test_metrics


class EarlyStopping(Knobs):
    """When to stop before the last epoch: the arguments of `keras.callbacks.EarlyStopping`."""

    monitor: str = "val_loss"
    """The logged value to watch."""
    patience: int = Field(5, ge=0)
    """Epochs without improvement to wait for."""
    min_delta: float = Field(0.0, ge=0)
    """The least change that counts as one."""
    start_from_epoch: int = Field(0, ge=0)
    """Epochs to let pass before watching."""
    restore_best_weights: bool = True
    """Go back to the weights of the best epoch."""


class Train(Fitting):
    """Trains the model on the training split, and measures it on the test split."""

    kind: ClassVar[str] = "train"

    early_stopping: EarlyStopping | None = None
    """Stop when the validation loss no longer falls; `{}` for the usual settings."""

    def training(self, context: Context) -> Any:
        """The settings, with early stopping."""
        early = self.early_stopping.model_dump() if self.early_stopping else None
        return replace(super().training(context), early_stopping=early)

    def check(self, model: Any, context: Context) -> None:
        """Looks for the value that early stopping watches, besides what every training needs."""
        from tfopt import training

        super().check(model, context)
        metrics = training.compile_arguments(model, self.training(context), 1)["metrics"] or []
        if self.early_stopping and isinstance(metrics, list):
            names = ["loss", *(m if isinstance(m, str) else getattr(m, "name", str(m)) for m in metrics)]
            logged = [*names, *(f"val_{name}" for name in names), "penalty", "val_task_loss"]
            monitor = self.early_stopping.monitor
            if monitor not in logged:
                raise InputError(
                    f"nothing is logged as {monitor!r}. {did_you_mean(monitor, logged)}", ("early_stopping", "monitor")
                )

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Trains and saves."""
        from tfopt import training

        model, callbacks = context.load(inputs[0]), self.distillation(inputs, context)
        history = training.fit(
            model, context.data, self.training(context), context.folder, callbacks, self.listener(context)
        )
        metrics = test_metrics(model, context)
        return context.artifact(self, inputs, context.save(model), metrics=metrics, details={"history": history})
