"""Details of weights layer by layer: bytes, zeros, distinct values and histograms, before a stage and after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfopt.recipe.details.detail import Detail


@dataclass(frozen=True)
class WeightFigures:
    """What the weights of one layer are.

    Args:
        precision: Types of the kernels, such as `int8`; of all weights, where there is no kernel.
        parameters: Number of weights and biases.
        bytes: Bytes of weights and biases.
        kernels: Number of weights in kernels, those of two dimensions or more.
        zeros: Number of weights in kernels that are exactly 0.
        values: Number of distinct values in a kernel, zero included, of several kernels the most; None above 256.
        scale_bytes: Bytes of quantization scales and zero points of weights and biases.
        histogram: Fraction of the weights in kernels, 0-1, in each of equally wide bins between the ends of the
            layer, zeros left out; empty for a layer that is not among the largest.
    """

    precision: str
    parameters: int
    bytes: int
    kernels: int
    zeros: int
    values: int | None = None
    scale_bytes: int = 0
    histogram: tuple[float, ...] = ()

    @property
    def sparsity(self) -> float:
        """The fraction of zeros in kernels, 0-1."""
        return self.zeros / self.kernels if self.kernels else 0.0


@dataclass(frozen=True)
class LayerWeights:
    """The weights of one layer, before a stage and after it.

    Args:
        layer: Path of the layer; of an op that belongs to none, the name of its output.
        kind: Class of the layer, or names of the ops in the file.
        after: The weights in the stage's result.
        before: The weights in what the stage started from: the float file of a `.tflite`, or the Keras model; None
            where there is no such layer, or what it was before says nothing.
        ends: The values at the ends of both histograms, the same distance from 0; None where there are none.
    """

    layer: str
    kind: str
    after: WeightFigures
    before: WeightFigures | None = None
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class WeightsByLayer(Detail):
    """The weights of a result by layer.

    Args:
        rows: Every layer with weights, in the order of the model, or the largest ones of very many.
        file_bytes: Bytes of the file; None for a Keras model.
        others: Number of layers that are left out.
        constant_bytes: Bytes of constants that are no weights of a layer, such as shapes and tables; None for a Keras
            model.
        ops: Number of ops in the file, those inside of loops included; None for a Keras model.
    """

    name: ClassVar[str] = "weights"

    rows: tuple[LayerWeights, ...]
    file_bytes: int | None = None
    others: int = 0
    constant_bytes: int | None = None
    ops: int | None = None

    @property
    def largest(self) -> LayerWeights | None:
        """The layer of the most bytes of weights and biases."""
        return max(self.rows, key=lambda row: row.after.bytes, default=None)

    @property
    def overhead(self) -> int | None:
        """Bytes of the file that are neither weights nor scales of a layer: the graph, and constants such as shapes."""
        if self.file_bytes is None or self.others:
            return None
        return self.file_bytes - sum(row.after.bytes + row.after.scale_bytes for row in self.rows)


@dataclass(frozen=True)
class LayerError:
    """The quantization error of one layer, in decibels: the power of the values over that of their error.

    Args:
        layer: Path of the layer; of an op between layers, the name of its output.
        ops: Names of its ops.
        precision: Type of its outputs in the file, such as `int8`.
        output_snr_db: SNR of its outputs, with all layers before it quantized as well; None where they are no floats.
        weights_snr_db: SNR of its kernels; None where it has none, or none of them is quantized.
    """

    layer: str
    ops: str
    precision: str
    output_snr_db: float | None
    weights_snr_db: float | None


@dataclass(frozen=True)
class QuantizationErrors(Detail):
    """The quantization error of each layer of a file against the float file, on a few calibration samples.

    Args:
        rows: The layers and operations in the order in which they run; of very many, those of the largest errors.
        samples: Number of samples.
        others: Number of layers that are left out.
    """

    name: ClassVar[str] = "quantization_errors"

    rows: tuple[LayerError, ...]
    samples: int
    others: int = 0
