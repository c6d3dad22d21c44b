"""The activations of a `.tflite` on samples, in the float model's units."""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfopt.output_capture import captured
from tfopt.tflite.interpreter import dequantize, quantize_samples


def activations(
    content: bytes, samples: Mapping[str, np.ndarray], names: Container[str]
) -> dict[str, np.ndarray] | None:
    """The values of tensors of a file's own graph, sample after sample; those that are no floats are left out.

    Args:
        content: Bytes of a file with a signature and tensor names.
        samples: Inputs `(samples, ...)` by input name, in the float model's units.
        names: Names of the tensors.

    Returns:
        The values by tensor name, `(samples, ...)` in float32, or for a file of a fixed batch whole batches of them;
        None where LiteRT does not run the file with its tensors kept.
    """
    with captured(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LiteRT warns that keeping all tensors takes memory
        # XNNPACK is fast and takes some scales that nothing else does; of some files it keeps tensors to itself.
        for resolver in (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
            try:
                return _run(content, samples, names, resolver)
            except (RuntimeError, ValueError):
                continue
    return None


def _run(
    content: bytes, samples: Mapping[str, np.ndarray], names: Container[str], resolver: Any
) -> dict[str, np.ndarray]:
    interpreter = Interpreter(
        model_content=content,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=resolver,
    )
    interpreter.allocate_tensors()
    inputs: dict[str, Any] = interpreter.get_signature_runner().get_input_details()
    wanted = [detail for detail in interpreter.get_tensor_details() if detail["name"] in names and _is_number(detail)]
    sizes = [int(detail["shape"][0]) if len(detail["shape"]) else 1 for detail in inputs.values()]
    step, count = max(max(sizes), 1), len(next(iter(samples.values())))
    feeds = quantize_samples(samples, inputs)
    found: dict[str, list[np.ndarray]] = {detail["name"]: [] for detail in wanted}
    for start in range(0, count, step):
        rows = np.arange(start, start + step) % count  # a file of a fixed batch takes nothing less
        interpreter.reset_all_variables()
        for name, detail in inputs.items():
            value = feeds[name][rows]
            if tuple(interpreter.get_tensor(detail["index"]).shape) != value.shape:
                interpreter.resize_tensor_input(detail["index"], value.shape)
                interpreter.allocate_tensors()
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        for detail in wanted:
            found[detail["name"]].append(dequantize(interpreter.get_tensor(detail["index"]), detail))
    return {name: np.concatenate(parts) for name, parts in found.items() if _joins(parts)}


def _is_number(detail: Mapping[str, Any]) -> bool:
    dtype = np.dtype(detail["dtype"])
    return dtype.kind == "f" or (dtype.kind in "iu" and bool(detail["quantization"][0]))


def _joins(parts: list[np.ndarray]) -> bool:
    """Whether values can be put together: they have a first axis, and open dimensions came out the same."""
    return bool(parts) and parts[0].ndim > 0 and len({part.shape[1:] for part in parts}) == 1
