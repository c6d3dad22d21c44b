"""Which kernels of a model are pruned, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfopt.errors import ModelError
from tfopt.layers import Kernel, Place, prunable, select, walk


def choose_kernels(
    model: keras.Model, only: Sequence[str] = (), skip: Sequence[str] = ()
) -> tuple[list[Kernel], list[tuple[str, str]]]:
    """The kernels to prune, each once, and the layers with kernels that are left alone, with the reason.

    Raises:
        ModelError: A pattern matches no layer, or none that can be pruned, or no layer is left to prune.
    """
    places = list(walk(model))
    _check_named(places, only)
    chosen = {id(place.layer) for place in select(places, only, skip)}
    found: dict[int, Kernel] = {}
    skipped = []
    for place in places:
        own = prunable(place, asked=any(place.matches(pattern) for pattern in only))
        if id(place.layer) in chosen:
            found.update({id(kernel.variable): kernel for kernel in own if id(kernel.variable) not in found})
        has_kernel = any(len(v.shape) > 1 for v in getattr(place.layer, "_trainable_variables", ()))
        if has_kernel and not any(id(kernel.variable) in found for kernel in own):
            skipped.append((place.path, _reason(place, own)))
    if not found:
        raise ModelError("no layer is left to prune: none has a kernel, or only/skip leave none.", ("only",))
    return list(found.values()), skipped


def _check_named(places: Sequence[Place], only: Sequence[str]) -> None:
    """Refuses a pattern of `only` that asks for layers of which none can be pruned."""
    for pattern in only:
        named = [place for place in places if place.matches(pattern)]
        if named and not any(prunable(place, asked=True) for place in named):
            raise ModelError(
                f"the pattern {pattern!r} of 'only' matches {named[0].path} ({type(named[0].layer).__name__}), which "
                "has no kernel to prune. A layer of your own says what can be pruned in a method get_prunable_weights.",
                ("only",),
            )


def _reason(place: Place, own: Sequence[Kernel]) -> str:
    if own:
        return "left out by only/skip"
    if prunable(place, asked=True):
        return "pruned only when it is named in `only`: it has few weights, and each counts"
    return "not a layer that TF-MOT prunes; one of your own needs a method get_prunable_weights"
