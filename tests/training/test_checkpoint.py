"""Checkpoints: all of a model's state comes back, whoever saves it."""

import errno
from dataclasses import replace
from importlib.metadata import version

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.data.splits import Data, Split
from tfopt.errors import StorageError
from tfopt.recipe import environment
from tfopt.training.checkpoint import WEIGHTS, EpochBackup, State
from tfopt.training.fit_callbacks import Listener
from tfopt.training.fit_settings import FitSettings
from tfopt.training.trainer import fit


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


def network(*more, optimizer="adam"):
    model = keras.Sequential([layers.Input((2,)), layers.Dense(3), layers.BatchNormalization(), *more, layers.Dense(1)])
    model.compile(optimizer, "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def state(model):
    return [keras.ops.convert_to_numpy(v).tobytes() for v in (*model.variables, *model.optimizer.variables)]


@pytest.mark.parametrize(
    ("make", "member"),
    [(lambda: layers.Dropout(0.5), "model0"), (Counting, WEIGHTS), (Half, WEIGHTS)],
    ids=["variables", "own state", "bfloat16"],
)
def test_the_state_of_model_and_optimizer_comes_back(make, member, tmp_path):
    model = network(make())
    model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=2, verbose=0)
    backup = EpochBackup(tmp_path, State(), ())
    backup.set_model(model)
    backup.on_epoch_end(0, {"loss": 1.0})
    with np.load(tmp_path / "epoch-000001.npz") as stored_arrays:
        assert member in stored_arrays

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


def stored(model, folder, epochs=1):
    backup = EpochBackup(folder, State(), ())
    backup.set_model(model)
    for epoch in range(epochs):
        backup.on_epoch_end(epoch, {"loss": 1.0})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [Half]),
        ([], [Counting]),
        ([], [lambda: layers.Dense(3)]),
        ([lambda: layers.Dense(3)], [lambda: layers.Dense(3, use_bias=False)]),
        ([Half], [lambda: layers.Dense(3)]),
        ([Counting, lambda: layers.Dense(3)], [Counting, lambda: layers.Dense(4)]),
    ],
    ids=["type", "own state", "more", "fewer", "keras file", "shapes of keras file"],
)
def test_the_checkpoint_of_another_model_is_said_and_left(before, after, tmp_path):
    stored(network(*(make() for make in before)), tmp_path, epochs=3)
    other, state_of_run = network(*(make() for make in after)), State()
    fresh = state(other)
    said = []
    backup = EpochBackup(tmp_path, state_of_run, (), notify=said.append)
    backup.restore_model(other)
    assert said == [
        "the checkpoint of epoch 3 is of a model with other variables: training starts again at the first epoch."
    ]
    assert state(other) == fresh
    assert state_of_run == State()
    backup.on_train_begin()

    backup.set_model(other)
    backup.on_epoch_end(0, {"loss": 2.0})
    again, resumed = network(*(make() for make in after)), State()
    EpochBackup(tmp_path, resumed, ()).restore_model(again)
    assert state(again) == fresh
    assert resumed == State(1, False, [{"loss": 2.0}])


@pytest.mark.parametrize("make", [lambda: layers.Dropout(0.5), Half], ids=["variables", "keras file"])
def test_the_checkpoint_of_another_optimizer_is_left(make, tmp_path):
    stored(network(make()), tmp_path)
    other = network(make(), optimizer="sgd")
    fresh = state(other)
    EpochBackup(tmp_path, State(), ()).restore_model(other)
    assert state(other) == fresh


def test_a_new_checkpoint_takes_the_place_of_another_models_of_the_same_epoch(tmp_path):
    stored(network(layers.Dense(3)), tmp_path)
    model = network()
    backup = EpochBackup(tmp_path, State(), ())
    backup.restore_model(model)
    backup.set_model(model)
    backup.on_epoch_end(0, {"loss": 2.0})
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000001.npz"]


def test_training_from_the_checkpoint_of_another_model_is_training_from_the_start(tmp_path):
    x = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
    split = Split(x, x[:, :1])
    data, settings = Data(split, split, split), FitSettings(epochs=2, batch_size=4, loss="mse")

    said = []

    def trained(folder, *more, epochs=2):
        keras.utils.set_random_seed(0)
        model = network(*more)
        history = fit(model, data, replace(settings, epochs=epochs), folder, listener=Listener(note=said.append))
        return history, [weight.tobytes() for weight in model.get_weights()]

    expected = trained(tmp_path / "new")
    trained(tmp_path / "old", layers.Dense(3), epochs=1)
    assert said == []
    assert trained(tmp_path / "old") == expected
    assert len(said) == 1
    assert said[0].endswith("starts again at the first epoch.")


def cut(file):
    file.write_bytes(file.read_bytes()[:-100])


def flipped(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def emptied(file):
    file.write_bytes(b"")


def replaced(file):
    file.unlink()
    file.mkdir()
    (file / "what").write_text("is this")


def foreign(file):
    np.savez(file, model0=np.ones(3))


@pytest.mark.parametrize("damage", [cut, flipped, emptied, replaced, foreign])
@pytest.mark.parametrize("before", [False, True], ids=["alone", "beside the epoch before"])
def test_a_damaged_checkpoint_is_said_and_not_used(damage, before, tmp_path):
    stored(network(), tmp_path, epochs=2)
    if before:  # as a process leaves it that is killed before it has removed the older one
        stored(network(), tmp_path / "other")
        (tmp_path / "other" / "epoch-000001.npz").rename(tmp_path / "epoch-000001.npz")
    damage(tmp_path / "epoch-000002.npz")
    said, found = [], State()
    backup = EpochBackup(tmp_path, found, (), notify=said.append)
    assert said == ["the checkpoint epoch-000002.npz is damaged: it is not used."]
    assert found.epoch == int(before)
    model = network()
    backup.set_model(model)
    backup.on_epoch_end(1, {"loss": 1.0})
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000002.npz"]
    assert len(said) == 1


def test_a_checkpoint_of_another_training_is_said_and_not_used(tmp_path):
    stored(network(), tmp_path)
    said, found = [], State()
    EpochBackup(tmp_path, found, (), key="another", notify=said.append)
    assert said == ["the checkpoint epoch-000001.npz is of another training: it is not used."]
    assert found == State()
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000001.npz"]


def test_a_checkpoint_that_cannot_be_read_is_no_damaged_one(tmp_path, monkeypatch):
    stored(network(), tmp_path)

    def refuse(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(StorageError, match=r"epoch-000001.npz cannot be read: Input/output error. It is still there"):
        EpochBackup(tmp_path, State(), ())
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000001.npz"]


@pytest.mark.parametrize(("package", "epochs"), [("keras", 2), ("tensorflow", 2), ("tfopt", 2), ("tflite-micro", 1)])
def test_only_what_the_numbers_come_from_makes_a_training_another(package, epochs, tmp_path, monkeypatch):
    split = Split(np.ones((4, 2), np.float32), np.ones((4, 1), np.float32))
    data, begun = Data(split, split, split), []
    settings = FitSettings(epochs=1, batch_size=4, loss="mse")
    fit(network(), data, settings, tmp_path)
    monkeypatch.setattr(environment, "version", lambda name: "0" if name == package else version(name))
    counting = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: begun.append(epoch))
    fit(network(), data, replace(settings, epochs=2), tmp_path, [counting])
    assert len(begun) == epochs


def test_a_file_in_the_place_of_the_folder_is_no_hindrance(tmp_path):
    (tmp_path / "backup").write_text("what is this")
    stored(network(), tmp_path / "backup")
    assert (tmp_path / "backup" / "epoch-000001.npz").is_file()


def test_the_epoch_before_stays_until_the_new_one_was_read_back(tmp_path, monkeypatch):
    model = network()
    stored(model, tmp_path)
    before = (tmp_path / "epoch-000001.npz").read_bytes()
    monkeypatch.setattr("tfopt.training.checkpoint.sha256_of", lambda file: "other bytes")
    backup = EpochBackup(tmp_path, State(), ())
    backup.set_model(model)
    with pytest.raises(StorageError, match="reads back as other bytes: the disk is failing"):
        backup.on_epoch_end(1, {"loss": 1.0})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"epoch-000001.npz": before}


def test_a_full_disk_is_one_line_and_the_epoch_before_stays(tmp_path, monkeypatch):
    model = network(Counting())  # whose state only Keras's own file holds
    stored(model, tmp_path)
    backup = EpochBackup(tmp_path, State(), ())
    backup.set_model(model)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="cannot be written: No space left on device"):
        backup.on_epoch_end(1, {"loss": 1.0})
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000001.npz"]
