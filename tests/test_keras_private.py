"""Each private name of Keras, keras-tuner and Optuna is there, and still holds what tfopt takes it for."""

import inspect
import json
import os
from pathlib import Path

import grpc
import keras
import keras_tuner
import numpy as np
import optuna
import pytest
import tensorflow as tf

from tfopt import keras_private
from tfopt.optimizers import SAM

X, Y = np.ones((4, 3, 2), np.float32), np.ones((4, 1), np.float32)
OPTIMIZERS = {"adam": keras.optimizers.Adam, "amsgrad": lambda: keras.optimizers.Adam(amsgrad=True)}


@pytest.fixture(scope="module")
def model():
    """A compiled functional model with a nested Sequential, random numbers and a frozen layer."""
    inputs = keras.Input((3, 2), name="samples")
    nested = keras.Sequential([keras.layers.Dense(2), keras.layers.Dropout(0.5)], name="nested")
    x = keras.layers.GlobalAveragePooling1D()(nested(inputs))
    x = keras.layers.BatchNormalization(name="norm", trainable=False)(x)
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_regularizer="l2", name="last")(x))
    model.compile("sgd", "mse")
    return model


@pytest.fixture(params=OPTIMIZERS)
def adam(request):
    optimizer = OPTIMIZERS[request.param]()
    optimizer.build([keras.Variable([0.0, 0.0]), keras.Variable([1.0])])
    return optimizer


@pytest.fixture
def tuner(tmp_path):
    """A random search of keras-tuner over one value."""

    class Tuned(keras_tuner.RandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            return {"score": trial.hyperparameters.get("x")}

    return Tuned(
        lambda hp: hp.Float("x", 1.0, 2.0),
        keras_tuner.Objective("score", "max"),
        max_trials=2,
        directory=str(tmp_path),
        project_name="search",
    )


def test_every_function_has_a_test_of_its_name():
    functions = [
        name
        for name, value in vars(keras_private).items()
        if getattr(value, "__module__", "") == keras_private.__name__
    ]
    assert [name for name in functions if f"test_{name}" not in globals()] == []


# Keras: layers and tensors


def test_own_variables(model):
    names = [variable.name for variable in keras_private.own_variables(model.get_layer("norm"))]
    assert names == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert keras_private.own_variables(model.get_layer("nested")) == []


def test_own_trainable_variables(model):
    names = [variable.name for variable in keras_private.own_trainable_variables(model.get_layer("norm"))]
    assert names == ["gamma", "beta"]
    assert model.get_layer("norm").trainable_variables == []


def test_direct_layers(model):
    assert keras_private.direct_layers(model) == model.layers
    wrapped = keras.layers.Dense(1)
    assert keras_private.direct_layers(keras.layers.TimeDistributed(wrapped)) == [wrapped]


def test_all_layers(model):
    found = keras_private.all_layers(model)
    assert found[0] is model
    assert all(layer in found for layer in (*model.layers, *model.get_layer("nested").layers))


def test_seed_generators(model):
    [generator] = keras_private.seed_generators(model.get_layer("nested").layers[-1])
    generator.state.assign([1, 2])
    assert keras_private.seed_generators(model.get_layer("last")) == []


def test_names_from_start():
    keras.layers.Dense(1)
    with keras_private.names_from_start():
        assert [keras.layers.Dense(1).name for _ in range(2)] == ["dense", "dense_1"]
        with keras_private.names_from_start():
            assert keras.layers.Dense(1).name == "dense"
        assert keras.layers.Dense(1).name == "dense_2"
    assert keras.layers.Dense(1).name != "dense"


def test_logits_of():
    logits = keras.ops.convert_to_tensor([[1.0, -2.0]])
    for squash in (keras.activations.softmax, keras.activations.sigmoid):
        assert keras_private.logits_of(squash(logits)) is logits
    assert keras_private.logits_of(logits) is None


@pytest.mark.parametrize("training", [True, False, None])
def test_training_of_call(training):
    seen = []

    class Asking(keras.layers.Layer):
        def call(self, inputs):
            seen.append(keras_private.training_of_call(self))
            return inputs

    class Around(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.asking = Asking()

        def call(self, inputs, training=None):
            return self.asking(inputs)

    around = Around()
    around(X, training=training)
    assert seen[-1] == training
    assert keras_private.training_of_call(around) is None  # and leaves no call behind that others would be inside of
    around(X, training=True)
    assert seen[-1] is True


def test_history_of(model):
    history = keras_private.history_of(model.output)
    assert (history.operation, history.node_index, history.tensor_index) == (model.get_layer("last"), 0, 0)


def test_calls_of(model):
    [call] = keras_private.calls_of(model.get_layer("last"))
    assert call.arguments.keras_tensors == list(call.input_tensors)
    assert len(keras_private.calls_of(keras.layers.Dense(1))) == 0


def test_mask_of():
    given = keras.layers.Masking()(np.stack([X[0], 0 * X[0]]))
    mask = keras_private.mask_of(given)
    assert mask is not None, "_keras_mask"
    assert mask.numpy().tolist() == [[True] * 3, [False] * 3]
    assert keras_private.mask_of(tf.constant(X)) is None


def test_set_mask():
    tensor = tf.constant(np.float32([[[1], [3], [5]]]))
    keras_private.set_mask(tensor, tf.constant([[True, True, False]]))
    assert keras.layers.GlobalAveragePooling1D()(tensor).numpy().tolist() == [[2]], "_keras_mask"


# Keras: functional models


def test_functional_class(model):
    assert type(model) is keras_private.functional_class()
    assert issubclass(keras_private.functional_class(), keras.Function)
    assert not isinstance(model.get_layer("nested"), keras_private.functional_class())


def test_functional_of(model):
    assert isinstance(keras_private.functional_of(model.get_layer("nested")), keras_private.functional_class())
    assert keras_private.functional_of(keras.Sequential([keras.layers.Dense(1)])) is None


def test_nodes_by_depth(model):
    by_depth = keras_private.nodes_by_depth(model)
    assert [node.operation for node in by_depth[0]] == [model.get_layer("last")]
    [first] = by_depth[max(by_depth)]
    assert first.is_input
    assert list(first.outputs) == model.inputs


def test_run_through_graph(model):
    asked = []
    outputs = keras_private.run_through_graph(model, X, lambda operation: asked.append(operation) or operation)
    assert all(layer in asked for layer in model.layers[1:])
    np.testing.assert_allclose(outputs, model(X))


def test_standardized_inputs(model):
    [flat] = keras_private.standardized_inputs(model, tf.constant(X, tf.float64))
    assert flat.dtype == tf.float32


# Keras: compiled models and their training


def test_compiled_settings():
    def loss(y_true, y_pred):
        return y_pred

    own = keras.Sequential([keras.layers.Dense(1)])
    assert keras_private.compiled_settings(own) == {}
    own.compile("sgd", loss, loss_weights=[2.0])
    settings = keras_private.compiled_settings(own)
    assert settings, "_compile_config"
    assert (settings["loss"], settings["loss_weights"]) == (loss, [2.0])
    own.compile(**settings)


class OwnLoss(keras.Sequential):
    """Its `compute_loss` is that of Keras before 3.3."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return keras.ops.sum(y_pred)


def test_loss_of_batch(model):
    penalty = keras.ops.sum(keras.ops.square(model.get_layer("last").kernel)) * 0.01
    found = keras_private.loss_of_batch(model, X, Y, tf.constant(Y + 2), None)
    assert float(found) == pytest.approx(4 + float(penalty), rel=1e-5)
    assert float(keras_private.loss_of_batch(OwnLoss(), X, Y, tf.constant(Y), None)) == 4


def test_loss_takes_training(model):
    assert keras_private.loss_takes_training(model) is True
    assert keras_private.loss_takes_training(OwnLoss()) is False


def test_set_loss_takes_training():
    own, told = OwnLoss(), []
    own.compute_loss = lambda x, y, y_pred, sample_weight, training: told.append(training)
    keras_private.set_loss_takes_training(own, True)
    keras_private.loss_of_batch(own, X, Y, Y, None)
    assert told == [True], "_compute_loss_has_training_arg"


def test_build_compiled_state():
    own = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    own.compile("adam", "mse", metrics=["mae"])
    symbolic = tuple(keras.KerasTensor((None, size), "float32") for size in (2, 1))
    keras_private.build_compiled_state(own, symbolic)
    assert own.optimizer.built, "_symbolic_build"
    assert [variable.shape for variable in own.metrics[1].variables], "_symbolic_build"


def test_step_functions_by():
    own, made = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]), []
    own.compile("sgd", "mse")
    own.make_train_function()
    with keras_private.step_functions_by(own, lambda step: made.append(step) or "function"):
        own.make_train_function()
        own.make_test_function()
        assert (own.train_function, own.test_function) == ("function", "function"), "_make_function"
    assert made == [own.train_step, own.test_step]
    assert (own.train_function, own.test_function) == (None, None)
    own.make_train_function()
    assert callable(own.train_function)


@pytest.mark.skipif(not hasattr(keras.Model, "_autoconvert_optionals"), reason="Keras before 3.12 wraps nothing")
def test_optionals_as_none(model):
    missing = tf.experimental.Optional.empty(tf.TensorSpec(()))
    assert keras_private.optionals_as_none(model, lambda batch: batch)((1, missing)) == (1, None)


def test_penalty_in_loss(model):
    assert float(keras_private.penalty_in_loss(model, tf.constant([1.0, 2.0]))) == 3
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        assert float(keras_private.penalty_in_loss(model, tf.constant(3.0))) == 3


def test_loss_tracker(model):
    assert keras_private.loss_tracker(model) is model.metrics[0]
    assert model.metrics[0].name == "loss"


def test_built_from_local_batch():
    shapes = []

    class Noting(keras.Sequential):
        def _symbolic_build(self, iterator=None, data_batch=None):
            shapes.append(keras.tree.map_structure(lambda part: tuple(part.shape), data_batch))
            super()._symbolic_build(iterator, data_batch)

    replaced = [
        n for n, value in vars(keras_private.built_from_local_batch(Noting)).items() if inspect.isfunction(value)
    ]
    assert [name for name in replaced if not hasattr(keras.Model, name)] == []
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        built = keras_private.built_from_local_batch(Noting)([keras.layers.Flatten(), keras.layers.Dense(1)])
        built.compile("sgd", "mse")
    assert type(built).__name__ == "Noting"
    built.fit(X, Y, batch_size=2, verbose=0)
    assert shapes == [((2, 3, 2), (2, 1))]


def test_weighed_by_samples(monkeypatch):
    """The gradient on a replica of 4 of 12 samples, two replicas in all, and the loss that it shows."""

    class Replica:
        num_replicas_in_sync = 2

        def all_reduce(self, how, count):
            assert (how, float(count)) == (tf.distribute.ReduceOp.SUM, 4)
            return count + 8

    weighed = keras_private.weighed_by_samples(keras.Sequential)
    assert [n for n, v in vars(weighed).items() if inspect.isfunction(v) and not hasattr(keras.Model, n)] == []
    assert weighed.__name__ == "Sequential"
    model = weighed([keras.Input((3, 2)), keras.layers.Flatten(), keras.layers.Dense(1, kernel_regularizer="l2")])
    model.compile("sgd", "mse")
    found = []
    for replica in (None, Replica()):
        monkeypatch.setattr(tf.distribute, "get_replica_context", lambda replica=replica: replica)
        with tf.GradientTape() as tape:
            loss = keras_private.loss_of_batch(model, X, Y, model(X), None)
        found.append((float(loss), tape.gradient(loss, model.trainable_variables[0].value).numpy()))
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[1][1], found[0][1] * 2 * 4 / 12, rtol=1e-6)


# Keras: optimizers


def test_step_count():
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=2)
    variable = keras.Variable([0.0])
    for _ in range(3):
        optimizer.apply([tf.constant([1.0])], [variable])
    assert int(keras_private.step_count(optimizer)) == 3
    assert int(optimizer.iterations) == 1


def test_share_step_count():
    one, other = keras.optimizers.SGD(), keras.optimizers.SGD()
    keras_private.share_step_count(one, other)
    other.apply([tf.constant([1.0])], [keras.Variable([0.0])])
    assert int(one.iterations) == 1


def test_variable_index(adam):
    indices = [keras_private.variable_index(adam, v) for v in keras_private.optimized_variables(adam)]
    assert indices == [0, 1]


def test_optimized_variables(adam):
    assert [tuple(variable.shape) for variable in keras_private.optimized_variables(adam)] == [(2,), (1,)]


def test_adam_squares(adam):
    adam.apply([tf.constant([1.0, 2.0]), tf.constant([3.0])])
    np.testing.assert_allclose(keras_private.adam_squares(adam, 0), [0.001, 0.004], rtol=1e-5)
    adam.apply([tf.constant([0.0, 0.0]), tf.constant([0.0])])
    largest = 0.009 if adam.amsgrad else 0.009 * 0.999  # which is what it divides by
    np.testing.assert_allclose(keras_private.adam_squares(adam, 1), [largest], rtol=1e-6)


def test_second_moment(adam):
    adam.apply([tf.constant([1.0, 2.0]), tf.constant([3.0])])
    variables = keras_private.optimized_variables(adam)
    np.testing.assert_allclose(keras_private.second_moment(adam, variables[1]), [0.009], rtol=1e-5)
    assert keras_private.second_moment(adam, keras.Variable([0.0])) is None
    sgd = keras.optimizers.SGD()
    sgd.build(variables)
    assert keras_private.second_moment(sgd, variables[0]) is None


@pytest.mark.parametrize("wrap", [keras.optimizers.LossScaleOptimizer, SAM])
def test_second_moment_of_an_optimizer_that_wraps_another(wrap):
    variable, inner = keras.Variable([1.0]), keras.optimizers.Adam()
    outer = wrap(inner)
    outer.build([variable])
    inner.apply([tf.constant([3.0])], [variable])
    np.testing.assert_allclose(keras_private.second_moment(outer, variable), [0.009], rtol=1e-5)


@pytest.mark.parametrize("replicas", [0, 1])
def test_merge_replicas(replicas):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"]) if replicas else tf.distribute.get_strategy()
    with strategy.scope():
        optimizer = keras.optimizers.SGD()
    seen = []

    @tf.function
    def step():
        strategy.run(lambda: keras_private.merge_replicas(optimizer, lambda *given: seen.append(given), 1, 2))

    step()
    assert seen == [(strategy, 1, 2)]


# keras-tuner


def test_tuner_file(tuner):
    tuner.save()
    assert json.loads(Path(keras_private.tuner_file(tuner)).read_text()) == tuner.get_state()


def test_oracle_file(tuner):
    tuner.oracle.save()
    assert json.loads(Path(keras_private.oracle_file(tuner.oracle)).read_text()) == tuner.oracle.get_state()


def test_save_trials_with(tuner, tmp_path):
    written = []
    keras_private.save_trials_with(tuner.oracle, lambda state, file: written.append((state["trial_id"], file)))
    trial = tuner.oracle.create_trial("tuner0")
    folder = tuner.get_trial_dir(trial.trial_id)
    assert written == [(trial.trial_id, os.path.join(folder, "trial.json"))]


def test_run_one_trial(tuner):
    trial = tuner.oracle.create_trial("tuner0")
    keras_private.run_one_trial(tuner, trial)
    tuner.on_trial_end(trial)
    assert trial.status == "COMPLETED"
    assert tuner.oracle.get_trial(trial.trial_id).score == trial.hyperparameters.get("x")


def test_chief_answers_within(tuner, monkeypatch):
    """A worker that nobody answers gives up after that time."""
    from keras_tuner.src.distribute.oracle_client import OracleClient

    places = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": "1", "KERASTUNER_TUNER_ID": "worker"}
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    client = OracleClient(tuner.oracle)
    with keras_private.chief_answers_within(0.1), pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
        client.get_space()


def test_serve_oracle(tuner, monkeypatch):
    """A worker gets a trial from the chief, and ends it where the trial counts."""
    from concurrent import futures

    from keras_tuner.src.distribute.oracle_client import OracleClient

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    taken = []
    servicer = keras_private.serve_oracle(server, tuner.oracle, lambda name: taken.append(name) or len(taken) > 1)
    port = server.add_insecure_port("127.0.0.1:0")
    places = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port), "KERASTUNER_TUNER_ID": "worker"}
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        client = OracleClient(tuner.oracle)
        trial = client.create_trial("worker")
        client.update_trial(trial.trial_id, {"score": 1.0})
        trial.status = "COMPLETED"
        client.end_trial(trial)
        assert tuner.oracle.end_order == []
        client.end_trial(trial)
        assert tuner.oracle.end_order == [trial.trial_id] == taken[:1]
        assert servicer.stop_triggered is False
    finally:
        server.stop(None)


# Optuna


def test_trial_of():
    study = optuna.create_study()
    study.ask()
    second = study.ask()
    keras_private.trial_of(study, second.number).set_user_attr("beat", 3)
    assert [trial.user_attrs for trial in study.get_trials()] == [{}, {"beat": 3}]
