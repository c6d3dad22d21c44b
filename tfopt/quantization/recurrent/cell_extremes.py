"""The extremes of the cell states of a float file's LSTMs, of which the file shows the last step alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tfopt.quantization.calibration import ActivationExtremes, values_of
from tfopt.quantization.masks import batches
from tfopt.quantization.recurrent.cell import cell_ranges
from tfopt.tflite.file import Op, constants, read
from tfopt.tflite.ops import LSTM_INPUTS

# Batches whose data is held at once.
_AT_ONCE = 64


def with_cell_states(
    content: bytes, samples: Mapping[str, np.ndarray], extremes: ActivationExtremes, stream: bool = False
) -> ActivationExtremes:
    """Extremes of a float file with those of its cell states, by the names of these variables.

    Args:
        content: Bytes of the float file.
        samples: Inputs `(samples, ...)` by input name.
        extremes: The extremes of its activations on these samples.
        stream: Whether the samples are the pieces of one sequence.
    """
    ops = [op for op in read(content).ops if op.facts.recurrent]
    if not ops:
        return extremes
    found, chunks = constants(content), batches(content, samples)
    names = {op.inputs[0].name for op in ops}
    ends, step = [], len(chunks) if stream else _AT_ONCE
    for first in range(0, len(chunks), step):
        seen = values_of(content, chunks[first : first + step], lambda value: value, names, stream)
        ends.append([_ends(op, [one[op.inputs[0].name] for one in seen], found, stream) for op in ops])
    low, high = (np.concatenate([np.stack([op[side] for op in part], axis=1) for part in ends]) for side in (0, 1))
    return replace(
        extremes,
        names=(*extremes.names, *(cell_state(op) for op in ops)),
        low=np.concatenate([extremes.low, low], axis=1),
        high=np.concatenate([extremes.high, high], axis=1),
    )


def cell_state(op: Op) -> str:
    """The name of the variable that keeps the cell state of an LSTM; absent inputs are not among those of an `Op`."""
    return op.inputs[-1].name


def weights_of(op: Op, found: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kernel, the recurrent kernel and the bias of an LSTM in the layout of Keras, the gates side by side.

    Args:
        op: The op of a float file.
        found: The constants of that file by name.
    """
    own = [found[tensor.name] for tensor in op.inputs if tensor.name in found]
    gates = len(LSTM_INPUTS.kernels)
    kernel, recurrent_kernel, bias = (np.concatenate(own[at : at + gates]) for at in range(0, 3 * gates, gates))
    return kernel.T, recurrent_kernel.T, bias


def _ends(
    op: Op, data: list[np.ndarray], found: Mapping[str, np.ndarray], stream: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest value of an LSTM's cell state in each run, `(runs,)` each; of a stream in all."""
    run = cell_ranges(np.concatenate(data, axis=1 if stream else 0), *weights_of(op, found))
    if stream:
        return np.full(len(data), run.c_low.min()), np.full(len(data), run.c_high.max())
    return run.c_low.reshape(len(data), -1).min(axis=1), run.c_high.reshape(len(data), -1).max(axis=1)
