"""Recurrent layers traced as one op each, and why a layer cannot be.

TFLite has an op for a whole LSTM, and TFLiteConverter makes it of tf_keras's layers alone: a Keras 3 LSTM is a loop to
it. While a model is traced, each LSTM therefore computes with one op that stands for the layer and has its variables as
inputs: TensorFlow's `BlockLSTMV2`, which TFLite does not know, so that the converter hands it on as it is. Nothing runs
it. `fused_op` makes TFLite's own op of it.

References:
    Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 9(8), 1997.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfopt.models.layers import LayerRef, call_replaced

STAND_IN = "BlockLSTMV2"
# The numbers of the stand-in's inputs and of the one output that is read: the data, the kernels, the bias; the sequence.
DATA, KERNEL, RECURRENT_KERNEL, BIAS, SEQUENCE = 1, 4, 5, 8, 6


@contextlib.contextmanager
def fused_calls(places: Sequence[LayerRef], recurrent: str) -> Iterator[dict[str, str]]:
    """Lets every LSTM that can be one op be traced as one within the block.

    Args:
        places: The layers of the model.
        recurrent: `fused` takes layers too that are built to be unrolled, `auto` leaves them so.

    Yields:
        A dict that takes the recurrent layers that are not traced so, each path with the reason.
    """
    left: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for place in places:
            if not isinstance(place.layer, keras.layers.RNN):
                continue
            if reason := unfusable(place.layer, recurrent == "fused"):
                left[place.path] = reason
            else:
                stack.enter_context(call_replaced(place.layer, _call(place, left)))
        yield left


def unfusable(layer: Any, asked: bool = True) -> str:
    """Why a recurrent layer cannot be one op, as far as its settings tell; empty where it can.

    Args:
        layer: A recurrent layer.
        asked: Whether the user asked for it, also for layers that are built to be unrolled.
    """
    if type(layer) is not keras.layers.LSTM or type(layer.cell) is not keras.layers.LSTMCell:
        return f"TFLite has no op for a whole {type(layer).__name__}"
    cell = layer.cell
    used = cell.activation.__name__, cell.recurrent_activation.__name__
    if used != ("tanh", "sigmoid"):
        return f"TFLite's op computes with tanh and sigmoid, and the layer with {used[0]} and {used[1]}"
    if layer.return_state:
        return "TFLite's op gives no state, and the layer does (return_state)"
    return "" if asked or not layer.unroll else "it is built with unroll=True; recurrent: fused makes one op of it"


def _call(place: LayerRef, left: dict[str, str]) -> Any:
    """The `call` of an LSTM that computes with one op, where it is given a sequence and nothing more."""
    layer, original = place.layer, place.layer.call

    def call(sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        if mask is not None or initial_state is not None:
            what = "a mask" if mask is not None else "an initial state"
            left[place.path] = f"TFLite's op begins with zeros and takes every step, and the layer is given {what}"
            return original(sequences, initial_state=initial_state, mask=mask, training=training)
        return _traced(layer, sequences)

    return call


def _traced(layer: Any, sequences: Any) -> Any:
    """The outputs of an LSTM, by one op and what puts the sequence in order before and after it.

    Args:
        layer: The layer.
        sequences: Its input, `(batch, steps, inputs)`.

    Returns:
        `(batch, steps, units)`, or `(batch, units)` of the last step.
    """
    cell = layer.cell
    data = tf.reverse(sequences, [1]) if layer.go_backwards else sequences
    bias = tf.convert_to_tensor(cell.bias) if cell.use_bias else tf.zeros((4 * cell.units,))
    none = tf.zeros((1, 1))
    found = tf.raw_ops.BlockLSTMV2(
        seq_len_max=tf.constant(1, tf.int64),
        x=data,  # the batch first: its output has the shape of its input, whichever comes first
        cs_prev=none,
        h_prev=none,
        w=tf.convert_to_tensor(cell.kernel),
        wci=tf.convert_to_tensor(cell.recurrent_kernel),
        wcf=none,
        wco=none,
        b=bias,
        cell_clip=0.0,
        use_peephole=False,
        name="sequence",
    ).h
    return found if layer.return_sequences else found[:, -1]
