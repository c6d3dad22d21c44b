"""Models as bytes: the same for the same model, and never through the disk."""

import io
import os
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.models.files import save
from tfopt.models.serialization import keras_file, load_weights, weights_file


def network():
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.Input((3,), name="i"), layers.Dense(2, name="d", kernel_initializer="ones")], name="n"
    )
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_the_same_model_gives_the_same_bytes_at_any_time_and_keras_reads_them(tmp_path, monkeypatch):
    save(network(), tmp_path / "one.keras")
    monkeypatch.setattr("time.time", lambda: 2e9)
    save(network(), tmp_path / "two.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.keras") as archive:
        assert {member.date_time[0] for member in archive.infolist()} == {1980}
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "two.keras").get_weights()[0], np.ones((3, 2)))


def test_hdf5_is_given_no_file_on_the_disk(monkeypatch):
    import h5py

    opened, real = [], h5py.File.__init__

    def init(self, name, *arguments, **settings):
        opened.append(name)
        real(self, name, *arguments, **settings)

    monkeypatch.setattr(h5py.File, "__init__", init)
    keras_file(network())
    weights_file(network())
    assert opened
    assert all(isinstance(name, io.BytesIO) for name in opened)


def test_weights_come_back_with_those_of_the_optimizer():
    model, other = network(), network()
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    load_weights(other, weights_file(model))
    for one, two in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_file_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    save(network(), tmp_path / "m.keras")
    before = (tmp_path / "m.keras").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(network(), tmp_path / "m.keras")
    assert (tmp_path / "m.keras").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


def test_models_that_are_built_alike_have_the_same_bytes(tmp_path):
    one, other = network(), network()  # both are alive: what their configs share has other addresses
    assert keras_file(one) == keras_file(other)
    file = tmp_path / "model.keras"
    file.write_bytes(keras_file(one))
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(keras.models.load_model(file)(x), one(x))
