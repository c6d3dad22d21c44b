"""Stage `quantize`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tfopt.artifact import Artifact, Format, storage_errors
from tfopt.errors import ConversionError, ModelError
from tfopt.precision import MODES, Export
from tfopt.stages.base import Context, Stage
from tfopt.stages.fitting import check_drop, gated, metrics_of

if TYPE_CHECKING:
    from tfopt.quantization.contract import Outcome
    from tfopt.quantization.conversion import Prepared

CHECKED_SAMPLES = 8
# The contract's second calibration set: this many times the first.
MORE_SAMPLES = 5


class Quantize(Export, Stage):
    """Converts the Keras model to a `.tflite`, and runs it on LiteRT against the model before it counts.

    With `max_drop` it is held to the metric, measured on LiteRT over the validation split: where the file as asked for
    loses more than that against the model it is made from, other calibration is tried, and then the layers that suffer
    most stay in higher precision, as few as it takes. Where nothing keeps the metric, the best file is there and the
    run ends with exit code 3. `goal: smallest` goes on from there: as many layers to int4 as the metric allows.
    """

    kind: ClassVar[str] = "quantize"
    version: ClassVar[int] = 2
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

    @model_validator(mode="after")
    def _contract_fits(self) -> Quantize:
        mode = MODES[self.mode]
        if self.goal and self.max_drop is None:
            raise ValueError("goal: smallest needs max_drop, which says how far it may go. Write max_drop: 0.005")
        if self.max_drop is not None and not mode.static:
            raise ValueError(f"max_drop is for modes that compute in integers, not for {self.mode}. Leave it out")
        if self.goal and "int4" not in mode.rules:
            raise ValueError(f"goal: smallest gives layers int4, which mode {self.mode} does not have")
        return self

    def check(self, model: Any, context: Context) -> None:
        """Converts the model as it is, with a handful of samples: what the converter refuses, it refuses at once."""
        from tfopt.quantization import convert_with_notes

        if self.max_drop is not None or self.metric:
            check_drop(self.max_drop, gated(self.metric, metrics_of(model, context)))
        try:
            few = self.model_copy(update={"ranges": "minmax"})  # a percentile takes more samples
            convert_with_notes(model, few, context.data.calibration(CHECKED_SAMPLES, context.seed))
        except ConversionError as error:
            raise ModelError(str(error), ("mode",)) from error

    def settings(self) -> dict[str, Any]:
        """The settings that the mode looks at."""
        unused = set() if MODES[self.mode].static else {"samples"}
        named = super().settings()
        return {name: value for name, value in self.asked().items() if name in named and name not in unused}

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Converts, keeps the contract if there is one, and writes the file."""
        from tfopt.benchmark import sizes
        from tfopt.quantization import convert_with_notes
        from tfopt.quantization.conversion import prepare, settled

        model = context.load(inputs[0])
        calibration = context.data.calibration(self.samples, context.seed)
        details: dict[str, Any] = {}
        failed = None
        if self.max_drop is None:
            converted = convert_with_notes(model, self, calibration)
        else:
            outcome = self._contract(model, settled(prepare(model, self, calibration)), context)
            converted = outcome.conversion
            details["steps"] = [asdict(step) for step in outcome.steps]
            failed = None if outcome.step.met else f"{context.name}: {self._failure(outcome)}"
        file = context.folder / "model.tflite"
        with storage_errors(file):
            file.write_bytes(converted.content)
        details |= {"notes": list(converted.notes), "audit": asdict(converted.audit)}
        return context.artifact(
            self,
            inputs,
            file.name,
            metrics={**sizes(file), **converted.figures},
            skipped=converted.skipped,
            details=details,
            failed=failed,
        )

    def _contract(self, model: Any, prepared: Prepared, context: Context) -> Outcome:
        from tfopt import evaluate
        from tfopt.litert import Runner
        from tfopt.quantization.contract import Contract
        from tfopt.quantization.samples import fitted

        metric, split = gated(self.metric, metrics_of(model, context)), context.data.validation
        before = evaluate.score(metric, split, evaluate.keras_outputs(model, split))
        more = context.data.calibration(MORE_SAMPLES * self.samples, context.seed)
        runner = Runner(prepared.source.content)
        contract = Contract(
            prepared,
            score=lambda content: evaluate.score(metric, split, evaluate.file_outputs(content, split)),
            drop=lambda after: metric.drop(before, after),
            max_drop=self.max_drop or 0.0,
            more=fitted(more, list(runner.inputs), runner.inputs),
            step=context.progress.step,
            part=context.progress.part,
        )
        return contract.smallest() if self.goal else contract.keep()

    def _failure(self, outcome: Outcome) -> str:
        return (
            f"no file keeps the metric within {self.max_drop:g} on the validation split: of {len(outcome.steps)} that "
            f"were tried the best, {outcome.step.what!r} ({outcome.step.bytes:,} B), loses {outcome.step.drop:.4f}. "
            "Allow more, or take another mode."
        )
