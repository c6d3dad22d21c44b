"""The grids of a file that training computes on: of its activations, and of its kernels."""

from __future__ import annotations

from dataclasses import dataclass

from tfopt.quantization.masks import Masked


@dataclass(frozen=True)
class Grid:
    """The quantization of one activation, or of several that share a range.

    Args:
        name: The tensor of the float file whose range sets the scale.
        bits: 8 or 16; with 16 the zero point is 0.
        fixed: The range where the op fixes it, such as 0 to 1 after a softmax.
        masked: What is known of its values that a mask puts out of play.
    """

    name: str
    bits: int
    fixed: tuple[float, float] | None = None
    masked: Masked | None = None


@dataclass(frozen=True)
class KernelGrid:
    """The quantization of a kernel.

    Args:
        part: The number of the layer in `parts`.
        attribute: Name of the layer's attribute that holds the kernel.
        bits: 4 or 8; 16 for elementwise operands where activations have 16.
        axes: Axes with one scale per index (per-channel); empty for one scale (per-tensor).
        shared: Whether the kernel is clustered: it has so few distinct values that they must stay distinct.
        symmetric: Whether the zero point is 0; embedding tables and elementwise operands are quantized as activations
            are.
        gates: Number of equal parts along the last axis with a scale each, by their largest weights, of an LSTM that is
            one op; 0 for any other layer.
    """

    part: int
    attribute: str
    bits: int
    axes: tuple[int, ...]
    shared: bool = False
    symmetric: bool = True
    gates: int = 0
