"""Checkpoints: all of a model's state comes back, whoever saves it."""

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.training.checkpoint import VARIABLES, WEIGHTS, EpochBackup, State


class Counting(layers.Layer):
    """Has a state that is no variable, which it saves itself."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def call(self, x):
        return x

    def save_own_variables(self, store):
        store["count"] = np.asarray(self.count)

    def load_own_variables(self, store):
        self.count = int(np.asarray(store["count"]))


class Half(layers.Layer):
    """Has a variable of a type that NumPy's files do not hold."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(), dtype="bfloat16", initializer="ones", trainable=False)

    def call(self, x):
        return x * keras.ops.cast(self.scale, x.dtype)


def network(*more):
    model = keras.Sequential([layers.Input((2,)), layers.Dense(3), layers.BatchNormalization(), *more, layers.Dense(1)])
    model.compile(keras.optimizers.Adam(), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def state(model):
    return [keras.ops.convert_to_numpy(v).tobytes() for v in (*model.variables, *model.optimizer.variables)]


@pytest.mark.parametrize(
    ("make", "file"),
    [(lambda: layers.Dropout(0.5), VARIABLES), (Counting, WEIGHTS), (Half, WEIGHTS)],
    ids=["variables", "own state", "bfloat16"],
)
def test_the_state_of_model_and_optimizer_comes_back(make, file, tmp_path):
    model = network(make())
    model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=2, verbose=0)
    backup = EpochBackup(tmp_path, State(), ())
    backup.set_model(model)
    backup.on_epoch_end(0, {"loss": 1.0})
    assert (tmp_path / "epoch-000001" / file).exists()

    other = network(make())
    assert state(other) != state(model)
    restored = State()
    EpochBackup(tmp_path, restored, ()).restore_model(other)
    assert state(other) == state(model)
    assert restored == State(1, False, [{"loss": 1.0}])


def test_a_layer_that_saves_itself_gets_back_what_is_no_variable(tmp_path):
    counting, again = Counting(), Counting()
    counting.count = 7
    backup = EpochBackup(tmp_path, State(), ())
    backup.set_model(network(counting))
    backup.on_epoch_end(0)
    EpochBackup(tmp_path, State(), ()).restore_model(network(again))
    assert again.count == 7
