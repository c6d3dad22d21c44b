"""The graph of ops behind a Keras model, where a call of the model runs nothing else."""

from __future__ import annotations

from typing import Any

import keras

from tfopt.keras_private import functional_class, functional_of, nodes_by_depth


def graph_of(model: Any) -> Any:
    """The functional model whose graph is all that a call of the model runs; None where there is none."""
    if isinstance(model, keras.Sequential):
        return functional_of(model) if type(model).call is keras.Sequential.call else None
    functional = functional_class()
    return model if isinstance(model, functional) and type(model).call is functional.call else None


def nodes_of(graph: Any) -> list[Any]:
    """The nodes of a functional model in the order in which Keras runs them, its inputs left out."""
    by_depth = nodes_by_depth(graph)
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]
