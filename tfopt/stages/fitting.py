"""What the stages that train have in common: length, optimizer, regularizers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator, model_validator

from tfopt.artifact import Artifact
from tfopt.errors import InputError, ModelError
from tfopt.knobs import Knobs, Patterns
from tfopt.stages.base import Context, Need, Stage

if TYPE_CHECKING:
    from tfopt.data import Data
    from tfopt.metrics import Metric
    from tfopt.training import Listener, Settings


# Samples on which metrics are tried before anything is trained.
TRIED = 256


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

    trains: ClassVar[bool] = True

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

    def check(self, model: Any, context: Context) -> None:
        """Builds the optimizer, resolves the patterns, and holds the labels against the loss."""
        from tfopt import regularizers, targets, training

        settings = self.training(context)
        for index, penalty in enumerate(settings.penalties[-len(self.regularizers) :] if self.regularizers else ()):
            try:
                list(regularizers.parts(model, penalty))
            except InputError as error:
                raise type(error)(str(error), ("regularizers", index, *error.field)) from error
        training.check(model, settings)
        if self.distill is not None and len(getattr(model, "outputs", None) or [model]) > 1:
            raise ModelError("a model of several outputs cannot be distilled. Leave distill out.", ("distill",))
        targets.check_targets(model, context.data, context.loss)
        check_metrics(model, context)
        training.class_weights(model, settings, context.data.train)
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
        """The data as the stage trains on it.

        Raises:
            InputError: It cannot be oversampled.
        """
        from tfopt.data import Oversampled, Split

        data = context.data
        if not self.oversample:
            return data
        if self.class_weight is not None:
            raise InputError(
                "oversample and class_weight both make up for rare classes. Leave one out.", ("oversample",)
            )
        if not isinstance(data.train, Split):
            raise InputError(
                "oversample takes arrays in memory, and the training split is streamed. Write class_weight: balanced.",
                ("oversample",),
            )
        return replace(data, train=Oversampled(data.train.x, data.train.y))

    def training(self, context: Context) -> Settings:
        """The settings as the workshop takes them."""
        from tfopt.devices import Devices
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
            class_weight=self.class_weight,
            devices=context.devices or Devices(),
            freeze=self.freeze,
            rates=self.rates,
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
        return len(self.data(context).train) if wanted == "full" else wanted

    def epoch_steps(self, context: Context) -> int:
        """The training steps of an epoch."""
        return math.ceil(len(self.data(context).train) / self.step_samples(context))

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
    """The recipe's metrics, or the loss's usual ones, of a Keras model on the test split, the gated one first."""
    from tfopt import evaluate

    outputs = evaluate.keras_outputs(model, context.data.test)
    return {m.name: evaluate.score(m, context.data.test, outputs) for m in metrics_of(model, context)}


def check_metrics(model: Any, context: Context) -> None:
    """Whether the metrics can be taken of the model's outputs, tried on a few samples.

    Raises:
        InputError: One cannot; better now than after the last epoch.
    """
    from tfopt import evaluate

    split = context.data.test.choose(TRIED, context.seed)
    outputs = evaluate.keras_outputs(model, split)
    for metric in metrics_of(model, context):
        try:
            evaluate.score(metric, split, outputs)
        except (ValueError, TypeError, IndexError) as error:
            raise InputError(
                f"the metric {metric.name} cannot be taken of the model's outputs: {str(error).splitlines()[0]}. "
                "Write the one you want, such as metrics: [accuracy].",
                ("metrics",),
            ) from error


def metrics_of(model: Any, context: Context) -> list[Metric]:
    """The metrics to report of a model, the gated one first: of each output that has targets where there are several.

    They are the recipe's, else those the model was compiled with that tfopt knows, else the usual ones of the loss.
    """
    from tfopt import evaluate, models

    outputs = models.output_names(model) or list(evaluate.keras_outputs(model, context.data.test.few(1)))
    y = context.data.test.y
    several = isinstance(y, dict) and len(outputs) > 1
    scored = [name for name in outputs if name in y] if several else [None]
    found: list[Metric] = []
    for output in scored:
        asked = [m for m in context.metrics if m.output in (None, output)]
        for metric in asked or _usual_metrics(model, context, output):
            found.append(metric.of(output) if output and metric.output is None else metric)
    strangers = [m for m in context.metrics if m.output is not None and m.output not in outputs]
    if strangers or (context.metrics and not found):
        wrong = strangers[0].output if strangers else context.metrics[0].name
        raise InputError(f"metrics names the output {wrong!r}, and the model's are {', '.join(outputs)}.", ("metrics",))
    return list(dict.fromkeys(found))


def _usual_metrics(model: Any, context: Context, output: str | None) -> list[Metric]:
    from tfopt import metrics, models
    from tfopt.targets import loss_name

    y = context.data.test.y
    labels = y[output] if output else y
    names = _of_output(models.compile_settings(model).get("metrics"), output)
    names = [m if isinstance(m, str) else getattr(m, "name", "") for m in names if m is not None]
    known = [metrics.KERAS_NAMES.get(name, name) for name in names]
    if found := [metrics.METRICS[name] for name in dict.fromkeys(known) if name in metrics.METRICS]:
        return found
    loss = context.loss or getattr(model, "loss", None)
    loss = loss.get(output) if isinstance(loss, Mapping) and output in loss else loss
    if loss is None and not isinstance(labels, dict) and labels.dtype.kind in "iub":
        return [metrics.METRICS["accuracy"]]  # whole numbers are class ids until a loss says otherwise
    return [metrics.default_metric(None if isinstance(loss, Mapping) else loss_name(loss))]


def _of_output(compiled: Any, output: str | None) -> list[Any]:
    """What of compiled metrics, in any of the forms that Keras takes, is of an output."""
    if isinstance(compiled, Mapping):
        compiled = compiled.get(output)
    flat = compiled if isinstance(compiled, list | tuple) else [compiled]
    return [metric for entry in flat for metric in (entry if isinstance(entry, list | tuple) else [entry])]


def gated(name: str | None, metrics: Sequence[Metric]) -> Metric:
    """The metric of that name, which a gate looks at; the first if it has none.

    Raises:
        InputError: It is not among them.
    """
    from tfopt.knobs import did_you_mean

    if name is None:
        return metrics[0]
    known = {metric.name: metric for metric in metrics}
    if name not in known:
        raise InputError(
            f"the gate looks at {name!r}, which is not measured. {did_you_mean(name, known)} Add it to the recipe's "
            "metrics.",
            ("metric",),
        )
    return known[name]


def check_drop(max_drop: float | None, metric: Metric) -> None:
    """Refuses a gate that nothing could fail.

    Raises:
        InputError: More than all of the accuracy.
    """
    if metric.keras == "accuracy" and max_drop is not None and max_drop >= 1:
        raise InputError(
            f"max_drop is a fraction: write 0.02 for two points of accuracy. Received: {max_drop:g}.", ("max_drop",)
        )
