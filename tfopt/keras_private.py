"""Every private name of Keras, TensorFlow, keras-tuner and Optuna that tfopt uses, each behind a function.

A release of one of them that renames something breaks this file alone, and the test of the function says which name it
was. What has a public name with the same meaning is used by that and is not here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

# Keras: layers and tensors


def own_variables(layer: Any) -> list[Any]:
    """The variables that a layer made itself, frozen or not, to go through a model layer by layer.

    The public lists hold those of the layers in it too.
    """
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def own_trainable_variables(layer: Any) -> list[Any]:
    """Those of a layer's own variables that were made to be trained, to find what could be pruned.

    They stay in this list while the layer is frozen; the public list is empty then.
    """
    return list(layer._trainable_variables)


def direct_layers(layer: Any) -> list[Any]:
    """The layers right below a model or layer, to give each a path; the public `layers` is there on models alone."""
    return layer._flatten_layers(include_self=False, recursive=False)


def all_layers(layer: Any) -> list[Any]:
    """A model or layer itself and every layer below it, at any depth, to ask something of all of them."""
    return layer._flatten_layers()


def seed_generators(layer: Any) -> list[Any]:
    """The generators of a layer's random numbers (dropout, augmentation), each with a `state` to seed at each epoch."""
    return list(layer._seed_generators)


def training_of_call(layer: Any) -> bool | None:
    """What Keras was told of `training` in the call that is going on; None where it was told nothing.

    A model whose `call` has no argument `training` is asked so for what its simulation of a file does in training.
    """
    training = getattr(layer._get_call_context(), "training", None)
    if training is None:
        layer._maybe_reset_call_context()  # there was no call, and asking made one
    return training


def history_of(tensor: Any) -> Any:
    """Where a symbolic tensor is from (`operation`, `node_index`, `tensor_index`), to tell what a model ends in."""
    return tensor._keras_history


def calls_of(operation: Any) -> Sequence[Any]:
    """The nodes that a layer's calls left in graphs, each with its `arguments`, to tell how long a loop is."""
    return operation._inbound_nodes


def mask_of(tensor: Any) -> Any:
    """The mask that a layer such as Masking gave a tensor, to carry it over to another; None where there is none."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Gives a tensor that took the place of another the mask that the next layer looks for on it."""
    tensor._keras_mask = mask


# Keras: functional models


def functional_class() -> Any:
    """The class of functional models, whose `call` runs the graph and nothing else; `keras.Model` makes them of it."""
    from keras.src.models.functional import Functional

    return Functional


def functional_of(sequential: Any) -> Any:
    """The functional model that a Sequential runs, to read its graph; None before it is built."""
    return sequential._functional


def nodes_by_depth(graph: Any) -> Mapping[int, Sequence[Any]]:
    """The nodes of a functional model by their distance from its outputs: Keras runs them from the farthest on."""
    return graph._nodes_by_depth


def run_through_graph(graph: Any, inputs: Any, replaced: Callable[[Any], Any]) -> Any:
    """A functional model's outputs for other inputs, each operation as `replaced` gives it, to make a cut model."""
    return graph._run_through_graph(inputs, operation_fn=replaced)


def standardized_inputs(graph: Any, inputs: Any) -> list[Any]:
    """Inputs as a functional model takes them (flat, in its order, ranks and dtypes), to run it op by op."""
    return graph._standardize_inputs(inputs)


# Keras: compiled models and their training


def compiled_settings(model: Any) -> dict[str, Any]:
    """The arguments of `compile` as they were given; empty for a model that is not compiled.

    The public `get_compile_config` serializes them, and what is a user's own function does not come back from there.
    """
    settings = getattr(model, "_compile_config", None)
    return dict(settings.config) if model.compiled and settings else {}


def loss_of_batch(model: Any, x: Any, y: Any, outputs: Any, sample_weight: Any) -> Any:
    """The training loss of a batch, to evaluate it again within a step; `compute_loss` may take no `training`."""
    return model._compute_loss(x, y, outputs, sample_weight, training=True)


def loss_takes_training(model: Any) -> bool:
    """Whether a model's `compute_loss` has an argument `training`, as Keras looked it up when the model was made."""
    return model._compute_loss_has_training_arg


def set_loss_takes_training(model: Any, takes: bool) -> None:
    """Tells Keras whether a `compute_loss` that was put in place of the model's own has an argument `training`."""
    model._compute_loss_has_training_arg = takes


def penalty_in_loss(model: Any, penalty: Any) -> Any:
    """A penalty as Keras adds it to the loss: a sum, and under a distribution strategy a replica's share of it."""
    return model._aggregate_additional_loss(penalty)


def loss_tracker(model: Any) -> Any:
    """The metric that averages the loss that `fit` shows, for a training step that computes the loss itself."""
    return model._loss_tracker


def built_from_local_batch(cls: Any) -> Any:
    """A model class that `fit` builds, under a distribution strategy, from the batch of one of its replicas.

    Keras 3 takes the first batch of a distributed iterator as if it were on one device
    (github.com/keras-team/keras/issues/20585).
    """
    import tensorflow as tf

    class BuiltFromLocalBatch(cls):
        def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
            strategy = self.distribute_strategy
            for _, _, batches in iterator or ():
                data_batch = tf.nest.map_structure(
                    lambda part: strategy.experimental_local_results(part)[0], next(batches)
                )
                break
            with strategy.scope():
                self._symbolic_build(data_batch=data_batch)

    BuiltFromLocalBatch.__name__ = cls.__name__
    return BuiltFromLocalBatch


# Keras: optimizers


def step_count(optimizer: Any) -> Any:
    """The variable that counts every batch; the public `iterations` is divided by the steps of accumulation."""
    return optimizer._iterations


def share_step_count(optimizer: Any, other: Any) -> None:
    """Has an optimizer count its steps in the variable of the one that it wraps, which makes them for it, as in SAM."""
    optimizer._iterations = other._iterations


def variable_index(optimizer: Any, variable: Any) -> int:
    """Which of an optimizer's variables this is, and so where in its lists stands what it keeps for it."""
    return optimizer._get_variable_index(variable)


def optimized_variables(optimizer: Any) -> list[Any]:
    """The variables that an optimizer was built for, in the order of `variable_index`, to give each its own rate."""
    return optimizer._trainable_variables


def adam_squares(optimizer: Any, index: int) -> Any:
    """Adam's mean of squared gradients, the metric of its proximal step; with `amsgrad` the largest that was so far."""
    return (optimizer._velocity_hats if optimizer.amsgrad else optimizer._velocities)[index]


def merge_replicas(optimizer: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(strategy, *arguments)` once for all replicas, as Keras's optimizers update what replicas share."""
    import tensorflow as tf

    interim = tf.__internal__.distribute.interim
    return interim.maybe_merge_call(function, optimizer._distribution_strategy, *arguments)


# TensorFlow


@contextlib.contextmanager
def op_outputs_replaced(change: Callable[[str, Sequence[Any]], Sequence[Any] | None]) -> Iterator[None]:
    """Asks, for each op that is made in the block, for other outputs: by its name and outputs; None keeps them."""
    from tensorflow.python.framework import op_callbacks

    def put(op_type: str, inputs: Any, attrs: Any, outputs: Any, op_name: str | None = None, graph: Any = None) -> Any:
        return change(op_name or "", outputs)

    op_callbacks.add_op_callback(put)
    try:
        yield
    finally:
        op_callbacks.remove_op_callback(put)


def with_constants(function: Any) -> Any:
    """A concrete function with the values of its variables in it as constants, its loops as they are."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function, lower_control_flow=False)


def is_op_determinism_enabled() -> bool:
    """Whether ops give the same bits each time; the public module can only switch that on."""
    from tensorflow.python.framework import config

    return config.is_op_determinism_enabled()


def disable_op_determinism() -> None:
    """Ops are as fast as they can be again, and may give other bits each time."""
    from tensorflow.python.framework import config

    config.disable_op_determinism()


def limit_cluster_start(jobs: Mapping[str, Sequence[str]], start_seconds: float, heartbeat_seconds: float) -> None:
    """Sets a timeout for the start of a cluster; TensorFlow's strategy waits for ever, and its first worker still does.

    The strategy keeps a coordination service that is configured already (TensorFlow 2.21,
    collective_all_reduce_strategy.py).

    Args:
        jobs: The addresses of each job of the cluster.
        start_seconds: How long to wait for all of them.
        heartbeat_seconds: After how long without a sign of life one of them counts as lost.
    """
    from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
    from tensorflow.python.distribute import multi_worker_util
    from tensorflow.python.eager import context
    from tensorflow.python.training.server_lib import ClusterSpec

    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=multi_worker_util.coordination_leader(ClusterSpec(jobs)),
        cluster_register_timeout_in_ms=int(start_seconds * 1000),
        heartbeat_timeout_in_ms=int(heartbeat_seconds * 1000),
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(name=name, num_tasks=len(addresses))
            for name, addresses in jobs.items()
        ],
    )


def saved_model_message() -> Any:
    """An empty message to read `saved_model.pb` with, which runs nothing of what it holds."""
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel()


# keras-tuner


def tuner_file(tuner: Any) -> str:
    """Where a tuner keeps its state, from which it goes on."""
    return tuner._get_tuner_fname()


def oracle_file(oracle: Any) -> str:
    """Where an oracle keeps its state, from which it goes on."""
    return oracle._get_oracle_fname()


def save_trials_with(oracle: Any, write: Callable[[Any, str], None]) -> None:
    """Has an oracle write its trials with `write(state, file)` instead of keras-tuner's own, which a kill cuts off."""

    def save(trial: Any) -> None:
        write(trial.get_state(), os.path.join(oracle._get_trial_dir(trial.trial_id), "trial.json"))

    oracle._save_trial = save


def run_one_trial(tuner: Any, trial: Any) -> None:
    """Runs one trial as the tuner's `search` does, and notes on it what came of it; the search itself stays outside."""
    tuner._try_run_and_update_trial(trial)


@contextlib.contextmanager
def chief_answers_within(seconds: float) -> Iterator[None]:
    """How long a worker of a tuner waits in the block for an answer of its chief; keras-tuner waits an hour."""
    from keras_tuner.src.distribute import oracle_client

    before, oracle_client.TIMEOUT = oracle_client.TIMEOUT, seconds
    try:
        yield
    finally:
        oracle_client.TIMEOUT = before


def serve_oracle(server: Any, oracle: Any, counts: Callable[[str], bool]) -> Any:
    """Lets workers reach an oracle through a gRPC server.

    Args:
        server: The server, not started yet.
        oracle: The chief's oracle.
        counts: Is asked by a trial's name when a worker ends it; where it says no, nothing is noted.

    Returns:
        keras-tuner's servicer, whose `stop_triggered` says that some worker has heard that there are no more trials.
    """
    from keras_tuner.src import protos
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    class Servicer(OracleServicer):  # type: ignore[misc,unused-ignore]
        def EndTrial(self, request: Any, context: Any) -> Any:
            if counts(request.trial.trial_id):
                return super().EndTrial(request, context)
            return protos.get_service().EndTrialResponse()

    servicer = Servicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    return servicer


# Optuna


def trial_of(study: Any, number: int) -> Any:
    """A trial of a study by its number, to set attributes on while it runs; Optuna's own list gives frozen copies."""
    import optuna

    trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    return optuna.trial.Trial(study, trial_id)
