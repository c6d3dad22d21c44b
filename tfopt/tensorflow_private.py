"""All uses of private names of TensorFlow, each behind a function.

A release that renames one of them breaks this file alone, and the test of the function says which name it was. Names
with a public equivalent are not here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


@contextlib.contextmanager
def op_outputs_replaced(change: Callable[[str, Sequence[Any]], Sequence[Any] | None]) -> Iterator[None]:
    """Calls `change` with the name and outputs of each op built in the block for new outputs; None keeps them."""
    from tensorflow.python.framework import op_callbacks

    def put(op_type: str, inputs: Any, attrs: Any, outputs: Any, op_name: str | None = None, graph: Any = None) -> Any:
        return change(op_name or "", outputs)

    op_callbacks.add_op_callback(put)
    try:
        yield
    finally:
        op_callbacks.remove_op_callback(put)


def with_constants(function: Any) -> Any:
    """A concrete function with its variables frozen to constants, and its loops kept."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function, lower_control_flow=False)


def frozen_converter(function: Any) -> Any:
    """A `TFLiteConverter` of a concrete function, without the copies of the weights that its freezing makes.

    The converter puts the values of the variables into the graph, and then builds a function of that graph, of which it
    reads no more than the names, types and shapes of inputs and outputs: the weights are copied four times, in a third
    of the time that the whole conversion takes. The traced function knows the same of its ends. Where a release has
    other names, or other arguments, its own freezing is taken, with the same bytes as a result.
    """
    import tensorflow as tf

    class FrozenConverter(tf.lite.TFLiteConverter):
        def _freeze_concrete_function(self) -> Any:
            """The frozen graph, its inputs, its outputs, and the function that they come from."""
            try:
                return _frozen(*self._funcs)
            except (AttributeError, ImportError, TypeError, ValueError):
                return super()._freeze_concrete_function()

    return FrozenConverter.from_concrete_functions([function])


def _frozen(function: Any) -> tuple[Any, list[Any], list[Any], Any]:
    from tensorflow.python.framework import convert_to_constants as module

    data = module._FunctionConverterDataInEager(function, lower_control_flow=False, aggressive_inlining=False)
    graph, _ = module._replace_variables_by_constants(data)
    held = {placeholder.ref() for _, placeholder in function.graph.captures}
    inputs = [tensor for tensor in function.inputs if tensor.ref() not in held]
    return graph, inputs, list(function.outputs), function


def is_op_determinism_enabled() -> bool:
    """Whether ops give the same bits each time; the public module can only switch that on."""
    from tensorflow.python.framework import config

    return config.is_op_determinism_enabled()


def disable_op_determinism() -> None:
    """Switches op determinism off again: ops are faster, and results may differ between runs."""
    from tensorflow.python.framework import config

    config.disable_op_determinism()


def limit_cluster_start(jobs: Mapping[str, Sequence[str]], start_seconds: float, heartbeat_seconds: float) -> None:
    """Sets a timeout for the start of a cluster; TensorFlow's strategy waits for ever, and its first worker still does.

    The strategy keeps a coordination service that is configured already (TensorFlow 2.21,
    collective_all_reduce_strategy.py).

    Args:
        jobs: The addresses of each job of the cluster.
        start_seconds: Seconds to wait for all of them.
        heartbeat_seconds: Seconds without a heartbeat after which one counts as lost.
    """
    import tensorflow as tf
    from tensorflow.python.distribute import multi_worker_util
    from tensorflow.python.eager import context
    from tensorflow.python.training.server_lib import ClusterSpec

    # The module of its message has moved between releases; the message is a part of this one in all of them.
    coordination = tf.compat.v1.ConfigProto().experimental.coordination_config
    for name, addresses in jobs.items():
        coordination.coordinated_job_list.add(name=name, num_tasks=len(addresses))
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=multi_worker_util.coordination_leader(ClusterSpec(jobs)),
        cluster_register_timeout_in_ms=int(start_seconds * 1000),
        heartbeat_timeout_in_ms=int(heartbeat_seconds * 1000),
        coordinated_jobs=list(coordination.coordinated_job_list),
    )


def saved_model_message() -> Any:
    """An empty protobuf message to parse `saved_model.pb` without running anything in it."""
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel()
