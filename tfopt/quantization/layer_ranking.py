"""Ranking of layers by their sensitivity to quantization and the bytes it saves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tfopt.quantization.calibration_data import random_samples
from tfopt.quantization.calibration_warnings import calibration_warnings
from tfopt.quantization.preparation import prepare
from tfopt.quantization.refusals import check_text
from tfopt.quantization.sensitivity import PRECISIONS, Sensitivity, measure
from tfopt.quantization.unrolling import unroll_if_better
from tfopt.recipe.export import Export
from tfopt.tabular import Tabular

ON_RANDOM = "ranked on random inputs, which means nothing: give representative ones for a ranking that counts"


@dataclass(frozen=True, repr=False)
class QuantizationSensitivity(Tabular):
    """The sensitivity of each layer to being quantized alone.

    Args:
        layers: Every layer at every precision with a form of it, the least error per byte saved first.
        notes: Remarks on preparing the model, such as unrolling its loops, and on samples that seem to be of another
            scaling than those of the training.
    """

    layers: tuple[Sensitivity, ...]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """How many layers were measured."""
        return f"{len({line.group.name for line in self.layers})} layers, the least error per byte saved first"

    def records(self) -> list[dict[str, Any]]:
        """A row for each layer at each precision."""
        return [
            {
                "layer": line.group.name,
                "op": line.group.kind,
                "precision": line.precision,
                "error": line.error,
                "bytes_saved": line.bytes_saved,
                "error_per_byte": line.error_per_byte,
            }
            for line in self.layers
        ]


def rank_layers(
    model: keras.Model,
    calibration: Any = None,
    *,
    precisions: Sequence[str] = PRECISIONS,
    part: Callable[[float], Any] = lambda done: None,
) -> QuantizationSensitivity:
    """Quantizes each layer alone, weights and activations, and compares the file on LiteRT with the float one.

    Args:
        model: A built model.
        calibration: Representative inputs, as `convert` takes them; random inputs if not given, whose ranking means
            nothing.
        precisions: Precisions to try, of `int8` and `int4`. A layer without a form at one is left out at that one.
        part: Called with the finished fraction, 0-1.

    Returns:
        The sensitivities, the least error per byte saved first.

    Raises:
        InputError: Samples that do not fit the model, or a model that takes text.
        ConversionError: The model cannot be converted, or the float file gives something else than Keras.

    Example:
        ```python
        for line in tfopt.quantization.rank_layers(model, x[:200]).layers:
            print(line.group.name, line.precision, line.error, line.bytes_saved)
        ```
    """
    check_text(model)
    samples = random_samples(model) if calibration is None else calibration
    prepared = unroll_if_better(prepare(model, Export(mode="int8"), samples))
    told = (ON_RANDOM,) if calibration is None else calibration_warnings(model, prepared.samples)
    return QuantizationSensitivity(tuple(measure(prepared, precisions, part)), (*prepared.notes, *told))
