"""TFLiteConverter's own post-training quantization, in a child process.

This is the second route for unrolled recurrent layers. On some graphs the converter crashes its process (a loop in
full integers is one), so it runs in a child. The child takes a SavedModel with the weights in it, so it needs none of
the user's code.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfopt import subprocesses
from tfopt.errors import ConversionError
from tfopt.output_capture import captured
from tfopt.quantization.float_conversion import TracedModel, reason
from tfopt.tensorflow_private import with_constants
from tfopt.tflite import flatbuffer

_GRAPH, _SAMPLES, _FILE = "graph", "samples.npz", "model.tflite"


def post_training(traced: TracedModel, samples: Mapping[str, np.ndarray], io: str = "int8") -> bytes:
    """The int8 `.tflite` of a traced model, made by TFLiteConverter, with all ops in integers.

    Args:
        traced: The traced model.
        samples: Representative inputs `(samples, ...)` by input name.
        io: Type of the file's inputs and outputs, `int8` or `float32`.

    Raises:
        ConversionError: The converter refuses the model, or crashes.
    """
    with tempfile.TemporaryDirectory(prefix="tfopt-") as temporary:
        folder = Path(temporary)
        with captured():
            _save(traced, folder / _GRAPH)
        arrays: Any = {f"input_{i}": samples[key] for i, key in enumerate(traced.inputs)}
        np.savez(folder / _SAMPLES, **arrays)
        result = subprocesses.run(__name__, [str(folder), io])
        if name := subprocesses.killing_signal(result.returncode):
            raise ConversionError(
                f"the converter crashed on the model ({name}), in a process of its own; nothing else was touched. "
                "Use mode dynamic."
            )
        if result.returncode:
            raise ConversionError(f"the converter refuses the model: {reason(result.stderr, '')}")
        parsed = flatbuffer.parse((folder / _FILE).read_bytes())
    for entries, names in (
        (parsed.signatureDefs[0].inputs, traced.inputs),
        (parsed.signatureDefs[0].outputs, traced.outputs),
    ):
        for entry in entries:
            entry.name = names[int(entry.name.decode().rsplit("_", 1)[1])].encode()
        entries.sort(key=lambda entry: names.index(entry.name.decode()))
    flatbuffer.rename(parsed, traced.readable)
    return flatbuffer.pack(parsed)


def _save(traced: TracedModel, folder: Path) -> None:
    """The traced model as a SavedModel with its weights as constants."""
    frozen = with_constants(traced.function)
    specs = [tf.TensorSpec(t.shape, t.dtype, name=f"input_{i}") for i, t in enumerate(frozen.inputs)]

    @tf.function(input_signature=specs)
    def serve(*inputs: Any) -> dict[str, Any]:
        return {f"output_{i}": tensor for i, tensor in enumerate(tf.nest.flatten(frozen(*inputs)))}

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures={flatbuffer.SIGNATURE: serve})


def main(folder: Path, io: str) -> None:
    """The child: converts the SavedModel in the folder."""
    samples = np.load(folder / _SAMPLES)
    arrays = {name: samples[name] for name in samples.files}

    def representative() -> Any:
        for i in range(len(next(iter(arrays.values())))):
            yield {name: array[i : i + 1] for name, array in arrays.items()}

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / _GRAPH))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if io == "int8":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / _FILE).write_bytes(converter.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
