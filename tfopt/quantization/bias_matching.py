"""Matches biases of a float file to the Keras variables that move them one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfopt.models.layers import LayerRef
from tfopt.quantization.weight_matching import StoredKernel

# How far a bias may be from what its variables give, as a share of the largest.
CLOSE = 1e-4


@dataclass(frozen=True)
class StoredBias:
    """A Keras variable that a bias of a file comes from.

    Args:
        layer: The layer that has it: that of the kernel, or the batch normalization that was folded into both.
        attribute: Name of the layer's attribute.
        factors: What the file multiplies it by, `(channels,)`.
    """

    layer: keras.layers.Layer
    attribute: str
    factors: np.ndarray

    @property
    def variable(self) -> Any:
        """The variable, of as many values as the bias."""
        return vars(self.layer)[self.attribute]


def stored_bias(places: Sequence[LayerRef], kernel: StoredKernel, bias: np.ndarray) -> StoredBias | None:
    """The variable to which a change of a bias can be added; None where no single one gives that bias.

    A batch normalization whose offset moves it is preferred to the bias before it, which training takes off again
    with the mean of the batch.

    Args:
        places: All layers of the model, in the order of their calls as far as it is known.
        kernel: The kernel of the same op.
        bias: The bias as it is stored, `(channels,)`.
    """
    layer, factors = kernel.kernel.place.layer, kernel.factors
    own = _variable(layer, "bias", bias.size)
    before = np.zeros(bias.size) if own is None else np.ravel(own.value.numpy())
    if own is not None and _close(before * factors, bias):
        return StoredBias(layer, "bias", factors)
    for norm in _normalizations(places, kernel.kernel.place):
        mean, variance = (np.ravel(v.value.numpy()) for v in (norm.moving_mean, norm.moving_variance))
        if mean.size != bias.size:
            continue
        gamma, beta = _variable(norm, "gamma", bias.size), _variable(norm, "beta", bias.size)
        scale = (1.0 if gamma is None else gamma.value.numpy()) / np.sqrt(variance + norm.epsilon)
        offset = 0.0 if beta is None else beta.value.numpy()
        if not _close(offset + (before - mean) * scale, bias) or not _close(scale, factors):
            continue
        if beta is not None:
            return StoredBias(norm, "beta", np.ones(bias.size))
        return None if own is None else StoredBias(layer, "bias", scale)
    return None


def _normalizations(places: Sequence[LayerRef], place: LayerRef) -> Iterator[Any]:
    """The batch normalizations of a model, those behind a layer first."""
    at = next((i for i, other in enumerate(places) if other.layer is place.layer), 0)
    for other in (*places[at:], *places[:at]):
        if isinstance(other.layer, keras.layers.BatchNormalization):
            yield other.layer


def _variable(layer: Any, attribute: str, size: int) -> Any:
    """A variable of a layer with so many values; None where it has no such one."""
    found = vars(layer).get(attribute)
    return found if isinstance(found, keras.Variable) and int(np.prod(found.shape)) == size else None


def _close(here: np.ndarray, there: np.ndarray) -> bool:
    return bool(np.allclose(here, there, rtol=0, atol=CLOSE * float(np.abs(there).max(initial=0)) + 1e-7))
