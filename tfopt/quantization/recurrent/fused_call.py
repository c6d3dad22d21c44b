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
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from tfopt.models.layers import LayerRef, call_replaced
from tfopt.models.unrolled_masks import unrolled_wrongly
from tfopt.quantization.recurrent.masked_sequence import masked_sequence

STAND_IN = "BlockLSTMV2"
# The numbers of the stand-in's inputs, and of the output that is read.
DATA, KERNEL, RECURRENT_KERNEL, BIAS, SEQUENCE = 1, 4, 5, 8, 6


@dataclass
class Traced:
    """What became of the recurrent layers of a model while it was traced.

    Args:
        calls: How often a layer was traced as one op.
        left: The layers that were not, each path with the reason.
    """

    calls: int = 0
    left: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def fused_calls(places: Sequence[LayerRef], recurrent: str) -> Iterator[Traced]:
    """Lets every LSTM that can be one op be traced as one within the block.

    Args:
        places: The layers of the model.
        recurrent: `fused` takes layers too that are built to be unrolled, `auto` leaves them so; anything else takes
            none.

    Yields:
        What becomes of them, filled as the model is traced.
    """
    found = Traced()
    with contextlib.ExitStack() as stack:
        for place in places:
            if recurrent not in ("auto", "fused") or not isinstance(place.layer, keras.layers.RNN):
                continue
            if reason := unfusable(place.layer, recurrent == "fused"):
                found.left[place.path] = reason
            else:
                stack.enter_context(call_replaced(place.layer, _call(place, found)))
        yield found


def unfusable(layer: Any, asked: bool = True) -> str:
    """Why a recurrent layer cannot be one op, as far as its settings tell; empty where it can.

    Args:
        layer: A recurrent layer.
        asked: Whether the user asked for it, also for layers that are built to be unrolled.
    """
    if type(layer) is not keras.layers.LSTM or type(layer.cell) is not keras.layers.LSTMCell:
        return f"TFLite has no op of a whole {type(layer).__name__}"
    cell = layer.cell
    used = cell.activation.__name__, cell.recurrent_activation.__name__
    if used != ("tanh", "sigmoid"):
        return f"TFLite's op computes with tanh and sigmoid, and the layer with {used[0]} and {used[1]}"
    if layer.return_state:
        return "TFLite's op gives no state, and the layer does (return_state)"
    return "" if asked or not layer.unroll else "it is built with unroll=True; recurrent: fused makes one op of it"


def _call(place: LayerRef, found: Traced) -> Any:
    """The `call` of an LSTM that computes with one op, where it is given a sequence and nothing more."""
    layer, original = place.layer, place.layer.call

    def call(sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        if reason := _against(layer, sequences, initial_state, mask):
            found.left[place.path] = reason
            return original(sequences, initial_state=initial_state, mask=mask, training=training)
        found.calls += 1
        return _traced(layer, sequences, mask)

    return call


def _against(layer: Any, sequences: Any, initial_state: Any, mask: Any) -> str:
    """Why an LSTM cannot be one op with what it is given; empty where it can."""
    if sequences.shape[0] is None:
        return "TFLite's op keeps a state for so many samples, and the file takes any number"
    if initial_state is not None:
        return "TFLite's op begins with zeros, and the layer is given an initial state"
    if mask is not None and sequences.shape[1] is None:
        return "TFLite's op takes every step, and the layer is given a mask and a sequence of any length"
    if mask is not None and layer.unroll and unrolled_wrongly(layer):
        return "Keras unrolls it (unroll=True) with its mask the wrong way round; leave unroll out"
    return ""


def _traced(layer: Any, sequences: Any, mask: Any) -> Any:
    """The outputs of an LSTM, by one op and what puts the sequence in order before and after it.

    Args:
        layer: The layer.
        sequences: Its input, `(batch, steps, inputs)`.
        mask: Which steps count, `(batch, steps)`; None for all.

    Returns:
        `(batch, steps, units)`, or `(batch, units)` of the last step.
    """
    if layer.go_backwards:
        sequences, mask = tf.reverse(sequences, [1]), None if mask is None else tf.reverse(mask, [1])
    if mask is not None:
        zeros = getattr(layer, "zero_output_for_mask", False)
        run = functools.partial(_sequence, layer.cell)
        return masked_sequence(run, sequences, mask, layer.return_sequences, zeros)
    found = _sequence(layer.cell, sequences)
    return found if layer.return_sequences else found[:, -1]


def _sequence(cell: Any, data: Any) -> Any:
    """The outputs of an LSTM cell at each step, `(batch, steps, units)`, as the op that stands for it."""
    bias = tf.convert_to_tensor(cell.bias) if cell.use_bias else tf.zeros((4 * cell.units,))
    none = tf.zeros((1, 1))
    return tf.raw_ops.BlockLSTMV2(
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
