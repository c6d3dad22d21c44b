"""Stage `quantize`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from tfopt.artifact import Artifact, Format, storage_errors
from tfopt.errors import ConversionError, ModelError
from tfopt.stages.base import Context, Stage

CHECKED_SAMPLES = 8


class Quantize(Stage):
    """Converts the Keras model to a `.tflite`, and runs it on LiteRT against the model before it counts."""

    kind: ClassVar[str] = "quantize"
    gives: ClassVar[Format] = "tflite"

    mode: Literal["float32", "float16", "dynamic", "int8"] = "int8"
    """float32: as it is. float16: half the bytes. dynamic: int8 weights, float activations. int8: all integers."""
    io: Literal["int8", "float32"] = "int8"
    """For mode int8: the type of the file's inputs and outputs."""
    samples: int = Field(200, ge=1)
    """How many training samples calibrate the int8 ranges."""

    @model_validator(mode="after")
    def _io_is_for_int8(self) -> Quantize:
        if self.mode != "int8" and "io" in self.model_fields_set:
            raise ValueError(
                f"io is for mode int8: the inputs and outputs of {self.mode} are as the model's. Leave it out"
            )
        return self

    def check(self, model: Any, context: Context) -> None:
        """Converts the model as it is, with a handful of samples: what the converter refuses, it refuses at once."""
        from tfopt.quantization import convert_with_notes

        try:
            convert_with_notes(model, self.mode, context.data.calibration(CHECKED_SAMPLES, context.seed), self.io)
        except ConversionError as error:
            raise ModelError(str(error), ("mode",)) from error

    def settings(self) -> dict[str, Any]:
        """The settings that the mode looks at."""
        unused = set() if self.mode == "int8" else {"io", "samples"}
        return {name: value for name, value in super().settings().items() if name not in unused}

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Converts and writes the file."""
        from tfopt.benchmark import sizes
        from tfopt.quantization import convert_with_notes

        model = context.load(inputs[0])
        calibration = context.data.calibration(self.samples, context.seed)
        converted = convert_with_notes(model, self.mode, calibration, self.io)
        file = context.folder / "model.tflite"
        with storage_errors(file):
            file.write_bytes(converted.content)
        return context.artifact(self, inputs, file.name, metrics=sizes(file), skipped=converted.skipped)
