"""Stage `quantize`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from tfopt.artifact import Artifact, Format, storage_errors
from tfopt.stages.base import Context, Stage


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
