"""The base class of stages that train: epochs, optimizer, regularizers, distillation."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from tfopt.errors import InputError, ModelError, TfoptWarning
from tfopt.recipe.artifact import BACKUP, TENSORBOARD, Artifact, Skipped
from tfopt.recipe.details.detail import Detail
from tfopt.recipe.details.weights import WeightsByLayer
from tfopt.recipe.settings import Patterns, Settings
from tfopt.recipe.stage import Context, Need, Outlook, Stage
from tfopt.stages.class_labels import one_class_warning
from tfopt.stages.optimizer_names import Optimizer, check_optimizer
from tfopt.stages.scoring import check_metrics, test_metrics

if TYPE_CHECKING:
    from tfopt.data.splits import Data
    from tfopt.models.weight_statistics import LayerSnapshot
    from tfopt.training.fit_callbacks import Listener
    from tfopt.training.fit_settings import FitSettings


def _batch(value: Any) -> Any:
    if value is None or value == "full" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"is a whole number above 0, or full for the whole training split. Received: {value!r}")


# Batch size: a number of samples, or `full`.
BatchSize = Annotated[
    int | Literal["full"] | None,
    BeforeValidator(_batch),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "full"}, {"type": "null"}]}),
]


class Regularizer(Settings):
    """A penalty on kernels, chosen by layer patterns."""

    l1: float = Field(0.0, ge=0)
    """Factor of the sum of absolute weights."""
    l2: float = Field(0.0, ge=0)
    """Factor of the sum of squared weights."""
    group_lasso: float = Field(0.0, ge=0)
    """Factor of the sum of the norms of each output channel's weights: drives whole channels to zero."""
    scale_l1: float = Field(0.0, ge=0)
    """Factor of the sum of absolute scales of BatchNormalizations: drives whole channels to zero."""
    orthogonal: float = Field(0.0, ge=0)
    """Factor of the squared distance of a kernel's channels from being orthogonal and of length 1."""
    only: Patterns = ()
    """Layer patterns (path, name or class); empty means every layer with a kernel, or with a scale."""
    skip: Patterns = ()
    """Layer patterns to leave out."""

    @model_validator(mode="after")
    def _penalizes(self) -> Regularizer:
        factors = [name for name in type(self).model_fields if name not in ("only", "skip")]
        if not any(getattr(self, name) for name in factors):
            raise ValueError(f"a regularizer without {', '.join(factors)} does nothing. Write one of them")
        return self


class Distill(Settings):
    """A teacher whose outputs count besides the labels (Hinton, Vinyals, Dean, arXiv:1503.02531)."""

    teacher: str | None = None
    """The name of the earlier stage whose model teaches; the model that this stage starts from if not given."""
    temperature: float = Field(4.0, gt=0, allow_inf_nan=False)
    """How soft the teacher's and the model's classes are compared: the higher, the more small probabilities count. A
    model of values, trained on a mean error, has none."""
    weight: float = Field(0.5, ge=0, le=1)
    """How much the teacher counts, 0-1; the labels count for the rest."""


@contextlib.contextmanager
def _heard(told: list[str]) -> Iterator[None]:
    """Adds the warnings of tfopt in the block to a list, in the place of Python's; others stay Python's."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **rest: Any) -> None:
        if issubclass(category, TfoptWarning):
            told.append(str(message))
        else:
            shown(message, category, *where, **rest)

    with warnings.catch_warnings():
        warnings.simplefilter("always", TfoptWarning)
        warnings.showwarning = show
        yield


class TrainingStage(Stage):
    """The settings of a stage that trains."""

    trains: ClassVar[bool] = True
    goes_on_from: ClassVar[tuple[str, ...]] = (BACKUP, TENSORBOARD)

    epochs: int = Field(ge=1)
    """Passes over the training data."""
    batch_size: BatchSize = None
    """Samples to a step: 32 if not given; `full` for the whole training split, which has to fit in memory. The names of
    some optimizers say it."""
    optimizer: Optimizer = None
    """An optimizer by name, or `{name: {argument: value}}`: Keras's, `gradient_descent`, `momentum` and `nesterov` for
    Keras's SGD, `proximal_sgd`, `proximal_adam`, `sam`, `adahessian`, `newton_cg`. Its `learning_rate` is a number or
    one of `{exponential: {...}}`, `{cosine: {...}}`, `{piecewise: {...}}`, `{one_cycle: {...}}` with the arguments of
    the schedule.
    The one it was last compiled with (an earlier stage's), or adam, if not given."""
    l1: float = Field(0.0, ge=0)
    """Factor of an L1 penalty on every kernel."""
    l2: float = Field(0.0, ge=0)
    """Factor of an L2 penalty on every kernel."""
    regularizers: tuple[Regularizer, ...] = ()
    """More penalties, by layer pattern."""
    class_weight: dict[int, float] | Literal["balanced"] | None = Field(None, examples=[{0: 1.0, 1: 50.0}])
    """How much the samples of each class count in the loss, by class id, for labels that are not evenly spread;
    balanced: all classes the same, samples / (classes * samples of the class)."""
    oversample: bool = False
    """Show every class equally often: those of few samples again and again, until they are as many as the largest."""
    freeze: Patterns = ()
    """Layer patterns (path, name or class) of layers that do not learn in this stage."""
    rates: dict[str, float] = Field({}, examples=[{"conv*": 0.1}])
    """Factors of the learning rate by layer pattern, such as {conv*: 0.1}; a later pattern wins."""
    distill: Distill | None = Field(None, examples=[{"temperature": 4, "weight": 0.5}])
    """Learn from an earlier model besides the labels; `{}` for the one that this stage starts from."""

    @field_validator("rates")
    @classmethod
    def _are_factors(cls, rates: dict[str, float]) -> dict[str, float]:
        for pattern, factor in rates.items():
            if not 0 <= factor < math.inf:
                raise ValueError(f"factors of the learning rate are 0 or above. Received: {pattern}: {factor}")
        return rates

    @model_validator(mode="after")
    def _makes_up_once(self) -> Self:
        if self.oversample and self.class_weight is not None:
            raise ValueError("oversample and class_weight both make up for rare classes. Leave one out")
        return self

    def check_settings(self, outlook: Outlook) -> None:
        """Checks the optimizer's name."""
        check_optimizer(self.optimizer)

    def check(self, model: Any, context: Context) -> None:
        """Builds the optimizer, resolves the patterns, and checks that the labels fit the loss."""
        from tfopt.training import label_checks, trainer

        settings = self.training(context)
        for index, penalty in enumerate(settings.penalties[-len(self.regularizers) :] if self.regularizers else ()):
            try:
                list(penalty.parts(model))
            except InputError as error:
                raise type(error)(str(error), ("regularizers", index, *error.field)) from error
        trainer.check_trainable(model, settings)
        if self.distill is not None and len(getattr(model, "outputs", None) or [model]) > 1:
            raise ModelError("a model of several outputs cannot be distilled. Leave distill out.", ("distill",))
        label_checks.check_targets(model, context.data, context.loss)
        check_metrics(model, context)
        trainer.class_weights(model, settings, context.data.train)
        self.data(context).check_augment()
        train = context.data.train
        if settings.devices.runtime.strategy == "multi_worker" and hasattr(
            getattr(train, "source", None), "element_spec"
        ):
            raise InputError(
                "workers have to read the same order, and that of a tf.data.Dataset depends on what was read of it "
                "before. Give a function of the epoch that makes it.",
                ("data",),
            )

    def data(self, context: Context) -> Data:
        """The data to train on, oversampled if the settings say so.

        Raises:
            InputError: The data cannot be oversampled.
        """
        from tfopt.data.splits import Oversampled, Split

        data = context.data
        if not self.oversample:
            return data
        if not isinstance(data.train, Split):
            raise InputError(
                "oversample takes arrays in memory, and the training split is streamed. Write class_weight: balanced.",
                ("oversample",),
            )
        return replace(data, train=Oversampled(data.train.x, data.train.y))

    def training(self, context: Context) -> FitSettings:
        """The settings for `fit`."""
        from tfopt.training.devices import Devices
        from tfopt.training.fit_settings import FitSettings
        from tfopt.training.regularizers import Penalty

        overall = [Penalty(self.l1, self.l2)] if self.l1 or self.l2 else []
        return FitSettings(
            epochs=self.epochs,
            batch_size=self.step_samples(context),
            optimizer=self.optimizer,
            penalties=(*overall, *(Penalty(**penalty.model_dump()) for penalty in self.regularizers)),
            loss=context.loss,
            metrics=context.metrics,
            class_weight=self.class_weight,
            devices=context.devices or Devices(),
            freeze=self.freeze,
            rates=self.rates,
            seed=context.seed,
            key=None if context.tried else context.key,
        )

    def step_samples(self, context: Context) -> int:
        """The batch size in samples.

        Raises:
            InputError: The optimizer's name stands for another batch size.
        """
        from tfopt.optimizers.registry import OPTIMIZERS, named

        name = named(self.optimizer)
        says = OPTIMIZERS[name].batch_size if name and name in OPTIMIZERS else None
        if says and self.batch_size and says != self.batch_size:
            samples = {"full": "the whole training split", 1: "one sample"}.get(says, f"{says} samples")
            raise InputError(
                f"{name} takes {samples} to a step. Leave batch_size out, or write mini_batch_gradient_descent. "
                f"Received: {self.batch_size}.",
                ("batch_size",),
            )
        wanted = self.batch_size or says or 32
        return len(self.data(context).train) if wanted == "full" else wanted

    def epoch_steps(self, context: Context) -> int:
        """The training steps of an epoch."""
        return math.ceil(len(self.data(context).train) / self.step_samples(context))

    def needs(self) -> Mapping[str, Need]:
        """The teacher for distillation."""
        name = self.distill.teacher if self.distill else None
        return {name: Need(("distill", "teacher"), "keras")} if name else {}

    def fit(
        self,
        model: Any,
        inputs: Sequence[Artifact],
        context: Context,
        *callbacks: Any,
        settings: FitSettings | None = None,
        folder: Path | None = None,
    ) -> dict[str, list[float]]:
        """Trains a model in place, as the settings say, with callbacks of the stage's own and the teacher's.

        What issues a `tfopt.TfoptWarning` on the way has it shown with the result.

        Args:
            model: The model to train.
            inputs: The stage's inputs, of which the first is the teacher where no other is named.
            context: The stage's context.
            *callbacks: Keras callbacks of the stage's own.
            settings: Settings for `fit`; `training(context)` if not given.
            folder: Folder for checkpoints; the stage's own if not given.

        Returns:
            What was logged at the end of each epoch, by name.
        """
        from tfopt.training import trainer

        settings, folder = settings or self.training(context), folder or context.folder
        every = [*callbacks, *self.distillation(inputs, context)]
        samples = len(self.data(context).train)
        if sentence := trainer.batches_warning(model, settings, samples):
            context.told.append(sentence)
        context.told.append(settings.devices.lowered_executions(math.ceil(samples / settings.batch_size)))
        context.told.append(one_class_warning(context.data.train))
        with _heard(context.told):
            return trainer.fit(model, self.data(context), settings, folder, every, self.listener(context))

    def sparse_artifact(
        self,
        model: Any,
        inputs: Sequence[Artifact],
        context: Context,
        skipped: Sequence[tuple[str, str]],
        details: Sequence[Detail],
        before: Sequence[LayerSnapshot],
    ) -> Artifact:
        """The artifact of a stage that prunes or clusters kernels: the saved model, with its metrics and sparsity.

        Args:
            model: The trained model.
            inputs: The stage's inputs.
            context: The stage's context.
            skipped: Layers that were left alone, each with the reason.
            details: Further details for the report.
            before: The weights of the model before it was trained.
        """
        from tfopt.models.weight_statistics import compare, lost, snapshot
        from tfopt.sparsity.magnitude import kernel_sparsity

        after = snapshot(model)
        context.told.append(lost(before, after))
        scores = test_metrics(model, context)
        return context.artifact(
            self,
            inputs,
            context.save(model),
            metrics={**scores, "sparsity": kernel_sparsity(model)},
            scores=tuple(scores),
            skipped=tuple(Skipped(where, reason) for where, reason in skipped),
            details=[*details, WeightsByLayer.from_json(compare(after, before))],
        )

    def distillation(self, inputs: Sequence[Artifact], context: Context) -> list[Any]:
        """The distillation callback with its teacher; empty without distillation."""
        if self.distill is None:
            return []
        from tfopt.training.distillation import Distillation

        name = self.distill.teacher
        teacher = context.load(context.artifacts[name] if name else inputs[0])
        return [Distillation(teacher, self.distill.temperature, self.distill.weight)]

    def listener(self, context: Context) -> Listener:
        """A listener that passes the progress of the training on to the run's."""
        from tfopt.training.fit_callbacks import Listener

        return Listener(context.progress.epoch, context.progress.batch, context.progress.note)
