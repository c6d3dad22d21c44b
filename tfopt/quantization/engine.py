"""litert-quantizer, driven with a true min/max calibration.

Its default calibration keeps a moving average of each tensor's range, which cuts off what the last samples do not show:
on trained models its int8 error is several times that of the full range, which is what the TFLite converter takes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from litert_quantizer import calibrator, qtyping, quantizer
from litert_quantizer.algorithm_manager import AlgorithmName
from litert_quantizer.utils import qsv_utils

from tfopt.errors import ConversionError
from tfopt.noise import captured

_SIGNATURE = "serving_default"


def quantize(content: bytes, mode: str, samples: Mapping[str, np.ndarray], io: str = "int8") -> bytes:
    """A quantized file from a float one.

    Args:
        content: A float32 `.tflite` with a signature.
        mode: `float16`, `dynamic` or `int8`.
        samples: Representative inputs by name, `(samples, ...)` each; only `int8` looks at them.
        io: `int8` or `float32` inputs and outputs of an int8 file.

    Raises:
        ConversionError: The quantizer refuses the file, with its reason.
    """
    engine = quantizer.Quantizer(bytearray(content))
    with captured() as noise, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _configure(engine, mode, io)
            ranges = _ranges(engine, content, samples) if mode == "int8" else None
            result = engine.quantize(ranges, enable_progress_report=False).quantized_model
        except Exception as error:
            text = (str(error).strip() or noise.text().strip() or type(error).__name__).splitlines()[0]
            if "Tensor data is null" in text:  # what is inside a loop has no values to look at
                text = "it has a loop (a recurrent layer), whose ranges cannot be calibrated. Use mode dynamic."
            raise ConversionError(f"the quantizer refuses the model in mode {mode}: {text[:300]}") from error
    return _inlined(bytes(result))


def _configure(engine: Any, mode: str, io: str) -> None:
    if mode == "float16":
        weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
        )
        engine.update_quantization_recipe(".*", "*", config, AlgorithmName.FLOAT_CASTING)
    elif mode == "dynamic":
        engine.add_dynamic_config(".*", "*", 8)
    else:
        engine.add_static_config(".*", "*", 8, 8)
        if io == "float32":
            for end in ("INPUT", "OUTPUT"):
                engine.update_quantization_recipe(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)


def _ranges(engine: Any, content: bytes, samples: Mapping[str, np.ndarray]) -> Any:
    """Smallest and largest value of each tensor over all samples."""
    count = len(next(iter(samples.values())))
    feeds = [{name: array[i : i + 1] for name, array in samples.items()} for i in range(count)]
    observer = calibrator.Calibrator(bytearray(content), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    observer.calibrate({_SIGNATURE: feeds}, engine._recipe_manager)  # the public way has no choice of update function
    return observer.get_model_qsvs()


def _inlined(content: bytes) -> bytes:
    """The file with all its constants inside the flatbuffer: large ones come behind it, where few readers look."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
