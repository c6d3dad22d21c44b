"""Model files whose loss, metric or optimizer is not at hand."""

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.errors import InputError
from tfopt.keras_private import compiled_settings
from tfopt.models import files, loading


class Own(keras.losses.Loss):
    def call(self, y, outputs):
        return keras.ops.mean(keras.ops.abs(y - outputs))


class OwnMetric(keras.metrics.MeanSquaredError):
    pass


class OwnOptimizer(keras.optimizers.SGD):
    pass


def own(y, outputs):
    return keras.ops.mean(keras.ops.abs(y - outputs))


def registered():
    """A registered loss, of which the registry knows nothing by the time the file is read."""
    made = keras.saving.register_keras_serializable("elsewhere")(type("Gone", (Own,), {}))()
    yield made
    del keras.saving.get_custom_objects()["elsewhere>Gone"]


SETTINGS = {
    "a function": {"loss": own},
    "a class": {"loss": Own()},
    "a metric": {"loss": "mse", "metrics": ["mae", own]},
    "a class of a metric": {"loss": "mse", "metrics": ["mae", OwnMetric()]},
    "an optimizer": {"loss": "mse", "optimizer": OwnOptimizer(0.3), "metrics": ["mae"]},
    "a loss of two": {"loss": [own]},
}


def saved(folder, kind, **settings):
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3)])
    model.compile(**{"optimizer": keras.optimizers.SGD(0.3), **settings})
    model.optimizer.build(model.trainable_variables)
    model.save(folder / f"model.{kind}")
    return model, folder / f"model.{kind}"


@pytest.fixture
def elsewhere(monkeypatch):
    """Lets Keras look for code as in a process that never imported this module."""
    from keras.src.saving import serialization_lib

    find = serialization_lib._retrieve_class_or_fn

    def found(name, registered_name, module, *rest, **more):
        if module == __name__:
            raise TypeError(f"Could not locate {name}")
        return find(name, registered_name, module, *rest, **more)

    monkeypatch.setattr(serialization_lib, "_retrieve_class_or_fn", found)


@pytest.mark.parametrize("kind", ["keras", "h5"])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_model_is_read_without_code_that_is_not_at_hand(settings, kind, tmp_path, elsewhere):
    model, path = saved(tmp_path, kind, **SETTINGS[settings])
    read = files.load(path)
    for one, other in zip(model.get_weights(), read.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    left = compiled_settings(read)
    assert bool(left) == (SETTINGS[settings]["loss"] == "mse")
    assert left.get("loss") == ("mse" if left else None)
    assert left.get("metrics") == (["mae"] if left else None)
    tfopt.inspect(path)


def test_a_registered_loss_is_no_other(tmp_path):
    steps = registered()
    _, path = saved(tmp_path, "keras", loss=next(steps))
    assert isinstance(files.load(path).loss, Own)
    next(steps, None)
    assert not files.load(path).compiled


@pytest.mark.parametrize("kind", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_what_can_be_restored_is(kind, tmp_path):
    _, path = saved(tmp_path, kind, loss="mse", metrics=["accuracy", "mae"])
    read = compiled_settings(files.load(path))
    assert read["loss"] == "mse"
    assert read["metrics"] == ["accuracy", "mae"]
    assert read["optimizer"].get_config()["learning_rate"] == pytest.approx(0.3)


def test_code_that_is_handed_over_is_used(tmp_path, elsewhere):
    _, path = saved(tmp_path, "keras", loss=own, metrics=[OwnMetric()])
    assert files.load(path, {"own": own, "OwnMetric": OwnMetric}).loss is own
    assert files.load(path, {"own": own}).loss is own


def test_the_code_of_a_model_object_comes_with_it():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3)])
    model.compile(OwnOptimizer(0.1), own, metrics=["mse", [OwnMetric()]])
    assert loading.custom_objects(model, model) == {"own": own, "OwnMetric": OwnMetric, "OwnOptimizer": OwnOptimizer}


def recipe(path, **settings):
    x, y = np.zeros((40, 4), np.float32), np.zeros((40, 3), np.float32)
    x[:] = np.linspace(0, 1, 160).reshape(40, 4)
    stages = [tfopt.Prune(sparsity=0.5, epochs=1)]
    return tfopt.Recipe(name="own", model=str(path), data=((x, y), (x, y)), stages=stages, **settings)


def test_a_recipe_brings_the_loss_that_the_file_lacks(tmp_path, elsewhere, one_line):
    _, path = saved(tmp_path, "keras", loss=own)
    with pytest.raises(InputError) as caught:
        tfopt.run(recipe(path), out=tmp_path / "without")
    assert "no loss to train with. Write `loss:`" in one_line(caught)
    result = tfopt.run(recipe(path, loss="mse", metrics=["mse"]), out=tmp_path / "with")
    assert result.artifacts["prune"].metrics["sparsity"] == pytest.approx(0.5, abs=0.1)
