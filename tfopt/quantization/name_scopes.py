"""Name scopes by number, in which the layers of a model compute, so that each op of a graph is known by its layer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tfopt.models.layers import call_replaced


@contextlib.contextmanager
def scoped(layers: Sequence[Any], prefix: str, failed: Callable[[int], None] = lambda number: None) -> Iterator[None]:
    """Lets every layer or operation compute in the name scope `PREFIX.NUMBER/` within the block.

    Args:
        layers: The layers and operations, by number.
        prefix: What the names of the scopes begin with.
        failed: Called with the number of each that raises, the innermost first.
    """
    with contextlib.ExitStack() as stack:
        for number, layer in enumerate(layers):
            stack.enter_context(_scoped(layer, f"{prefix}.{number}/", number, failed))
        yield


def _scoped(
    layer: Any, scope: str, number: int, failed: Callable[[int], None]
) -> contextlib.AbstractContextManager[None]:
    original = layer.call

    def call(*args: Any, **rest: Any) -> Any:
        with tf.name_scope(scope):
            try:
                return original(*args, **rest)
            except Exception:
                failed(number)
                raise

    return call_replaced(layer, call)
