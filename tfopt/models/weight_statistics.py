"""The weights of a model layer by layer: bytes, zeros, distinct values and histograms, before a change and after it.

What is compared with a later state is noted beforehand: figures of all weights, and some of the weights themselves for
the histogram, so that no second model has to be kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tfopt.data.arrays import count_distinct
from tfopt.keras_private import own_variables
from tfopt.models.layers import LayerRef, walk
from tfopt.models.left_alone import listed

# Bins of a histogram: 255 steps of 8 bits fill 51 evenly. Layers that have one, and layers that are listed.
BINS, MOST_HISTOGRAMS, MOST_LAYERS = 51, 30, 300
# Largest number of distinct values that are counted.
MOST_VALUES = 256
# From this share of zeros on a model is pruned; a layer whose values have so many weights each on average is clustered.
_PRUNED, _SHARED = 0.1, 16
# Weights that a histogram is taken of, a seeded choice where a layer has more.
_CHOSEN = 65_536


@dataclass(frozen=True)
class LayerSnapshot:
    """The weights of one layer at one time.

    Args:
        layer: Path of the layer.
        kind: Class of the layer, or names of its ops.
        precision: Types of the kernels, of all weights where there is no kernel.
        parameters: Number of weights and biases.
        bytes: Bytes of weights and biases.
        kernels: Number of weights in kernels, those of two dimensions or more.
        zeros: Number of weights in kernels that are exactly 0.
        values: Number of distinct values in a kernel, of several the most; None above 256.
        chosen: Some of the weights in kernels, `(weights,)`, zeros left out.
        scale_bytes: Bytes of quantization scales and zero points.
    """

    layer: str
    kind: str
    precision: str
    parameters: int
    bytes: int
    kernels: int
    zeros: int
    values: int | None
    chosen: np.ndarray = field(repr=False)
    scale_bytes: int = 0


def layers_with_variables(model: keras.Model) -> Iterator[tuple[LayerRef, list[Any]]]:
    """The layers of a model with the variables that each created itself; one that layers share is at its first."""
    seen: set[int] = set()
    own = (LayerRef(model.name, model),) if own_variables(model) else ()
    for place in (*own, *walk(model)):
        variables = [v for v in own_variables(place.layer) if id(v) not in seen]
        seen.update(id(v) for v in variables)
        yield place, variables


def snapshot(model: keras.Model) -> list[LayerSnapshot]:
    """The weights of every layer of a Keras model that has some."""
    found = []
    for place, variables in layers_with_variables(model):
        if not variables:
            continue
        arrays = [np.asarray(variable) for variable in variables]
        kernels = [array for array in arrays if array.ndim > 1]
        found.append(
            LayerSnapshot(
                layer=place.path,
                kind=type(place.layer).__name__,
                precision="+".join(dict.fromkeys(str(array.dtype) for array in kernels or arrays)),
                parameters=sum(array.size for array in arrays),
                bytes=sum(array.nbytes for array in arrays),
                kernels=sum(array.size for array in kernels),
                zeros=sum(int(array.size - np.count_nonzero(array)) for array in kernels),
                values=most_values([count_distinct(array, MOST_VALUES) for array in kernels]),
                chosen=choose(kernels),
            )
        )
    return found


def lost(before: Sequence[LayerSnapshot], after: Sequence[LayerSnapshot]) -> str:
    """What a training took from a model that was pruned or clustered before it, with the way out; empty for nothing.

    Args:
        before: The weights before the training.
        after: Those after it, of layers that were not built before as well.
    """
    sentences, later = [], {one.layer: one.values for one in after}
    had, has = (
        sum(one.zeros for one in state) / max(sum(one.kernels for one in state), 1) for state in (before, after)
    )
    if _PRUNED <= had < 1 and has < had / 2:  # all are zero as one may begin a training
        sentences.append(f"{had:.0%} of the weights were zero before this training, and {has:.0%} are: prune after it.")
    shared = [
        one.layer
        for one in before
        if one.values is not None
        and one.values > 1
        and one.kernels >= _SHARED * one.values
        and ((now := later.get(one.layer)) is None or now > 2 * one.values)
    ]
    if shared:
        sentences.append(f"this training gave the weights of {listed(shared)} values of their own: cluster after it.")
    return " ".join(sentences)


def most_values(counts: Sequence[int | None]) -> int | None:
    """The largest number of distinct values among kernels; None where one has too many to count, or there is none."""
    known = [count for count in counts if count is not None]
    return max(known) if known and len(known) == len(counts) else None


def choose(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The values of arrays for a histogram, `(values,)` float32 without zeros: a seeded choice where there are many."""
    size = sum(array.size for array in arrays)
    parts = []
    for number, array in enumerate(arrays):
        flat = array.ravel()
        if size > _CHOSEN:
            wanted = max(_CHOSEN * array.size // size, 1)
            flat = flat[np.random.default_rng(number).integers(0, array.size, wanted)]
        parts.append(flat[flat != 0].astype(np.float32))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def compare(after: Sequence[LayerSnapshot], before: Sequence[LayerSnapshot] | None = None) -> dict[str, Any]:
    """The weights by layer, beside those of an earlier time.

    Args:
        after: The layers as they are.
        before: The layers as they were; None to leave that out. One that is not in `after` is left out.

    Returns:
        `rows` with `layer`, `kind`, `after`, `before` and `ends`, the largest where there are very many; `others`, the
        number of rows that are left out. The largest ones have histograms.
    """
    was = {one.layer: one for one in before or ()}
    ranked = sorted(range(len(after)), key=lambda i: (-after[i].bytes, i))
    kept, drawn = sorted(ranked[:MOST_LAYERS]), set(ranked[:MOST_HISTOGRAMS])
    rows = [_row(after[i], was.get(after[i].layer), i in drawn) for i in kept]
    return {"rows": rows, "others": len(after) - len(kept)}


def _row(after: LayerSnapshot, before: LayerSnapshot | None, drawn: bool) -> dict[str, Any]:
    both = [one for one in (after, before) if one is not None]
    reach = max((float(np.abs(one.chosen).max(initial=0)) for one in both), default=0.0)
    drawn = drawn and bool(np.isfinite(reach)) and any(one.kernels for one in both)
    reach = reach or 1.0
    figures = [_figures(one, reach if drawn else None) if one else None for one in (after, before)]
    ends = [-reach, reach] if drawn else None
    return {"layer": after.layer, "kind": after.kind, "after": figures[0], "before": figures[1], "ends": ends}


def _figures(one: LayerSnapshot, reach: float | None) -> dict[str, Any]:
    names = ("precision", "parameters", "bytes", "kernels", "zeros", "values", "scale_bytes")
    figures: dict[str, Any] = {name: getattr(one, name) for name in names}
    return figures | {"histogram": _histogram(one, reach) if reach else []}


def _histogram(one: LayerSnapshot, reach: float) -> list[float]:
    """The fraction of the kernels' weights in each bin from `-reach` to `reach`, without zeros."""
    counts, _ = np.histogram(one.chosen, BINS, (-reach, reach))
    nonzero = (one.kernels - one.zeros) / one.kernels if one.kernels else 0.0
    return [round(float(share), 6) for share in counts / max(one.chosen.size, 1) * nonzero]
