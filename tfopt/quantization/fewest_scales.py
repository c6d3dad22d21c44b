"""One scale for all channels of a kernel, in as many kernels as a file bears.

A scale for each channel is more exact, and takes 8 bytes with that of its bias, which counts where a channel has few
weights, as those of depthwise convolutions and of small dense layers have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfopt.errors import ConversionError
from tfopt.quantization import quantizer, validation
from tfopt.quantization.noise import Noise, spread
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.quantization.rounding.plan import RoundingSettings
from tfopt.recipe.modes import MODES
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import Op

# What each output may lose of its signal-to-noise ratio, in decibels.
LOST_DB = 1.0
# How many samples that is measured on.
COMPARED = 100
# The least that a kernel has to save to be tried, as a share of the file's bytes.
LEAST_SHARE = 1e-3
# Bytes of a channel's scale and of that of its bias.
CHANNEL_BYTES = 8


@dataclass(frozen=True)
class _Tried:
    """A choice of kernels with one scale.

    Args:
        bytes: Bytes of its file without tensor names.
        ratios: The signal-to-noise ratio of each output in decibels, of scores where it is probabilities.
        snr_db: That of the worst output as the finished file is judged by.
    """

    bytes: int
    ratios: Mapping[str, float]
    snr_db: float

    @property
    def noise(self) -> float:
        """The power of the noise over that of the outputs, the sum over these."""
        return float(sum(10 ** (-ratio / 10) for ratio in self.ratios.values()))


def with_fewest_scales(prepared: PreparedModel, accepts: Callable[[bytes], bool] | None) -> PreparedModel:
    """The prepared model with one scale for as many kernels as leave each output as exact within a decibel.

    Each kernel is tried alone. In the order of the noise that it adds over the bytes that it saves, each is then taken
    if the file bears it beside those that were taken before. The integers of these files are rounded each by itself,
    whatever is done about them later.

    Args:
        prepared: The prepared model.
        accepts: Whether a file keeps its metric; by its signal-to-noise ratios alone if not given.

    References:
        Zhou et al., Adaptive quantization for deep neural network, arXiv:1712.01048 (the noise of layers adds up, so
        that they are ranked by what each adds alone).
    """
    if prepared.converted is not None:
        return _noted(prepared, "TFLiteConverter made the file, which takes no other than its own")
    choices = _Choices(prepared)
    before = choices.before
    if not all(map(math.isfinite, before.ratios.values())):
        return _noted(prepared, "as with auto, whose file gives what is no number")
    worth = [ops for ops in _open_kernels(prepared) if choices.saves_enough(ops)]
    alone = {ops: found for ops in worth if (found := choices.of([ops])) is not None and found.bytes < before.bytes}
    added = {ops: (found.noise - before.noise) / (before.bytes - found.bytes) for ops, found in alone.items()}
    taken: list[tuple[int, ...]] = []
    best = before
    for ops in sorted(alone, key=added.__getitem__):
        found = choices.of([*taken, ops])
        if found is not None and choices.near(found):
            taken, best = [*taken, ops], found
    if not taken:
        return _noted(prepared, "as with auto; no kernel that saves enough bears one for all")
    chosen = prepared.with_one_scale(index for ops in taken for index in ops)
    said = f"one for all channels in {len(taken)} of {len(worth)} kernels tried, {before.bytes - best.bytes:,} B fewer"
    if accepts is not None and not accepts(chosen.file):
        return _noted(prepared, f"as with auto; {said}, does not keep the metric")
    lost = max(ratio - best.ratios[name] for name, ratio in before.ratios.items())
    return _noted(chosen, f"{said}, at {max(lost, 0):.1f} dB more noise")


def _noted(prepared: PreparedModel, said: str) -> PreparedModel:
    return prepared.with_notes([*prepared.notes, f"scales: {said}"])


class _Choices:
    """Tries choices of kernels with one scale.

    Args:
        prepared: The model with a scale for each channel.
    """

    def __init__(self, prepared: PreparedModel):
        export = prepared.export
        samples = prepared.masks.clipped(prepared.samples)
        count = len(next(iter(samples.values())))
        few = min(count, COMPARED)
        chosen = np.arange(few) if export.stateful else spread(count, few)
        few_samples = {name: array[chosen] for name, array in samples.items()}
        self._prepared, self._noise = prepared, Noise(prepared.source.content, few_samples, export.stateful)
        prepared.ranges()  # observed once for all that are tried
        self.before = self._measured([])
        least = MODES[export.mode].least_snr_db if export.least_snr_db is None else export.least_snr_db
        limits = [limit for limit in (least, validation.GOOD_SNR_DB) if self.before.snr_db > limit]
        self._floor = max(limits, default=-math.inf)

    def of(self, kernels: Sequence[tuple[int, ...]]) -> _Tried | None:
        """The file with one scale for these kernels; None where the quantizer or LiteRT refuses it."""
        try:
            return self._measured(kernels)
        except ConversionError:
            return None

    def near(self, found: _Tried) -> bool:
        """Whether a file is as exact within `LOST_DB` in each output, and no refusal or warning comes of it."""
        near = (found.ratios[name] >= before - LOST_DB for name, before in self.before.ratios.items())
        return all(near) and found.snr_db > self._floor

    def saves_enough(self, ops: tuple[int, ...]) -> bool:
        """Whether one scale for the kernel of these ops saves so many bytes that it is tried."""
        op = self._prepared.source.ops[ops[0]]
        return CHANNEL_BYTES * op.kernels[0].shape[op.facts.kernel_axis or 0] >= LEAST_SHARE * self.before.bytes

    def _measured(self, kernels: Sequence[tuple[int, ...]]) -> _Tried:
        model = self._prepared.with_one_scale(index for ops in kernels for index in ops)
        content = model.quantized(rounding=RoundingSettings())
        ratios = self._noise.ratios(content)
        return _Tried(len(flatbuffer.slim(content)), ratios, self._prepared.snr(content))


def _open_kernels(prepared: PreparedModel) -> Iterator[tuple[int, ...]]:
    """The kernels that have a scale for each channel and may have one: of each the numbers of the ops that have it."""
    users: dict[str, list[int]] = {}
    for index, op in enumerate(prepared.source.ops):
        for tensor in op.kernels:
            users.setdefault(tensor.name, []).append(index)
    for indices in users.values():
        if all(_may_have_one(prepared.source.ops[index], prepared, index) for index in indices):
            yield tuple(indices)


def _may_have_one(op: Op, prepared: PreparedModel, index: int) -> bool:
    """Whether the kernel of an op may have one scale; that of a clustered one is settled, and a table's is one."""
    weighted = op.facts.data_kernel_bias is not None and len(op.kernels) == 1 and not op.graph
    settled = op.facts.looks_up or op.facts.recurrent or quantizer.shares_values(op)
    precision = prepared.precision(index)
    able = precision != "float" and quantizer.supports(op, prepared.export.mode, precision, True)
    return weighted and not settled and able
