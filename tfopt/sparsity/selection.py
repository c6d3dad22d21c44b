"""Which kernels of a model are pruned, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfopt.errors import ModelError
from tfopt.layers import Kernel, prunable, select, walk


def choose_kernels(
    model: keras.Model, only: Sequence[str] = (), skip: Sequence[str] = ()
) -> tuple[list[Kernel], list[tuple[str, str]]]:
    """The kernels to prune, each once, and the layers with kernels that are left alone, with the reason.

    Raises:
        ModelError: A pattern matches no layer, or no layer is left to prune.
    """
    places = list(walk(model))
    chosen = {id(place.layer) for place in select(places, only, skip)}
    found: dict[int, Kernel] = {}
    skipped = []
    for place in places:
        own = prunable(place, asked=any(place.matches(pattern) for pattern in only))
        if id(place.layer) in chosen:
            found.update({id(kernel.variable): kernel for kernel in own if id(kernel.variable) not in found})
        reason = (
            "left out by only/skip" if own else "not a layer that TF-MOT prunes; name it in `only` if it has a kernel"
        )
        has_kernel = any(len(v.shape) > 1 for v in getattr(place.layer, "_trainable_variables", ()))
        if has_kernel and not any(id(kernel.variable) in found for kernel in own):
            skipped.append((place.path, reason))
    if not found:
        raise ModelError("no layer is left to prune: none has a kernel, or only/skip leave none.", ("only",))
    return list(found.values()), skipped
