"""Removal of dead channels without a loss: those that are constant for every input, or that nothing reads.

What a constant channel adds to the layers that read it goes into their biases. Where a convolution pads with zeros that
is not possible, as at the borders a part of its kernel falls on zeros instead of the constant; but all constant
channels give the same picture there, up to a factor, so that one of them can stand for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tfopt.errors import InputError
from tfopt.sparsity.structured.constants import CONVOLUTIONS, Linear, Values, constants, linear
from tfopt.sparsity.structured.dependency_graph import DependencyGraph, read
from tfopt.sparsity.structured.flops import costs
from tfopt.sparsity.structured.propagation import Call, known_as
from tfopt.sparsity.structured.removal import Removal, changes
from tfopt.sparsity.structured.surgery import cut

# Normalizations whose statistics count every channel.
_COUNTING = ("LayerNormalization", "RMSNormalization", "GroupNormalization")
# Where wrappers keep the layers that they call.
_WRAPPED = ("layer", "forward_layer", "backward_layer")


def remove_dead(model: keras.Model, tolerance: float = 0.0) -> Removal:
    """Removes the channels and units that are dead; the smaller model has the same outputs.

    A channel is dead if it is the same for every input, as its incoming kernel or its BatchNormalization's scale is
    zero, or if only zero weights read it. What a constant adds goes into the biases of the layers that read it,
    which get one where they have none. Where a convolution that pads with zeros reads several constants other than
    zero, one of them stays and stands for all. A constant stays where a normalization counts it into its statistics,
    and where a recurrent layer, an attention, or a transposed or strange layer reads it, unless it is zero.

    Args:
        model: A built functional or Sequential model. It stays as it is.
        tolerance: Weights of this magnitude and below count as zero. With 0 the outputs are equal but for rounding.

    Raises:
        InputError: A negative tolerance.
        ModelError: The model has no graph.

    Example:
        ```python
        smaller = tfopt.sparsity.remove_dead(model, tolerance=1e-4).model
        ```
    """
    if tolerance < 0:
        raise InputError(f"tolerance is a magnitude, 0 or above. Received: {tolerance}.", ("tolerance",))
    whole = structure = read(model)
    smaller = cut(whole, ())
    while (found := _find(structure, tolerance)).drop:  # channels that only dead channels read are dead next
        smaller = cut(structure, found.drop, found.weights, found.biases)
        structure = read(smaller)
    return Removal(smaller, changes(costs(whole), costs(structure)), (*structure.skipped, *found.stays))


@dataclass
class _Dead:
    """The dead channels of a model, and the changes that make up for them.

    Args:
        drop: The groups to remove.
        weights: New values of kernels, by the variable's identity.
        biases: New values of biases, by the layer's identity.
        stays: Constants that cannot be removed: the layer that reads them, and the reason.
    """

    drop: set[int]
    weights: dict[int, np.ndarray] = field(default_factory=dict)
    biases: dict[int, np.ndarray] = field(default_factory=dict)
    stays: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Reader:
    """A layer that reads channels and can fold constants into its bias.

    Args:
        layer: The layer.
        part: Its linear part.
        roots: Group of each input channel, `(inputs,)`.
        values: Constant of each input channel, NaN where it varies, `(inputs,)`.
        needs: Groups whose nonzero constants the layer has to fold in.
    """

    layer: Any
    part: Linear
    roots: np.ndarray
    values: Values
    needs: frozenset[int]


def _find(structure: DependencyGraph, tolerance: float) -> _Dead:
    removable = {group for family in structure.families for group in family.groups}
    alive: set[int] = set()
    firsts: dict[int, Values] = {}
    readers: dict[int, _Reader] = {}
    stays: dict[str, str] = {}
    known = constants(structure, tolerance)
    for call, (inputs, _), (taken, _) in zip(structure.calls, structure.tensors, known, strict=True):
        roots = structure.roots[np.concatenate([np.zeros(0, int), *(stream.ids for stream in inputs)])]
        values = np.concatenate([np.zeros(0), *taken])
        read_here = _read(structure, call, roots, tolerance)
        alive |= read_here.difference(roots.tolist())  # what a layer reads of itself, as recurrent ones do
        matters = np.isin(roots, list(read_here))
        # A shared layer can take over what is the same in all its calls.
        unlike = ~np.isclose(values, firsts.setdefault(id(call.operation), values), rtol=0, atol=0, equal_nan=True)
        alive.update(roots[matters & (np.isnan(values) | unlike)].tolist())
        needs = (set(roots[matters & ((values != 0) | _counts_zeros(call))].tolist()) & removable) - alive
        if not needs:
            continue
        reader = _reader(call, roots, values, needs)
        if isinstance(reader, _Reader):
            readers.setdefault(id(call.operation), reader)
        else:
            alive |= needs
            count = np.isin(roots, list(needs)).sum()
            stays[call.path] = f"it keeps the constant channels that it reads, {count} of {len(roots)}: {reader}"
    found = _Dead(structure.spared(removable - alive, dict.fromkeys(removable, 0.0)), stays=list(stays.items()))
    for reader in readers.values():
        found.drop -= _standing(reader, found.drop)
    for reader in readers.values():
        _take_over(reader, found)
    return found


def _read(structure: DependencyGraph, call: Call, roots: np.ndarray, tolerance: float) -> set[int]:
    """The groups that matter to a call: those that it reads with nonzero weights."""
    flow = structure.flows.get(id(call.operation))
    if flow is None:
        return set()
    if _counts_zeros(call):
        return set(roots.tolist())
    found: set[int] = set()
    for axis in (axis for axis in flow.axes if axis.role == "takes"):
        values = np.moveaxis(np.abs(axis.variable.numpy()), axis.axis, 0)
        weighty = values.reshape(len(values), -1).max(axis=1, initial=0.0) > tolerance
        found.update(structure.roots[axis.ids[weighty]].tolist())
    return found


def _counts_zeros(call: Call) -> bool:
    """Whether a channel of zeros may change a layer's output: by its statistics, or as the layer is unknown."""
    inner = (getattr(call.operation, name, None) for name in _WRAPPED)
    own = (isinstance(known_as(layer), type) for layer in (call.operation, *inner) if layer is not None)
    return call.kind in _COUNTING or any(own)


def _reader(call: Call, roots: np.ndarray, values: Values, needs: set[int]) -> _Reader | str:
    """The reader that folds in nonzero constants, or the reason why the layer cannot."""
    layer = call.operation
    if call.kind in _COUNTING:
        return "its statistics count them"
    part = linear(layer)
    if part is None:
        return "it has no bias that could take them over"
    if part.padded and (known_as(layer) not in CONVOLUTIONS or layer.groups > 1):
        return "at its borders they are zeros"
    return _Reader(layer, part, roots, values, frozenset(needs))


def _standing(reader: _Reader, drop: set[int]) -> set[int]:
    """The group to keep in place of all constants that a padding convolution reads; empty if one stays already."""
    needed = np.isin(reader.roots, list(reader.needs & drop))
    if not reader.part.padded or not needed.any():
        return set()
    sizes = np.abs(reader.values)
    stays = ~np.isin(reader.roots, list(drop)) & ~np.isnan(sizes)
    if sizes[stays].max(initial=0.0) > 0.1 * sizes[needed].max():
        return set()
    return {int(reader.roots[np.argmax(np.where(needed, sizes, -1))])}


def _take_over(reader: _Reader, found: _Dead) -> None:
    layer, values = reader.layer, np.nan_to_num(reader.values)
    gone = np.isin(reader.roots, list(found.drop)) & (values != 0)
    if not gone.any():
        return
    if not reader.part.padded:
        bias = layer.bias.numpy() if layer.use_bias else 0.0
        found.biases[id(layer)] = bias + values[gone] @ reader.part.matrix.sum(axis=0)[gone]
        return
    place = int(np.argmax(np.where(np.isin(reader.roots, list(found.drop)), 0, np.abs(values))))
    if values[place]:  # else only zero weights read the removed channels
        kernel = layer.kernel.numpy().astype(np.float64)
        kernel[..., place, :] += np.einsum("c,...co->...o", values[gone] / values[place], kernel[..., gone, :])
        found.weights[id(layer.kernel)] = kernel
