"""Stage `train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from tfopt.errors import InputError, did_you_mean
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.training import TrainingHistory
from tfopt.recipe.details.weights import WeightsByLayer
from tfopt.recipe.settings import Settings
from tfopt.recipe.stage import Context
from tfopt.stages.scoring import test_metrics
from tfopt.stages.training_stage import TrainingStage


class EarlyStopping(Settings):
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


class Train(TrainingStage):
    """Trains the model on the training split, and measures it on the test split."""

    kind: ClassVar[str] = "train"
    rank: ClassVar[int] = 2
    prepares: ClassVar[bool] = True
    version: ClassVar[int] = 2

    early_stopping: EarlyStopping | None = None
    """Stop when the validation loss no longer falls; `{}` for the usual settings."""

    def training(self, context: Context) -> Any:
        """The training settings, with early stopping."""
        early = self.early_stopping.model_dump() if self.early_stopping else None
        return replace(super().training(context), early_stopping=early)

    def check(self, model: Any, context: Context) -> None:
        """Checks that the value that early stopping watches is logged, besides the checks of every training."""
        from tfopt.training import trainer

        super().check(model, context)
        settings = self.training(context)
        metrics = trainer.compile_arguments(model, settings, 1)["metrics"] or []
        if self.early_stopping and isinstance(metrics, list | dict):
            names = ["loss", *_logged(metrics)]
            scored = [
                f"val_{metric.name}" for metric in trainer.scored_metrics(model, settings, context.data.validation)
            ]
            logged = [*names, *(f"val_{name}" for name in names), *scored, "penalty", "val_task_loss"]
            monitor = self.early_stopping.monitor
            if monitor not in logged:
                raise InputError(
                    f"nothing is logged as {monitor!r}. {did_you_mean(monitor, logged)}", ("early_stopping", "monitor")
                )

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Trains and saves."""
        from tfopt.models.weight_statistics import compare, lost, snapshot

        model = context.load(inputs[0])
        before = snapshot(model)
        history = self.fit(model, inputs, context)
        after = snapshot(model)
        context.told.append(lost(before, after))
        metrics = test_metrics(model, context)
        details = [TrainingHistory(history), WeightsByLayer.from_json(compare(after))]
        file = context.save(model)
        return context.artifact(self, inputs, file, metrics=metrics, scores=tuple(metrics), details=details)


def _logged(metrics: Any) -> list[str]:
    """The names that Keras logs compiled metrics under, those of `{output: [...]}` with the output's name in front."""
    if isinstance(metrics, dict):
        of_outputs = [f"{output}_{name}" for output, own in metrics.items() for name in _logged(own)]
        return [*of_outputs, *(f"{output}_loss" for output in metrics)]
    names = metrics if isinstance(metrics, list | tuple) else [metrics]
    return [name if isinstance(name, str) else getattr(name, "name", str(name)) for name in names]
