"""Steps without a detour: the results of Keras's own, traced once, and gone after the training."""

import contextlib
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfopt.data.splits import Data, Split
from tfopt.models import seeding
from tfopt.training import trainer
from tfopt.training.fit_settings import FitSettings
from tfopt.training.regularizers import Penalty
from tfopt.training.step_functions import direct_steps

SETTINGS = FitSettings(
    epochs=2, loss="sparse_categorical_crossentropy", optimizer="adam", penalties=(Penalty(l2=1e-3),), seed=5
)


class Traced(layers.Layer):
    """Counts how often it is traced in training."""

    def __init__(self):
        super().__init__()
        self.traces = 0

    def call(self, x, training=False):
        self.traces += bool(training)
        return x


def network(*more):
    with seeding.deterministic(3):
        return keras.Sequential(
            [
                layers.Input((8, 8, 1)),
                layers.Conv2D(4, 3, activation="relu", kernel_initializer=keras.initializers.GlorotUniform(seed=1)),
                layers.BatchNormalization(),
                *more,
                layers.Flatten(),
                layers.Dropout(0.4),
                layers.Dense(4, "softmax"),
            ]
        )


@pytest.fixture
def data(blobs):
    x, y = blobs
    return Data(Split(x[:150], y[:150]), Split(x[160:205], y[160:205]), Split(x[208:], y[208:]))


@pytest.fixture
def compiled():
    model = keras.Sequential([layers.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def pairs(samples=6):
    return tf.data.Dataset.from_tensor_slices((np.ones((samples, 2), np.float32), np.ones((samples, 1)))).batch(2)


@pytest.mark.parametrize("class_weight", [None, {0: 1.0, 1: 2.0, 2: 0.5, 3: 1.0}], ids=["plain", "weighted"])
@pytest.mark.sample(1)
def test_weights_and_history_are_those_of_keras_own_steps_to_the_bit(class_weight, data, tmp_path, monkeypatch):
    settings = replace(SETTINGS, class_weight=class_weight)
    start = network().get_weights()
    results = []
    for name, steps in (("direct", direct_steps), ("keras", lambda *_: contextlib.nullcontext())):
        monkeypatch.setattr(trainer, "direct_steps", steps)
        model = network()
        model.set_weights(start)
        history = trainer.fit(model, data, settings, tmp_path / name)
        results.append((history, [weights.tobytes() for weights in model.get_weights()]))
    assert results[0] == results[1]


def test_a_training_step_is_traced_once(data, tmp_path):
    counting = Traced()
    trainer.fit(network(counting), data, SETTINGS, tmp_path)
    assert counting.traces == 1


def test_afterwards_the_functions_are_keras_own_again(compiled):
    batches = pairs()
    with direct_steps(compiled, batches):
        compiled.fit(batches, verbose=0)
        assert "_make_function" in vars(compiled)
    assert "_make_function" not in vars(compiled)
    assert compiled.train_function is None
    assert np.isfinite(compiled.evaluate(batches, verbose=0)).all()


def test_an_epoch_ends_where_batches_of_unknown_number_do(compiled):
    batches = pairs().filter(lambda x, y: True)
    assert batches.cardinality() == tf.data.UNKNOWN_CARDINALITY
    start, ended = compiled.get_weights(), []
    for steps in (direct_steps(compiled, batches), contextlib.nullcontext()):
        compiled.set_weights(start)
        compiled.compile("sgd", "mse", metrics=["mae"])
        with steps:
            history = compiled.fit(batches, validation_data=batches, epochs=2, verbose=0).history
        ended.append((history, int(compiled.optimizer.iterations)))
    assert ended[0] == ended[1]
    assert len(ended[0][0]["val_loss"]) == 2


def test_a_callback_may_train_on_a_batch_of_its_own(compiled):
    batches = pairs()
    one = next(iter(batches))
    more = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: compiled.train_on_batch(*one))
    with direct_steps(compiled, batches):
        compiled.fit(batches, verbose=0, callbacks=[more])
    assert int(compiled.optimizer.iterations) == 4


@pytest.mark.parametrize(
    "given", [{"run_eagerly": True}, {"steps_per_execution": 2}], ids=["eager", "two steps in one execution"]
)
def test_other_ways_of_running_stay_as_keras_has_them(given, compiled):
    compiled.compile("sgd", "mse", **given)
    with direct_steps(compiled, pairs()):
        assert "_make_function" not in vars(compiled)


def test_a_model_whose_metrics_cannot_be_made_before_its_first_step_trains_as_ever():
    class Own(keras.Sequential):
        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            tf.debugging.assert_greater(tf.shape(x)[0], 0)
            return super().compute_metrics(x, y, y_pred, sample_weight) | {"own": tf.reduce_sum(y)}

    model = Own([layers.Input((2,)), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    batches = pairs()
    with direct_steps(model, batches):
        assert "own" in model.fit(batches, verbose=0).history
