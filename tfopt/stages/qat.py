"""Stage `qat`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tfopt.durable_files import storage_errors
from tfopt.errors import ConversionError, ModelError
from tfopt.recipe.artifact import TRAINED, Artifact, Format
from tfopt.recipe.details.quantization import ConversionNotes
from tfopt.recipe.details.training import TrainingHistory
from tfopt.recipe.export import Export
from tfopt.recipe.modes import MODES, RANGES, TRAINED_RANGES
from tfopt.recipe.settings import OneOf
from tfopt.recipe.stage import Context, Outlook
from tfopt.recipe.target import TARGETS
from tfopt.stages.conversion_warnings import warning_details
from tfopt.stages.device_record import device_details
from tfopt.stages.training_stage import TrainingStage
from tfopt.stages.usage_record import usage_detail

if TYPE_CHECKING:
    import keras

    from tfopt.quantization.aware.callback import QuantizationAware
    from tfopt.quantization.conversion import Conversion

# Samples to check on whether the model can be converted.
CHECKED_SAMPLES = 8
# Test samples on which the file is compared with the model in training.
COMPARED = 500


class Qat(Export, TrainingStage):
    """Trains the model to be its integer file, and converts it with the ranges that it was trained with.

    In training every value is rounded to the grid that it has in the `.tflite`. Pruned kernels stay as sparse, and
    clustered ones keep their number of values. With `rounding`, `bias_correction` or `clipping` the training starts
    from the integers so chosen, on their scales. The trained Keras model is `trained.keras` in the stage's folder.
    """

    kind: ClassVar[str] = "qat"
    rank: ClassVar[int] = 9
    version: ClassVar[int] = 4
    gives: ClassVar[Format] = "tflite"

    ranges: Annotated[str, OneOf(TRAINED_RANGES)] = "moving_average"
    """How ranges follow the training. moving_average: of each batch's extremes. percentile: without the samples that
    stand out. learned: by the gradient, and the steps of kernels with them (LSQ); the one for int4."""
    scales: Literal["auto", "channel", "tensor"] = "auto"
    """Scales of quantized kernels. channel: one for each output channel, more exact. tensor: one for all, which keeps
    the number of distinct values and compresses better. auto: tensor for clustered kernels, channel for others."""
    momentum: float = Field(0.99, ge=0, lt=1)
    """Share of the old range that a moving average keeps at each step, 0-1."""
    rate: float = Field(1e-3, gt=0, lt=1)
    """Step size of learned ranges, as a share of the range."""
    freeze_last: float = Field(0.25, ge=0, lt=1)
    """The share of the epochs, at the end, in which ranges and the statistics of BatchNormalizations stay as they
    are; of two epochs or more it is one at least, and 0 is none."""
    samples: int = Field(200, ge=1)
    """How many training samples calibrate the first ranges."""

    @model_validator(mode="after")
    def _in_integers(self) -> Qat:
        if not MODES[self.mode].static:
            able = ", ".join(mode.name for mode in MODES.values() if mode.static)
            raise ValueError(f"qat is for modes that compute in integers: {able}. Received: mode: {self.mode}")
        fewest = RANGES[TRAINED_RANGES[self.ranges].begin].fewest
        if self.samples < fewest:
            raise ValueError(f"ranges: {self.ranges} begins with {fewest} samples at least. Received: {self.samples}")
        return self

    def surroundings(self) -> tuple[str, ...]:
        """The version of the target's tool, which the file and its figures depend on."""
        return TARGETS[self.target].surroundings

    def check_settings(self, outlook: Outlook) -> None:
        """Checks the optimizer's name, and that what the target needs is installed."""
        super().check_settings(outlook)
        TARGETS[self.target].check_installed()

    def check(self, model: Any, context: Context) -> None:
        """Makes the quantization scheme of the untrained model, and checks that it can be trained."""
        from tfopt.quantization.aware.callback import refuse_closures
        from tfopt.training import trainer

        super().check(model, context)
        refuse_closures(trainer.compile_arguments(model, self.training(context), steps_per_epoch=1)["optimizer"])
        try:
            self.aware(context.data.calibration(CHECKED_SAMPLES, context.seed)).on(model)
        except ConversionError as error:
            raise ModelError(str(error), ("mode",)) from error

    def aware(self, calibration: Any) -> QuantizationAware:
        """The callback for quantization-aware training."""
        from tfopt.quantization.aware.callback import QuantizationAware

        names = (*(name for name in Export.model_fields), "momentum", "rate", "freeze_last")
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        return QuantizationAware(calibration, **settings)

    def train(
        self, model: keras.Model, inputs: Sequence[Artifact], context: Context
    ) -> tuple[Conversion, dict[str, float], Mapping[str, list[float]]]:
        """Trains a model in place and converts it.

        Returns:
            The conversion, the agreement of the file with the model in training, and the history.
        """
        aware = self.aware(context.data.calibration(self.samples, context.seed))
        aware.quiet = True  # the conversion says it
        if self.reconstructs:
            aware.begin(model)
        history = self.fit(model, inputs, context, aware)
        trained = aware.aware.on(model)
        conversion = trained.finish("metric" if context.judged else "training")
        likeness = trained.likeness(conversion.content, context.data.test.choose(COMPARED, context.seed).x)
        figures = {"simulation_steps": likeness.steps, "simulation_agreement": likeness.agreement}
        note = (
            f"the file and the model as it was trained differ by at most {likeness.steps:.1f} steps of its grid "
            f"on {COMPARED} samples of the test split or all, and agree in {likeness.agreement:.1%} of the classes"
        )
        told = (*aware.aware.warnings, *conversion.warnings)
        return replace(conversion, notes=(*conversion.notes, note), warnings=told), figures, history

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Trains, converts and writes the file."""
        from tfopt.models import files
        from tfopt.quantization.layer_report import layer_report
        from tfopt.tflite.benchmark import sizes

        model = context.load(inputs[0])
        conversion, figures, history = self.train(model, inputs, context)
        file = context.folder / "model.tflite"
        with storage_errors(file):
            file.write_bytes(conversion.content)
            files.save(model, context.folder / TRAINED)
        return context.artifact(
            self,
            inputs,
            file.name,
            metrics={**sizes(file), **conversion.figures, **figures},
            skipped=conversion.skipped,
            details=[
                TrainingHistory(history),
                ConversionNotes(conversion.notes),
                *warning_details(conversion, context.data.calibration(self.samples, context.seed), context, self.mode),
                conversion.audit,
                *layer_report(conversion),
                usage_detail(file, model, context, conversion.figures),
                *device_details(conversion, file),
            ],
        )
