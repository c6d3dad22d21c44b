"""The graph of ops behind a Keras model, where a call of the model runs nothing else."""

from __future__ import annotations

from typing import Any

import keras


def graph_of(model: Any) -> Any:
    """The functional model whose graph is all that a call of the model runs; None where there is none."""
    if isinstance(model, keras.Sequential):
        return model._functional if type(model).call is keras.Sequential.call else None
    functional: Any = next((cls for cls in type(model).__mro__ if cls.__name__ == "Functional"), None)
    return model if functional is not None and type(model).call is functional.call else None


def nodes_of(graph: Any) -> list[Any]:
    """The nodes of a functional model in the order in which Keras runs them, its inputs left out."""
    depths = sorted(graph._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in graph._nodes_by_depth[depth] if not node.is_input]
