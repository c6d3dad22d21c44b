"""An LSTM inside of a Keras model, as the one op of an integer file computes it, with a gradient.

The op keeps its state on grids from step to step: the output on that of 8 bits, the cell on one of 16 bits whose scale
is a power of two. Between them all is in 16 bits: what the gates are made of has 12 bits after the point, the gates
themselves 15. Rounding has the gradient 1, the straight-through estimator.

References:
    Li and Alvarez, On the quantization of recurrent neural networks, arXiv:2101.05453; Bengio, Leonard, Courville,
    Estimating or propagating gradients through stochastic neurons for conditional computation, arXiv:1308.3432.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfopt.quantization.recurrent.integer_op import FEWEST_BITS, MOST_BITS
from tfopt.quantization.recurrent.masked_sequence import masked_sequence

# Distance of two numbers of 16 bits: of what a gate is made of, and of a gate.
_SUM_STEP, _GATE_STEP = 2.0**-12, 2.0**-15
_LOWEST, _HIGHEST = -(2.0**15), 2.0**15 - 1


@dataclass(frozen=True)
class CellGrids:
    """The grids of an LSTM's state.

    Args:
        hidden: Rounds the output, `(..., units)`, to its grid.
        cell_step: Distance of two values of the cell, a scalar.
    """

    hidden: Callable[[Any], Any]
    cell_step: Any


def run(cell: Any, sequences: Any, training: bool, grids: CellGrids | None) -> tuple[Any, Any]:
    """The outputs and the cells of every step, from a state of zeros.

    Args:
        cell: A Keras LSTM's cell with tanh and sigmoid, and with the kernels to compute with.
        sequences: Inputs `(batch, steps, inputs)`, on their grid.
        training: Whether dropout applies.
        grids: The grids; None to compute in floating point.

    Returns:
        Both `(batch, steps, units)`: the outputs before they are rounded, and the cells before they are cut off where
        their grid ends.
    """
    data = tf.cast(sequences, tf.float32)
    kernel, recurrent = (tf.cast(weights, tf.float32) for weights in (cell.kernel, cell.recurrent_kernel))
    zeros = tf.zeros((tf.shape(data)[0], cell.units))
    dropped, dropped_state = _dropout(cell, data, zeros, training)
    given = _gates(data, kernel, [tf.expand_dims(mask, 1) for mask in dropped])
    if cell.use_bias:
        given += tf.cast(cell.bias, tf.float32)
    given = _on_sum_grid(given, grids)

    def step(before: tuple[Any, Any], taken: Any) -> tuple[Any, Any]:
        h, c = before
        h, c = (h, c) if grids is None else (grids.hidden(h), _within(c, grids.cell_step))
        summed = taken + _on_sum_grid(_gates(h, recurrent, dropped_state), grids)
        return _step(summed, c, grids)

    h, c = tf.scan(step, tf.transpose(given, (1, 0, 2)), (zeros, zeros))
    return _batch_first(h, sequences), _batch_first(c, sequences)


def sequence(layer: Any, every_step: Callable[[Any], Any], data: Any, mask: Any = None) -> Any:
    """What an LSTM returns, by the outputs of every step of a sequence.

    Args:
        layer: The layer.
        every_step: Maps a sequence `(batch, steps, inputs)` to the outputs `(batch, steps, units)`.
        data: The layer's inputs, `(batch, steps, inputs)`.
        mask: Which steps count, `(batch, steps)`; None for all.
    """
    data = tf.cast(data, tf.float32)
    if layer.go_backwards:
        data, mask = tf.reverse(data, [1]), None if mask is None else tf.reverse(mask, [1])
    if mask is not None:
        zeros = getattr(layer, "zero_output_for_mask", False)
        return masked_sequence(every_step, data, mask, layer.return_sequences, zeros)
    outputs = every_step(data)
    return outputs if layer.return_sequences else outputs[:, -1]


def cell_step(low: Any, high: Any) -> Any:
    """The scale of a cell's grid: the least power of two with which 16 bits reach the ends of its range."""
    reach = tf.stop_gradient(tf.maximum(-low, high))
    larger = [tf.cast(reach > 2.0**bits, tf.float32) for bits in range(FEWEST_BITS, MOST_BITS)]
    return 2.0 ** (FEWEST_BITS - 15 + tf.add_n(larger))


def _step(summed: Any, c: Any, grids: CellGrids | None) -> tuple[Any, Any]:
    """One step, from what the gates are made of and the cell before it."""
    i, f, new, o = tf.split(summed if grids is None else _within(summed, _SUM_STEP), 4, axis=1)
    i, f, new, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(new), tf.sigmoid(o)
    if grids is None:
        c = f * c + i * new
        return o * tf.tanh(c), c
    i, f, new, o = (_within(_round(gate, _GATE_STEP), _GATE_STEP) for gate in (i, f, new, o))
    c = _round(f * c, grids.cell_step) + _round(i * new, grids.cell_step)
    shown = _within(_round(tf.tanh(_within(c, grids.cell_step)), _GATE_STEP), _GATE_STEP)
    return o * shown, c


def _dropout(cell: Any, data: Any, state: Any, training: bool) -> tuple[list[Any], list[Any]]:
    """What dropout multiplies the data and the output of the step before with: one mask, one for each gate, or none."""
    if not training:
        return [], []
    masks = cell.get_dropout_mask(data[:, 0]), cell.get_recurrent_dropout_mask(state)
    cell.reset_dropout_mask()
    cell.reset_recurrent_dropout_mask()
    given, kept = (mask if isinstance(mask, list) else [mask] for mask in masks)
    return [mask for mask in given if mask is not None], [mask for mask in kept if mask is not None]


def _gates(x: Any, kernel: Any, masks: list[Any]) -> Any:
    """`x @ kernel` with the gates side by side, where each gate may have a dropout of its own."""
    if len(masks) < 2:
        return tf.matmul(x * masks[0] if masks else x, kernel)
    parts = zip(masks, tf.split(kernel, len(masks), axis=1), strict=True)
    return tf.concat([tf.matmul(x * mask, part) for mask, part in parts], axis=-1)


def _on_sum_grid(x: Any, grids: CellGrids | None) -> Any:
    return x if grids is None else _within(_round(x, _SUM_STEP), _SUM_STEP)


def _round(x: Any, step: Any) -> Any:
    return x + tf.stop_gradient(tf.round(x / step) * step - x)


def _within(x: Any, step: Any) -> Any:
    """Values cut off at the ends of a grid of 16 bits."""
    return tf.clip_by_value(x, _LOWEST * step, _HIGHEST * step)


def _batch_first(x: Any, sequences: Any) -> Any:
    return tf.ensure_shape(tf.transpose(x, (1, 0, 2)), [*sequences.shape[:2], x.shape[-1]])
