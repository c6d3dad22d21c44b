"""All uses of private names of Keras, keras-tuner and Optuna, each behind a function; TensorFlow's have a file too.

A release that renames one of them breaks this file alone, and the test of the function says which name it was. Names
with a public equivalent are not here.
"""

from __future__ import annotations

import collections
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

# Keras: layers and tensors


def own_variables(layer: Any) -> list[Any]:
    """The variables that a layer itself created, frozen or not, without those of its sublayers.

    The public lists hold those of the layers in it too.
    """
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def own_trainable_variables(layer: Any) -> list[Any]:
    """The own variables of a layer that were created as trainable, also while the layer is frozen.

    They stay in this list while the layer is frozen; the public list is empty then.
    """
    return list(layer._trainable_variables)


def direct_layers(layer: Any) -> list[Any]:
    """The direct sublayers of a model or layer; the public `layers` exists on models alone."""
    return layer._flatten_layers(include_self=False, recursive=False)


def all_layers(layer: Any) -> list[Any]:
    """A model or layer itself and all its sublayers, at any depth."""
    return layer._flatten_layers()


def seed_generators(layer: Any) -> list[Any]:
    """The generators of a layer's random numbers (dropout, augmentation), each with a `state` to seed at each epoch."""
    return list(layer._seed_generators)


def training_of_call(layer: Any) -> bool | None:
    """The `training` argument of the Keras call in progress; None where it was not given.

    Needed for models whose `call` has no argument `training`.
    """
    training = getattr(layer._get_call_context(), "training", None)
    if training is None:
        layer._maybe_reset_call_context()  # there was no call, and the look-up created a context
    return training


def history_of(tensor: Any) -> Any:
    """The origin of a symbolic tensor: `operation`, `node_index`, `tensor_index`."""
    return tensor._keras_history


def calls_of(operation: Any) -> Sequence[Any]:
    """The graph nodes of a layer's calls, each with its `arguments`."""
    return operation._inbound_nodes


def mask_of(tensor: Any) -> Any:
    """The Keras mask of a tensor, as Masking sets it; None where there is none."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Sets the Keras mask of a tensor, which the next layer reads."""
    tensor._keras_mask = mask


def logits_of(tensor: Any) -> Any:
    """The logits that Keras's softmax or sigmoid was given, on what it gave; None on any other tensor."""
    return getattr(tensor, "_keras_logits", None)


# Keras: functional models


def functional_class() -> Any:
    """The class of functional models, whose `call` runs the graph and nothing else."""
    from keras.src.models.functional import Functional

    return Functional


def functional_of(sequential: Any) -> Any:
    """The functional model that a Sequential runs, to read its graph; None before it is built."""
    return sequential._functional


def nodes_by_depth(graph: Any) -> Mapping[int, Sequence[Any]]:
    """The nodes of a functional model by their distance from its outputs; Keras runs the farthest first."""
    return graph._nodes_by_depth


def run_through_graph(graph: Any, inputs: Any, replaced: Callable[[Any], Any]) -> Any:
    """Runs a functional model's graph on new inputs with every operation replaced, to rebuild it smaller."""
    return graph._run_through_graph(inputs, operation_fn=replaced)


def standardized_inputs(graph: Any, inputs: Any) -> list[Any]:
    """Inputs in the form that a functional model's graph takes: flat, in its order, ranks and dtypes."""
    return graph._standardize_inputs(inputs)


# Keras: compiled models and their training


def compiled_settings(model: Any) -> dict[str, Any]:
    """The arguments of `compile` as they were given; empty for a model that is not compiled.

    The public `get_compile_config` serializes them, from which a user's own functions cannot be restored.
    """
    settings = getattr(model, "_compile_config", None)
    return dict(settings.config) if model.compiled and settings else {}


def loss_of_batch(model: Any, x: Any, y: Any, outputs: Any, sample_weight: Any) -> Any:
    """The training loss of a batch from outputs; `compute_loss` may take no `training`."""
    return model._compute_loss(x, y, outputs, sample_weight, training=True)


def loss_takes_training(model: Any) -> bool:
    """Whether Keras found an argument `training` in a model's `compute_loss` when the model was created."""
    return model._compute_loss_has_training_arg


def set_loss_takes_training(model: Any, takes: bool) -> None:
    """Tells Keras whether a replaced `compute_loss` has an argument `training`."""
    model._compute_loss_has_training_arg = takes


def build_compiled_state(model: Any, batch: Any) -> None:
    """Makes the variables of the optimizer, the loss and the metrics of a compiled model.

    Args:
        model: The model.
        batch: `(x, y)` or `(x, y, sample_weight)` in symbolic tensors.
    """
    model._symbolic_build(data_batch=batch)


@contextlib.contextmanager
def step_functions_by(model: Any, make: Callable[[Callable[[Any], Any]], Any]) -> Iterator[None]:
    """In the block `make` turns the model's `train_step` and `test_step` into the functions that Keras calls."""
    object.__setattr__(model, "_make_function", make)
    model.train_function = model.test_function = None
    try:
        yield
    finally:
        object.__delattr__(model, "_make_function")
        model.train_function = model.test_function = None


def optionals_as_none(model: Any, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A step that takes the parts of a batch which Keras wrapped as missing as None; none are before Keras 3.12."""
    convert = getattr(model, "_autoconvert_optionals", None)
    return step if convert is None else convert(step)


def penalty_in_loss(model: Any, penalty: Any) -> Any:
    """A penalty scaled as Keras adds it to the loss: under a distribution strategy a replica's share."""
    return model._aggregate_additional_loss(penalty)


def loss_tracker(model: Any) -> Any:
    """The metric of the mean loss that `fit` shows, for custom training steps to update."""
    return model._loss_tracker


def weighed_by_samples(cls: Any) -> Any:
    """A model class that, under a distribution strategy, learns from every sample of a batch alike.

    Keras means the loss over each replica's share and takes the mean of these, in which the samples of a small share
    count for more. Here the gradient of a replica counts by its share of the samples; the loss that is shown is as it
    was.
    """
    import tensorflow as tf

    class WeighedBySamples(cls):
        def _compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            loss = super()._compute_loss(x, y, y_pred, sample_weight, training)
            replica = tf.distribute.get_replica_context()
            if not training or replica is None or replica.num_replicas_in_sync == 1:
                return loss
            first = next(part for part in tf.nest.flatten(x) if part is not None)
            samples = tf.cast(tf.shape(first)[0], loss.dtype)
            of_all = replica.all_reduce(tf.distribute.ReduceOp.SUM, samples)
            value = tf.stop_gradient(loss)
            return value + replica.num_replicas_in_sync * samples / of_all * (loss - value)

    WeighedBySamples.__name__ = cls.__name__
    return WeighedBySamples


def built_from_local_batch(cls: Any) -> Any:
    """A model class that `fit` builds, under a distribution strategy, from the batch of one of its replicas.

    Keras 3 takes the first batch of a distributed iterator as if it were on one device
    (github.com/keras-team/keras/issues/20585).
    """
    import tensorflow as tf

    class BuiltFromLocalBatch(cls):
        def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
            strategy = self.distribute_strategy
            for *_, batches in iterator or ():  # two before Keras 3.11, three since
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
    """Lets a wrapping optimizer, such as SAM, share the step counter of its inner optimizer."""
    optimizer._iterations = other._iterations


def variable_index(optimizer: Any, variable: Any) -> int:
    """The index of a variable in an optimizer's lists of variables and slots."""
    return optimizer._get_variable_index(variable)


def optimized_variables(optimizer: Any) -> list[Any]:
    """The variables that an optimizer was built for, in the order of `variable_index`."""
    return optimizer._trainable_variables


def adam_squares(optimizer: Any, index: int) -> Any:
    """Adam's mean of squared gradients of a variable; with `amsgrad` its largest so far."""
    return (optimizer._velocity_hats if optimizer.amsgrad else optimizer._velocities)[index]


def second_moment(optimizer: Any, variable: Any) -> Any:
    """An optimizer's mean of the squared gradients of a variable; None where it keeps none of it.

    Of an optimizer that wraps another one, such as LossScaleOptimizer or SAM, it is the inner one's.
    """
    while (inner := getattr(optimizer, "inner_optimizer", getattr(optimizer, "optimizer", None))) is not None:
        optimizer = inner
    moments = getattr(optimizer, "_velocities", None)
    if not moments or not any(variable is one for one in optimized_variables(optimizer)):
        return None
    return moments[variable_index(optimizer, variable)]


def merge_replicas(optimizer: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs `function(strategy, *arguments)` once for all replicas, as Keras's optimizers do for shared variables."""
    import tensorflow as tf

    interim = tf.__internal__.distribute.interim
    return interim.maybe_merge_call(function, optimizer._distribution_strategy, *arguments)


@contextlib.contextmanager
def names_from_start() -> Iterator[None]:
    """Numbers layers without a name as in a new process, `dense`, `dense_1` and so on, within the block."""
    from keras.src.backend.common import global_state

    counts = "object_name_uids"
    before = global_state.get_global_attribute(counts)
    global_state.set_global_attribute(counts, collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(counts, before)


# keras-tuner


def tuner_file(tuner: Any) -> str:
    """The file with a tuner's state, to resume from."""
    return tuner._get_tuner_fname()


def oracle_file(oracle: Any) -> str:
    """The file with an oracle's state, to resume from."""
    return oracle._get_oracle_fname()


def save_trials_with(oracle: Any, write: Callable[[Any, str], None]) -> None:
    """Lets an oracle write trials with `write(state, file)`, as keras-tuner's own writing is not atomic."""

    def save(trial: Any) -> None:
        write(trial.get_state(), os.path.join(oracle._get_trial_dir(trial.trial_id), "trial.json"))

    oracle._save_trial = save


def run_one_trial(tuner: Any, trial: Any) -> None:
    """Runs one trial as the tuner's `search` does, and records its result on the trial."""
    tuner._try_run_and_update_trial(trial)


@contextlib.contextmanager
def chief_answers_within(seconds: float) -> Iterator[None]:
    """Limits how long a tuner's worker waits for its chief within the block; keras-tuner waits an hour."""
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
        counts: Called with a trial's name when a worker ends it; if False, the result is ignored.

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
