"""The noise of quantized files of one float file, on samples: what roundings and scales are chosen by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfopt.metrics import compare_outputs
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import op_name
from tfopt.tflite.interpreter import Runner
from tfopt.tflite.ops import facts_of

_CASTS = ("DEQUANTIZE", "QUANTIZE")


def spread(count: int, chosen: int) -> np.ndarray:
    """The numbers of so many samples of `count`, at equal distances: calibration samples may be sorted by class."""
    return np.linspace(0, count - 1, chosen).astype(int)


class Noise:
    """Measures files against a float one, on the same samples.

    Probabilities are compared by the scores that their softmax or sigmoid is given: where a class is all but sure its
    probability says nothing of the noise, so that the few samples in doubt would decide alone.

    Args:
        content: Bytes of the float file.
        samples: Inputs `(samples, ...)` by input name.
        keeps_state: Whether the samples are the pieces of one sequence.
    """

    def __init__(self, content: bytes, samples: Mapping[str, np.ndarray], keeps_state: bool = False):
        self._samples, self._keeps_state = samples, keeps_state
        self._expected = self._scores(content)

    def snr(self, content: bytes) -> float:
        """The signal-to-noise ratio of a file in decibels, of several outputs the worst; -inf where one is no number.

        Args:
            content: Bytes of a quantized file, whose outputs have the names of the float one's.
        """
        return min(self.ratios(content).values())

    def ratios(self, content: bytes) -> dict[str, float]:
        """The signal-to-noise ratio of each output of a file in decibels; -inf where one has what is no number.

        Args:
            content: Bytes of a quantized file, whose outputs have the names of the float one's.
        """
        got, expected = self._scores(content), self._expected
        return {
            name: compare_outputs({name: expected[name]}, got)["snr_db"] if np.isfinite(got[name]).all() else -math.inf
            for name in expected
        }

    def _scores(self, content: bytes) -> dict[str, np.ndarray]:
        content, through_softmax = with_scores(content)
        found = Runner(content, keeps_state=self._keeps_state)(self._samples)
        # A softmax gives the same for scores that are all higher by the same.
        return {
            name: values - values.mean(axis=-1, keepdims=True) if name in through_softmax else values
            for name, values in found.items()
        }


def with_scores(content: bytes) -> tuple[bytes, frozenset[str]]:
    """A file that gives the scores of its probabilities in their place.

    Args:
        content: Bytes of a file with a signature.

    Returns:
        The file, with every output that a softmax or sigmoid makes replaced by what that op reads, and the names of the
        outputs that a softmax made.
    """
    model = flatbuffer.parse(content)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    makers = {int(tensor): op for op in graph.operators for tensor in op.outputs}
    replaced: dict[int, int] = {}
    through_softmax = set()
    for entry in signature.outputs:
        index = int(entry.tensorIndex)
        while index in makers and _name(model, makers[index]) in _CASTS:
            index = int(makers[index].inputs[0])
        if index in makers and facts_of(_name(model, makers[index])).probabilities:
            replaced[int(entry.tensorIndex)] = int(makers[index].inputs[0])
            if _name(model, makers[index]) == "SOFTMAX":
                through_softmax.add(entry.name.decode())
    if not replaced:
        return content, frozenset()
    for entry in signature.outputs:
        entry.tensorIndex = replaced.get(int(entry.tensorIndex), entry.tensorIndex)
    graph.outputs = np.array([replaced.get(int(index), index) for index in graph.outputs], np.int32)
    return flatbuffer.pack(model), frozenset(through_softmax)


def _name(model: Any, op: Any) -> str:
    return op_name(model.operatorCodes[op.opcodeIndex])
