"""Ops that TFLite does not have, computed by ops that it has while a model is traced.

Only for models that the converter refuses without: it knows patterns, such as that of the exact GELU, in which it takes
these ops.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfopt.tensorflow_private import op_outputs_replaced
from tfopt.tflite.file import Op

# Name scope of the error function's ops, which no layer has.
_ERF_SCOPE = "error_function.float32"
# The converter's word for each op that can be replaced.
_REPLACED = ("tf.Erf'", "tf.BitwiseAnd'", "tf.DenseBincount'")
# Coefficients of x and x^2 from the highest power on, for x of -4 to 4; beyond, the function is 1 in float32.
_NUMERATOR = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_DENOMINATOR = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)


def can_replace(refusal: str) -> bool:
    """Whether the converter's refusal is of an op that can be replaced."""
    return any(name in refusal for name in _REPLACED)


def ops_replaced() -> contextlib.AbstractContextManager[None]:
    """Replaces ops in what is traced within the block: `erf`, `bincount`, Keras's way around -0.0 in argmax and argmin.

    For argmax and argmin -0.0 and 0.0 are then the same, as for NumPy and TensorFlow.
    """
    return op_outputs_replaced(_new_outputs)


def float_reasons(ops: Sequence[Op]) -> dict[int, str]:
    """Why ops stay in float, by op number.

    Those of an error function, and quotients: LiteRT ends with an error where a divisor in integers is 0, as the small
    ones of its range round to, such as the number of words of an empty text.
    """
    reasons = {i: "in integers a divisor may round to 0" for i, op in enumerate(ops) if _is_quotient(op)}
    return reasons | {i: "its values are too small for integers" for i, op in enumerate(ops) if _of_erf(op)}


def stay_in_float(ops: Sequence[Op]) -> dict[int, str]:
    """The precision `float` by op number for the ops of `float_reasons`."""
    return dict.fromkeys(float_reasons(ops), "float")


def _of_erf(op: Op) -> bool:
    return any(_ERF_SCOPE in tensor.name for tensor in op.outputs)


def _is_quotient(op: Op) -> bool:
    """Whether an op divides by what another computes."""
    return op.name == "DIV" and len(op.inputs) > 1 and not op.inputs[1].bytes


def _new_outputs(name: str, outputs: Sequence[Any]) -> Sequence[Any] | None:
    op = getattr(outputs[0], "op", None) if outputs else None
    if op is None:
        return None
    if op.type == "Erf" and op.inputs[0].dtype == tf.float32 and "Gelu/" not in name:
        with tf.name_scope(_ERF_SCOPE):
            return [erf(op.inputs[0])]
    if op.type == "DenseBincount" and (size := _size(op.inputs[1])) is not None:
        return [_bincount(op.inputs[0], size, op.inputs[2], op.get_attr("binary_output"))]
    return [op.inputs[2]] if op.type == "SelectV2" and _of_negative_zero(op) else None


def _size(tensor: Any) -> int | None:
    """The number of bins, which TensorFlow computes as `min(most, max(least, ...))`, where both are the same."""
    if (value := tf.get_static_value(tensor)) is not None:
        return int(value)
    most, inner = _limit(tensor.op, "Minimum")
    least, _ = _limit(inner.op, "Maximum") if inner is not None else (None, None)
    return most if most == least else None


def _limit(op: Any, kind: str) -> tuple[int | None, Any]:
    """The constant that an op of this kind compares with, and what it compares; None for each where it does not."""
    values = [tf.get_static_value(part) for part in op.inputs] if op.type == kind else []
    for index, value in enumerate(values):
        if value is not None:
            return int(value), op.inputs[1 - index]
    return None, None


def _bincount(values: Any, size: int, weights: Any, binary: bool) -> Any:
    """How often, or whether at all, each number occurs in the last axis; each occurrence counts as its weight."""
    hot = tf.one_hot(values, size, dtype=weights.dtype)
    if binary:
        return tf.reduce_max(hot, axis=-2)
    return tf.reduce_sum(hot * weights[..., None] if 0 not in weights.shape else hot, axis=-2)


def _of_negative_zero(select: Any) -> bool:
    """Whether an op puts the smallest negative number in place of -0.0."""
    condition, new, _ = select.inputs
    bits = [part.op for part in condition.op.inputs if part.op.type == "Less"]
    value = tf.get_static_value(new)
    return (
        condition.op.type == "LogicalAnd"
        and any(op.inputs[0].op.type == "BitwiseAnd" for op in bits)
        and value is not None
        and bool(np.all(value == -np.finfo(new.dtype.as_numpy_dtype).tiny))
    )


def erf(x: Any) -> Any:
    """The error function as a quotient of polynomials, to the last digits of float32.

    References:
        The coefficients are those of Eigen and XLA for float32 (`ErfF32` in xla/hlo/builder/lib/math.cc).
    """
    x = tf.clip_by_value(x, -4.0, 4.0)
    square = x * x
    return x * _polynomial(square, _NUMERATOR) / _polynomial(square, _DENOMINATOR)


def _polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    value = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        value = value * x + coefficient
    return value
