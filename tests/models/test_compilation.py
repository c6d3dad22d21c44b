"""Model files whose loss, metric or optimizer is not at hand."""

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.errors import InputError, ModelError
from tfopt.keras_private import compiled_settings
from tfopt.models import compilation, files, loading
from tfopt.models.model_config import ModelConfig
from tfopt.optimizers import OneCycle, ProximalSGD


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


@pytest.mark.parametrize("kind", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_an_optimizer_of_tfopt_is_restored_beside_a_metric_that_is_not_at_hand(kind, tmp_path, elsewhere):
    _, path = saved(tmp_path, kind, loss="mse", metrics=[own], optimizer=ProximalSGD(OneCycle(0.3, 9), l1=0.25))
    restored = files.load(path).optimizer
    assert type(restored) is ProximalSGD
    assert restored.l1 == 0.25
    assert type(restored.get_config()["learning_rate"]) is dict


def test_settings_of_hdf5_are_judged_by_the_names_of_their_classes():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3)])
    unlike = {"class_name": "Metric", "config": {"name": "one"}, "registered_name": "pack>Own"}
    written = {"loss": "mse", "metrics": [unlike, "mae"]}
    compilation.restore(model, ModelConfig({}, written, legacy=True), {"pack>Own": OwnMetric})
    assert compiled_settings(model)["metrics"] == ["mae"]


def three_outputs():
    x = layers.Input((4,))
    return keras.Model(x, [layers.Dense(3, name=name)(x) for name in ("one", "two", "three")])


@pytest.mark.parametrize("kind", ["keras", "h5"])
@pytest.mark.parametrize(
    ("metrics", "left"),
    [
        (["mae", own, "mse"], {"one_mae", "three_mse"}),
        ([[own], ["mae", OwnMetric()], None], {"two_mae"}),
        ({"one": own, "two": ["mae", own], "three": "mse"}, {"two_mae", "three_mse"}),
    ],
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.sample(3)
def test_metrics_stay_at_the_outputs_that_they_are_of(metrics, left, kind, tmp_path, elsewhere):
    model = three_outputs()
    model.compile("sgd", "mse", metrics=metrics)
    model.save(tmp_path / f"model.{kind}")
    read = files.load(tmp_path / f"model.{kind}")
    x, y = np.ones((2, 4)), [np.zeros((2, 3))] * 3
    logs = read.evaluate(x, y, verbose=0, return_dict=True)
    assert {name for name in logs if "loss" not in name} == left


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


def loads(monkeypatch, *errors):
    """Lets Keras fail in these ways, one after the other."""
    left = iter(errors)

    def fail(*_, **__):
        raise next(left)

    monkeypatch.setattr(keras.models, "load_model", fail)


def test_of_a_file_that_does_not_load_without_its_settings_either_both_reasons_are_kept(tmp_path, monkeypatch):
    _, path = saved(tmp_path, "keras", loss="mse")
    first, second = ValueError("no such loss"), ValueError("weights of another shape")
    loads(monkeypatch, first, second)
    with pytest.raises(ModelError, match="weights of another shape") as caught:
        files.load(path)
    assert caught.value.__cause__ is second
    assert second.__cause__ is first


@pytest.mark.parametrize("kind", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_file_without_settings_is_read_once(kind, tmp_path, monkeypatch):
    keras.Sequential([layers.Input((4,)), layers.Dense(3)]).save(tmp_path / f"model.{kind}")
    loads(monkeypatch, ValueError("broken"))
    with pytest.raises(ModelError, match="broken"):
        files.load(tmp_path / f"model.{kind}")
