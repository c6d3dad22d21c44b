"""Stage `quantize`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from tfopt.durable_files import storage_errors
from tfopt.errors import ConversionError, InputError, ModelError
from tfopt.metrics import score_split
from tfopt.recipe.artifact import Artifact, Format
from tfopt.recipe.details.detail import Detail
from tfopt.recipe.details.quantization import AccuracySteps, ConversionNotes
from tfopt.recipe.details.training import TrainingHistory
from tfopt.recipe.export import Export
from tfopt.recipe.modes import MODES, RANGES, TRAINED_RANGES
from tfopt.recipe.settings import OneOf, Settings
from tfopt.recipe.stage import Context, Outlook, Stage
from tfopt.recipe.target import TARGETS
from tfopt.stages.conversion_warnings import remedy_details, warning_details
from tfopt.stages.device_record import device_details
from tfopt.stages.optimizer_names import Optimizer
from tfopt.stages.qat import Qat
from tfopt.stages.scoring import check_drop, check_gate, gated, metrics_of
from tfopt.stages.training_stage import BatchSize, Distill
from tfopt.stages.usage_record import usage_detail

if TYPE_CHECKING:
    from tfopt.quantization.accuracy_search import Outcome
    from tfopt.quantization.conversion import Conversion
    from tfopt.quantization.prepared_model import JudgedBy, PreparedModel

CHECKED_SAMPLES = 8
# Size of the accuracy search's second calibration set, as a multiple of the first.
MORE_SAMPLES = 5


class Retraining(Settings):
    """Settings of quantization-aware training in `quantize`, where no converted file keeps the metric."""

    epochs: int = Field(3, ge=1)
    """Passes over the training data."""
    batch_size: BatchSize = None
    """Samples to a step; 32 if not given."""
    optimizer: Optimizer = {"adam": {"learning_rate": 1e-4}}
    """An optimizer, as of any stage that trains."""
    ranges: Annotated[str, OneOf(TRAINED_RANGES)] = "learned"
    """How ranges follow the training; see the stage qat."""
    distill: bool | None = None
    """Learn from the model itself in floating point besides the labels; if not given, where it has one output."""


_AUTO = {"anyOf": [{"const": "auto"}, {"type": "object"}, {"type": "null"}]}


def _auto(value: Any) -> Any:
    if value == "auto":
        return {}
    if value is not None and not isinstance(value, Mapping | Retraining):
        raise ValueError(f"is auto, or settings such as {{epochs: 3}}. Received: {value!r}")
    return value


class Quantize(Export, Stage):
    """Converts the Keras model to a `.tflite`, and runs it on LiteRT against the model before it counts.

    With `max_drop` it is held to the metric, measured on LiteRT over the validation split: where the file as asked for
    loses more than that against the model it is made from, first its biases are corrected and its integers chosen
    together, which costs no bytes; then other calibration is tried, and then the layers that suffer most stay in higher
    precision, as few as it takes. With `qat: auto`, where none of that is enough, the model is
    trained to be its file. Where nothing keeps the metric, the best file is there and the run ends with exit code 3.
    `goal: smallest` goes on from there: as many layers to int4 as the metric allows.
    """

    kind: ClassVar[str] = "quantize"
    rank: ClassVar[int] = 10
    version: ClassVar[int] = 6
    gives: ClassVar[Format] = "tflite"

    samples: int = Field(200, ge=1)
    """How many training samples calibrate the ranges of modes that compute in integers."""
    max_drop: float | None = Field(None, ge=0)
    """How much worse than the model it is made from the file may be on the validation split, in the units of the
    metric (0.005: half a point of accuracy)."""
    metric: str | None = None
    """The metric that max_drop is about, if not the first one."""
    goal: Literal["smallest"] | None = None
    """smallest: with max_drop, as many layers in int4 as it allows."""
    qat: Annotated[Retraining | None, BeforeValidator(_auto), WithJsonSchema(_AUTO)] = None
    """auto, or {epochs: 3} and the like: with max_drop, train the model to be its file (as the stage qat does) where
    no other means keeps the metric."""

    @model_validator(mode="after")
    def _accuracy_settings_fit(self) -> Quantize:
        mode = MODES[self.mode]
        if self.goal and self.max_drop is None:
            raise ValueError("goal: smallest needs max_drop, which says how far it may go. Write max_drop: 0.005")
        if self.max_drop is not None and not mode.static:
            raise ValueError(f"max_drop is for modes that compute in integers, not for {self.mode}. Leave it out")
        if self.qat and self.max_drop is None:
            raise ValueError("qat needs max_drop, which says when to train. Write max_drop: 0.005, or the stage qat")
        if self.goal and "int4" not in mode.rules:
            raise ValueError(f"goal: smallest gives layers int4, which mode {self.mode} does not have")
        return self

    @property
    def smallest(self) -> bool:
        """Whether the goal is the smallest file."""
        return self.goal == "smallest"

    def surroundings(self) -> tuple[str, ...]:
        """The version of the target's tool, which the file and its figures depend on."""
        return TARGETS[self.target].surroundings

    def check_settings(self, outlook: Outlook) -> None:
        """Checks the gate, and that what the target needs is installed."""
        TARGETS[self.target].check_installed()
        if self.max_drop is not None or self.metric:
            check_gate(self.max_drop, self.metric, outlook.metrics)

    def check(self, model: Any, context: Context) -> None:
        """Converts the model as it is, with a handful of samples: what the converter refuses, it refuses at once."""
        from tfopt.quantization.conversion import finish
        from tfopt.quantization.float_conversion import read_from
        from tfopt.quantization.preparation import prepare
        from tfopt.quantization.unrolling import unroll_if_better

        if self.max_drop is not None or self.metric:
            check_drop(self.max_drop, gated(self.metric, metrics_of(model, context)))
        if self.qat:
            self._check_qat(model, context)
        try:
            # A range method for which a handful of samples is enough.
            ranges = next(name for name in (self.ranges, *RANGES) if RANGES[name].fewest <= CHECKED_SAMPLES)
            plain = {"rounding": "nearest", "bias_correction": False, "clipping": "none"}
            few = self.model_copy(update={"ranges": ranges, "least_snr_db": None, "decode": None, **plain})
            calibration = context.data.calibration(CHECKED_SAMPLES, context.seed)
            # Of a handful of samples and a model that may not be trained yet, the noise says nothing.
            source = read_from(context.reads)
            prepared = unroll_if_better(prepare(model, few, calibration, convert=source)).judged("metric")
            finish(prepared, prepared.quantized())
        except ConversionError as error:
            raise ModelError(str(error), ("mode",)) from error

    def _check_qat(self, model: Any, context: Context) -> None:
        if context.devices and context.devices.workers > 1:
            raise InputError("qat within quantize trains in one process. Write the stage qat for workers.", ("qat",))
        try:
            self._training_stage(model).check(model, context)
        except InputError as error:
            raise type(error)(str(error), ("qat", *error.field)) from error

    def _training_stage(self, model: Any) -> Qat:
        """The stage for quantization-aware training, where no other step keeps the metric."""
        asked = self.qat or Retraining.model_validate({})
        given = asked.model_dump(exclude={"distill"})
        alone = len(getattr(model, "outputs", None) or [model]) == 1
        wanted = alone if asked.distill is None else asked.distill
        distill = Distill.model_validate({}) if wanted else None
        plain = self.without_rounding()
        export = {name: getattr(plain, name) for name in Export.model_fields if name != "ranges"}
        export |= {"scales": "auto"} if self.scales == "fewest" else {}  # which is not for training
        return Qat(**export, **given, samples=self.samples, distill=distill)

    def parts(self) -> Sequence[type[Stage]]:
        """The stage `qat`, where the settings allow it."""
        return (Qat,) if self.qat else ()

    def settings(self) -> dict[str, Any]:
        """The settings that matter in this mode."""
        unused = set() if MODES[self.mode].static else {"samples"}
        named = super().settings()
        return {name: value for name, value in self.asked().items() if name in named and name not in unused}

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Converts, with an accuracy search if `max_drop` is set, and writes the file."""
        from tfopt.quantization.conversion import convert_with_notes
        from tfopt.quantization.float_conversion import read_from
        from tfopt.quantization.layer_report import layer_report
        from tfopt.quantization.preparation import prepare
        from tfopt.quantization.unrolling import unroll_if_better
        from tfopt.tflite.benchmark import sizes

        model = context.load(inputs[0]) if self.qat else context.read(inputs[0])  # qat trains it
        source = read_from(context.reads)
        calibration = context.data.calibration(self.samples, context.seed)
        details: list[Detail] = []
        failed = None
        if self.max_drop is None:
            judge: JudgedBy = ("metric" if context.tried else "gate") if context.judged else "snr"
            converted = convert_with_notes(model, self, calibration, judge, source)
        else:
            outcome = self._accuracy_search(
                model, unroll_if_better(prepare(model, self, calibration, convert=source)), inputs, context, details
            )
            converted = outcome.conversion
            name = gated(self.metric, metrics_of(model, context)).name
            details.append(AccuracySteps(tuple(replace(step, metric=name) for step in outcome.steps)))
            failed = None if outcome.step.met else f"{context.name}: {self._failure(outcome)}"
        file = context.folder / "model.tflite"
        with storage_errors(file):
            file.write_bytes(converted.content)
        details += [ConversionNotes(converted.notes), *warning_details(converted, calibration, context, self.mode)]
        details += remedy_details(converted, self)
        usage = usage_detail(file, model, context, converted.figures)
        details += [converted.audit, *layer_report(converted), usage, *device_details(converted, file)]
        return context.artifact(
            self,
            inputs,
            file.name,
            metrics={**sizes(file), **converted.figures},
            skipped=converted.skipped,
            details=details,
            failed=failed,
        )

    def _judges(self, model: Any, context: Context) -> tuple[Callable[[bytes], float], Callable[[float], float]]:
        """The score of a file on the validation split, and the drop of a score from the model's, as functions."""
        from tfopt.models import signature
        from tfopt.tflite import batch_interpreter

        metric, split = gated(self.metric, metrics_of(model, context)), context.data.validation
        before = score_split(metric, split, signature.keras_outputs(model, split))
        return (
            lambda content: score_split(metric, split, batch_interpreter.file_outputs(content, split)),
            lambda after: metric.drop(before, after),
        )

    def _accuracy_search(
        self,
        model: Any,
        prepared: PreparedModel,
        inputs: Sequence[Artifact],
        context: Context,
        details: list[Detail],
    ) -> Outcome:
        """Runs the accuracy search; the history of a training for it goes into the details."""
        from tfopt.quantization.accuracy_search import AccuracySearch
        from tfopt.quantization.calibration_data import match_inputs
        from tfopt.quantization.calibration_warnings import calibration_warnings
        from tfopt.quantization.scale_choice import with_chosen_scales
        from tfopt.tflite.interpreter import Runner

        score, drop = self._judges(model, context)
        more = context.data.calibration(MORE_SAMPLES * self.samples, context.seed)
        runner = Runner(prepared.source.content)
        limit = self.max_drop or 0.0
        contract = AccuracySearch(
            with_chosen_scales(prepared, lambda content: drop(score(content)) <= limit),
            score=score,
            drop=drop,
            max_drop=limit,
            more=match_inputs(more, list(runner.inputs), runner.inputs),
            step=context.progress.step,
            part=context.progress.part,
        )
        outcome = contract.smallest() if self.goal else contract.keep()
        told = (*calibration_warnings(model, prepared.samples), *outcome.conversion.warnings)
        outcome = replace(outcome, conversion=replace(outcome.conversion, warnings=told))
        if not self.qat or outcome.step.met:
            return outcome
        stage = self._training_stage(model)

        def train() -> Conversion:
            conversion, figures, history = stage.train(model, inputs, replace(context, judged=True))
            details.append(TrainingHistory(history))
            return replace(conversion, figures={**conversion.figures, **figures})

        return contract.or_trained(outcome, f"trained for {stage.epochs} epochs to be the file", train)

    def _failure(self, outcome: Outcome) -> str:
        if math.isnan(outcome.step.drop):
            return (
                "the metric of the model or of its file is not a number on the validation split, and can be held to no "
                "limit. Take another metric, or more validation samples."
            )
        return (
            f"no file keeps the metric within {self.max_drop:g} on the validation split: of {len(outcome.steps)} that "
            f"were tried the best, {outcome.step.what!r} ({outcome.step.bytes:,} B), loses {outcome.step.drop:.4f}. "
            "Allow more, or take another mode."
        )
