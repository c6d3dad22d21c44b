"""Selection of the kernels to prune, with the reasons for those left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import keras

from tfopt.errors import ModelError
from tfopt.keras_private import own_variables
from tfopt.models.layers import Kernel, LayerRef, matching, operations, prunable, select, walk
from tfopt.models.left_alone import has_kernel
from tfopt.models.requirements import check_not_quantized

T = TypeVar("T")
UNKNOWN = "not a layer that TF-MOT prunes; `prunable` can name what to prune in it"
FROZEN = "it does not train (trainable=False); naming it in `only` chooses it all the same"
LEFT_OUT = "left out by only/skip"
FEW_WEIGHTS = "pruned only when it is named in `only`: it has few weights, and each counts"
# Before what keeps a layer dense.
KEPT_DENSE = "kept dense by "
# The reasons that nobody asked for and that no default explains.
UNASKED = (UNKNOWN, FROZEN)


def choose_kernels(
    model: keras.Model,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    weights: Mapping[str, Sequence[str]] | None = None,
    rules: Sequence[tuple[Sequence[str], float]] = (),
) -> tuple[list[Kernel], list[tuple[str, str]]]:
    """The kernels to prune, each once, and the layers with kernels that are left alone, with the reason.

    A layer that does not train is chosen only where `only`, `weights` or a rule names it.

    Args:
        model: A built model.
        only: Layer patterns; empty means every layer of a class that TF-MOT prunes, and those of `weights`.
        skip: Layer patterns to leave dense.
        weights: Names of the weights to prune by layer pattern, for layers that tfopt does not know.
        rules: Pairs of layer patterns and a number, of which 0 leaves a layer alone.

    Raises:
        ModelError: A pattern matches no layer, or none that can be pruned, or no layer is left to prune.
    """
    places, between = list(walk(model)), list(operations(model))
    ruled = [pattern for patterns, value in rules if value for pattern in patterns]
    named = _named_weights(places, weights or {}, between)
    _check_named([place for place in places if id(place.layer) not in named], only)
    selected = select(places, only, skip, between)
    check_not_quantized(selected)
    chosen = {id(place.layer) for place in selected}
    found: dict[int, Kernel] = {}
    skipped = []
    for place in places:
        asked = any(place.matches(pattern) for pattern in only)
        own = named.get(id(place.layer)) or prunable(place, asked)
        wanted = id(place.layer) in chosen
        by_name = asked or id(place.layer) in named or any(place.matches(pattern) for pattern in ruled)
        frozen = wanted and not by_name and _is_frozen(place)
        if wanted and not frozen:
            found.update({id(kernel.variable): kernel for kernel in own if id(kernel.variable) not in found})
        if has_kernel(place.layer) and not any(id(kernel.variable) in found for kernel in own):
            skipped.append((place.path, FROZEN if frozen and own else _reason(place, own)))
    if not found:
        frozen_only = any(reason == FROZEN for _, reason in skipped)
        why = "those with a kernel do not train" if frozen_only else "none has a kernel, or only/skip leave none"
        raise ModelError(f"no layer is left to prune: {why}.", ("only",))
    return list(found.values()), skipped


def rules_on_trained(
    model: keras.Model, rules: Sequence[tuple[Sequence[str], T]], skipped: Sequence[tuple[str, str]]
) -> list[tuple[tuple[str, ...], T]]:
    """The rules without the patterns that match nothing but layers which are left alone as they do not train.

    Args:
        model: The model of `choose_kernels`.
        rules: Pairs of layer patterns and a value.
        skipped: What `choose_kernels` has left alone, with the reasons.
    """
    alone = {path for path, reason in skipped if reason == FROZEN}
    places = list(walk(model))

    def counts(pattern: str) -> bool:
        matched = [place.path for place in places if place.matches(pattern) and has_kernel(place.layer)]
        return not matched or not alone.issuperset(matched)

    return [(tuple(pattern for pattern in patterns if counts(pattern)), value) for patterns, value in rules]


def all_kernels(model: keras.Model, weights: Mapping[str, Sequence[str]] | None = None) -> list[Kernel]:
    """All kernels that could be pruned, each once, depthwise ones included.

    Args:
        model: A built model.
        weights: Names of the weights to prune by layer pattern, as for `choose_kernels`.

    Raises:
        ModelError: A pattern matches no layer, or a layer has no weight of that name.
    """
    places = list(walk(model))
    named = _named_weights(places, weights or {}, list(operations(model)))
    found = (k for place in places for k in named.get(id(place.layer)) or prunable(place, asked=True))
    return list({id(kernel.variable): kernel for kernel in found}.values())


def _named_weights(
    places: Sequence[LayerRef], weights: Mapping[str, Sequence[str]], between: Sequence[LayerRef]
) -> dict[int, list[Kernel]]:
    """The kernels that a user names, by the layer's identity; of several patterns the last one counts.

    Raises:
        ModelError: A pattern matches no layer, or a layer has no weight of that name.
    """
    found = {}
    for pattern, names in weights.items():
        for place in matching(places, pattern, "prunable", between):
            owned = {id(v): v for v in own_variables(place.layer)}
            by_name = {v.name: v for v in owned.values()}
            by_name |= {key: v for key, v in vars(place.layer).items() if id(v) in owned}
            for name in names:
                if name not in by_name:
                    there = ", ".join(dict.fromkeys(v.name for v in owned.values())) or "no weights of its own"
                    raise ModelError(
                        f"{place.path} ({type(place.layer).__name__}) has no weight {name!r}. It has: {there}.",
                        ("prunable",),
                    )
            found[id(place.layer)] = [Kernel(place, name, by_name[name]) for name in names]
    return found


def _check_named(places: Sequence[LayerRef], only: Sequence[str]) -> None:
    """Refuses a pattern of `only` that asks for layers of which none can be pruned."""
    for pattern in only:
        named = [place for place in places if place.matches(pattern)]
        if named and not any(prunable(place, asked=True) for place in named):
            raise ModelError(
                f"the pattern {pattern!r} of 'only' matches {named[0].path} ({type(named[0].layer).__name__}), which "
                "has no kernel to prune. Name those of a layer of your own in `prunable`.",
                ("only",),
            )


def _is_frozen(place: LayerRef) -> bool:
    return not all(layer.trainable for layer in (*place.above, place.layer))


def _reason(place: LayerRef, own: Sequence[Kernel]) -> str:
    if own:
        return LEFT_OUT
    if prunable(place, asked=True):
        return FEW_WEIGHTS
    return UNKNOWN
