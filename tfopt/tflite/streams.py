"""Runs of a `.tflite` that keeps state: pieces of a sequence one after the other, and the sequence in one call.

Both run on LiteRT's own kernels: XNNPACK refuses other shapes than a file was made for where LiteRT would show that the
outputs differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfopt.errors import ConversionError
from tfopt.output_capture import captured
from tfopt.tflite.interpreter import Runner, quantize_samples


def in_pieces(content: bytes, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs for samples that are the pieces of one sequence, `(samples, ...)`, in the file's own dtypes.

    Args:
        content: Bytes of the file, of batch size 1.
        samples: The pieces `(samples, steps, ...)` by input name, in the float model's units.

    Raises:
        ConversionError: LiteRT does not run the file.
    """
    runner = Runner(content, delegate=False, keeps_state=True)
    return runner.quantized(quantize_samples(samples, runner.inputs))


def at_once(content: bytes, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs for samples that are the pieces of one sequence, which the file is given in one call.

    Args:
        content: Bytes of the file, of batch size 1.
        samples: The pieces `(samples, steps, ...)` by input name, in the float model's units.

    Raises:
        ConversionError: The file takes no longer sequence than its own.
    """
    inputs = Runner(content).inputs
    feeds = quantize_samples(samples, inputs)
    whole = {name: np.concatenate(list(pieces))[None] for name, pieces in feeds.items()}
    try:
        with captured():
            interpreter: Any = Interpreter(
                model_content=content,
                num_threads=1,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            for name, value in whole.items():
                interpreter.resize_tensor_input(inputs[name]["index"], value.shape)
            interpreter.allocate_tensors()
            runner = interpreter.get_signature_runner()
            return runner(**whole)
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            f"LiteRT does not take a longer sequence: {str(error).strip().splitlines()[0]}"
        ) from error
