"""Recurrent layers unrolled with a mask as their loop computes them.

Keras unrolls a layer that runs backwards, gives every step and puts zeros at those that a mask leaves out, as half of a
`Bidirectional` does, with that mask the wrong way round: the zeros are at other steps than in its loop. Here such a
layer runs forwards over its sequence and its mask turned round, which is the same to the loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

_LOOP = "inner_loop"


def unrolled_wrongly(layer: Any) -> bool:
    """Whether a recurrent layer, unrolled with a mask, gives something else than its loop."""
    zeros = layer.go_backwards and layer.return_sequences and getattr(layer, "zero_output_for_mask", False)
    return bool(zeros) and _LOOP not in vars(layer)


def mend(layer: Any) -> None:
    """Lets a recurrent layer give with a mask what its loop gives, also where it is unrolled."""
    if unrolled_wrongly(layer):
        object.__setattr__(layer, _LOOP, _forwards(layer))


@contextlib.contextmanager
def unrolled_within(layer: Any) -> Iterator[None]:
    """Unrolls a recurrent layer within the block; one that is built so stays as it is."""
    if layer.unroll:
        yield
        return
    wrong = unrolled_wrongly(layer)
    mend(layer)
    vars(layer)["unroll"] = True
    try:
        yield
    finally:
        vars(layer)["unroll"] = False
        if wrong:
            object.__delattr__(layer, _LOOP)


def _forwards(layer: Any) -> Callable[..., Any]:
    """The loop of a layer that runs backwards, with what it is given turned round where there is a mask."""
    original = getattr(layer, _LOOP)

    def inner_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        if mask is None:
            return original(sequences, initial_state, mask, training=training)
        turned, mask = keras.tree.map_structure(lambda each: keras.ops.flip(each, axis=1), (sequences, mask))
        vars(layer)["go_backwards"] = False
        try:
            return original(turned, initial_state, mask, training=training)
        finally:
            vars(layer)["go_backwards"] = True

    return inner_loop
