"""The LSTM cell in NumPy: the values of its output and its state, from which the ranges of the integer op are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CellRun:
    """The values of an LSTM over sequences.

    Args:
        h: Outputs `(samples, steps, units)`, in the order in which the steps were taken.
        c_low: The smallest value of the cell state in each sample, `(samples,)`.
        c_high: The largest value of the cell state in each sample, `(samples,)`.
    """

    h: np.ndarray
    c_low: np.ndarray
    c_high: np.ndarray

    @property
    def h_low(self) -> np.ndarray:
        """The smallest output in each sample, `(samples,)`; at most 0, the first state."""
        return np.minimum(self.h.min(axis=(1, 2)), 0)

    @property
    def h_high(self) -> np.ndarray:
        """The largest output in each sample, `(samples,)`; at least 0, the first state."""
        return np.maximum(self.h.max(axis=(1, 2)), 0)

    @property
    def c_reach(self) -> float:
        """The largest magnitude of the cell state."""
        return float(max(-self.c_low.min(), self.c_high.max()))


def cell_ranges(
    x: np.ndarray,
    kernel: np.ndarray,
    recurrent_kernel: np.ndarray,
    bias: np.ndarray | None = None,
    reverse: bool = False,
) -> CellRun:
    """Runs an LSTM on sequences, from a state of zeros, in float32.

    Args:
        x: Inputs `(samples, steps, inputs)`.
        kernel: `(inputs, 4 * units)`, the gates in the order of Keras: input, forget, cell, output.
        recurrent_kernel: `(units, 4 * units)`, its gates in the same order.
        bias: `(4 * units,)`; None for none.
        reverse: Whether the last step is taken first, as with Keras's `go_backwards`.

    References:
        Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 9(8), 1997; with the forget gate of
        Gers et al., Learning to forget, Neural Computation 12(10), 2000.
    """
    steps = np.moveaxis(np.asarray(x, np.float32), 1, 0)
    steps = steps[::-1] if reverse else steps
    units = recurrent_kernel.shape[0]
    offset = np.zeros(4 * units, np.float32) if bias is None else bias.astype(np.float32)
    given = steps @ kernel.astype(np.float32) + offset
    recurrent = recurrent_kernel.astype(np.float32)
    h = np.zeros((given.shape[1], units), np.float32)
    c, low, high = np.zeros_like(h), np.zeros(len(h), np.float32), np.zeros(len(h), np.float32)
    outputs = np.empty((len(h), len(given), units), np.float32)
    for number, step in enumerate(given):
        i, f, g, o = np.split(step + h @ recurrent, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs[:, number] = h
        low, high = np.minimum(low, c.min(axis=1)), np.maximum(high, c.max(axis=1))
    return CellRun(outputs, low, high)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """The logistic function, without overflow at large negative values."""
    return (0.5 + 0.5 * np.tanh(0.5 * x)).astype(x.dtype)
