"""What the stages that train have in common: length, optimizer, regularizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from tfopt.artifact import Artifact
from tfopt.errors import InputError
from tfopt.knobs import Knobs, Patterns
from tfopt.stages.base import Context, Need, Stage

if TYPE_CHECKING:
    from tfopt.evaluate import Metric
    from tfopt.training import Listener, Settings


def _optimizer(value: Any) -> Any:
    named = isinstance(value, str) or (
        isinstance(value, Mapping) and len(value) == 1 and isinstance(next(iter(value.values())), Mapping | None)
    )
    if value is not None and not named and not hasattr(value, "get_config"):
        raise ValueError(
            "is a name such as adam, or a name with its arguments such as {adam: {learning_rate: 0.001}}. "
            f"Received: {value!r}"
        )
    return value


def _written(value: Any) -> Any:
    return {type(value).__name__.lower(): value.get_config()} if hasattr(value, "get_config") else value


Optimizer = Annotated[
    Any,
    BeforeValidator(_optimizer),
    PlainSerializer(_written),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object", "maxProperties": 1}, {"type": "null"}]}),
]


def _batch(value: Any) -> Any:
    if value is None or value == "full" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"is a whole number above 0, or full for the whole training split. Received: {value!r}")


# Samples to a step: so many, or all.
BatchSize = Annotated[
    int | Literal["full"] | None,
    BeforeValidator(_batch),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "full"}, {"type": "null"}]}),
]


class Regularizer(Knobs):
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


class Distill(Knobs):
    """A teacher whose outputs count besides the labels (Hinton, Vinyals, Dean, arXiv:1503.02531)."""

    teacher: str | None = None
    """The name of the earlier stage whose model teaches; the model that this stage starts from if not given."""
    temperature: float = Field(4.0, gt=0, allow_inf_nan=False)
    """How soft the teacher's and the model's classes are compared: the higher, the more small probabilities count. A
    model of values, trained on a mean error, has none."""
    weight: float = Field(0.5, ge=0, le=1)
    """How much the teacher counts, 0-1; the labels count for the rest."""


class Fitting(Stage):
    """The settings of a stage that trains."""

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
    distill: Distill | None = Field(None, examples=[{"temperature": 4, "weight": 0.5}])
    """Learn from an earlier model besides the labels; `{}` for the one that this stage starts from."""

    def check(self, model: Any, context: Context) -> None:
        """Builds the optimizer, resolves the patterns, and holds the labels against the loss."""
        from tfopt import regularizers, targets, training

        settings = self.training(context)
        for index, penalty in enumerate(settings.penalties[-len(self.regularizers) :] if self.regularizers else ()):
            try:
                list(regularizers.parts(model, penalty))
            except InputError as error:
                raise type(error)(str(error), ("regularizers", index, *error.field)) from error
        training.compile_arguments(model, settings, steps_per_epoch=1)
        check_metrics(model, context)
        targets.check_targets(model, context.data, context.loss)
        context.data.check_augment()

    def training(self, context: Context) -> Settings:
        """The settings as the workshop takes them."""
        from tfopt.regularizers import Penalty
        from tfopt.training import Settings

        overall = [Penalty(self.l1, self.l2)] if self.l1 or self.l2 else []
        return Settings(
            epochs=self.epochs,
            batch_size=self.step_samples(context),
            optimizer=self.optimizer,
            penalties=(*overall, *(Penalty(**penalty.model_dump()) for penalty in self.regularizers)),
            loss=context.loss,
            metrics=context.metrics,
            seed=context.seed,
        )

    def step_samples(self, context: Context) -> int:
        """The samples to a training step.

        Raises:
            InputError: The optimizer's name says another number.
        """
        from tfopt.optimizers.factory import BATCHES, named

        name = named(self.optimizer)
        says = BATCHES.get(name) if name else None
        if says and self.batch_size and says != self.batch_size:
            raise InputError(
                f"{name} takes {'the whole training split' if says == 'full' else 'one sample'} to a step. Leave "
                f"batch_size out, or write mini_batch_gradient_descent. Received: {self.batch_size}.",
                ("batch_size",),
            )
        wanted = self.batch_size or says or 32
        return len(context.data.train) if wanted == "full" else wanted

    def needs(self) -> Mapping[str, Need]:
        """The teacher."""
        name = self.distill.teacher if self.distill else None
        return {name: Need(("distill", "teacher"), "keras")} if name else {}

    def distillation(self, inputs: Sequence[Artifact], context: Context) -> list[Any]:
        """The callback that brings in the teacher; none if it was not asked for."""
        if self.distill is None:
            return []
        from tfopt.callbacks import Distillation

        name = self.distill.teacher
        teacher = context.load(context.artifacts[name] if name else inputs[0])
        return [Distillation(teacher, self.distill.temperature, self.distill.weight)]

    def listener(self, context: Context) -> Listener:
        """Training's news, passed on to the run's progress."""
        from tfopt.training import Listener

        return Listener(context.progress.epoch, context.progress.batch)


def test_metrics(model: Any, context: Context) -> dict[str, float]:
    """The recipe's metrics, or the loss's usual one, of a Keras model on the test split."""
    from tfopt import evaluate

    outputs = evaluate.keras_outputs(model, context.data.test.x)
    return {m.name: evaluate.score(m, context.data.test, outputs) for m in metrics_of(model, context)}


def check_metrics(model: Any, context: Context) -> None:
    """Whether the metrics can be taken of the model's outputs, tried on a few samples.

    Raises:
        InputError: One cannot; better now than after the last epoch.
    """
    from tfopt import evaluate
    from tfopt.data import Split, take

    few = slice(0, 8)
    split = Split(take(context.data.test.x, few), take(context.data.test.y, few))
    outputs = evaluate.keras_outputs(model, split.x)
    if len(outputs) > 1:
        raise InputError(f"a recipe takes models of one output, and this one has {', '.join(outputs)}.", ("model",))
    for metric in metrics_of(model, context):
        try:
            evaluate.score(metric, split, outputs)
        except ValueError as error:
            raise InputError(
                f"the metric {metric.name} cannot be taken of the model's outputs: {str(error).splitlines()[0]}. "
                "Write the one you want, such as metrics: [accuracy].",
                ("metrics",),
            ) from error


def metrics_of(model: Any, context: Context) -> list[Any]:
    """The metrics to report of a model, the gated one first."""
    from tfopt import evaluate
    from tfopt.targets import loss_name

    names = context.metrics or _compiled_metrics(model)
    if names:
        return [evaluate.METRICS[name] for name in names]
    loss = context.loss or getattr(model, "loss", None)
    if loss is None and not isinstance(context.data.test.y, dict) and context.data.test.y.dtype.kind in "iub":
        return [evaluate.METRICS["accuracy"]]  # whole numbers are class ids until a loss says otherwise
    return [evaluate.default_metric(loss_name(loss))]


def _compiled_metrics(model: Any) -> list[str]:
    """Those of the model's own compiled metrics that tfopt can take of any file."""
    from tfopt import evaluate, models

    compiled = models.compile_settings(model).get("metrics")
    names = (
        [m if isinstance(m, str) else getattr(m, "name", "") for m in compiled] if isinstance(compiled, list) else []
    )
    known = [evaluate.KERAS_NAMES.get(name, name) for name in names]
    return [name for name in dict.fromkeys(known) if name in evaluate.METRICS]


def check_drop(max_drop: float | None, metric: Metric) -> None:
    """Refuses a gate that nothing could fail.

    Raises:
        InputError: More than all of the accuracy.
    """
    if metric.name == "accuracy" and max_drop is not None and max_drop >= 1:
        raise InputError(
            f"max_drop is a fraction: write 0.02 for two points of accuracy. Received: {max_drop:g}.", ("max_drop",)
        )
