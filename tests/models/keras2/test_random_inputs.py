"""Random inputs of Keras 2 models whose sizes are open."""

import numpy as np
import pytest
import tf_keras

import tfopt
from tfopt.errors import ModelError
from tfopt.models import loading
from tfopt.models.keras2 import migration
from tfopt.models.keras2.migration import OutputCheck
from tfopt.models.keras2.random_inputs import SCALES, random_inputs


def cropped(steps, **options):
    inputs = tf_keras.layers.Input((None, 4), name="signal", **options)
    hidden = tf_keras.layers.Conv1D(2, 3, padding="same")(inputs)
    return tf_keras.Model(inputs, tf_keras.layers.Conv1D(3, 1)(tf_keras.layers.Cropping1D(steps)(hidden)))


def shapes(inputs):
    return [tuple(one.shape) for one in inputs]


@pytest.mark.parametrize(
    ("steps", "shape"), [(2, (4, 16, 4)), (100, (4, 224, 4)), (200, (1, 1024, 4)), (5000, (1, 16384, 4))]
)
def test_inputs_are_as_long_as_the_model_needs(steps, shape):
    assert shapes(random_inputs(cropped(steps))) == [shape] * len(SCALES)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"signal": x}])
def test_samples_show_how_long_they_are(wrap):
    x = np.zeros((8, 450, 4), np.float32)
    assert shapes(random_inputs(cropped(200), lambda model: wrap(x))) == [(4, 450, 4)] * len(SCALES)


def test_samples_are_not_asked_for_where_no_size_is_open():
    model = tf_keras.Sequential([tf_keras.layers.Input((4,)), tf_keras.layers.Dense(2)])
    assert shapes(random_inputs(model, lambda model: 1 / 0)) == [(4, 4)] * len(SCALES)


def test_images_do_not_grow_without_end(one_line):
    inputs = tf_keras.layers.Input((None, None, 3))
    model = tf_keras.Model(inputs, tf_keras.layers.Cropping2D(600)(inputs))
    with pytest.raises(ModelError) as caught:
        random_inputs(model)
    assert "does not run on random inputs of up to" in one_line(caught)
    assert "Give samples" in one_line(caught)


def test_a_long_model_is_read_with_and_without_samples(tmp_path):
    path = tmp_path / "long.h5"
    cropped(200).save(path)
    long, short = (np.random.default_rng(0).random((4, n, 4), np.float32) for n in (450, 300))
    assert loading.load_any(path).carried.max_error < 1e-3
    assert tfopt.convert(path, "float32")
    assert tfopt.convert(path, "int8", long)
    with pytest.raises(ModelError, match="does not run in Keras 2: ValueError: cropping parameter"):
        tfopt.convert(path, "float32", short)


def test_a_model_is_inspected_without_being_run(tmp_path, monkeypatch):
    path = tmp_path / "long.h5"
    model = cropped(10**6)
    model.save(path)
    monkeypatch.setattr(migration, "random_inputs", None)
    for source in (path, model):
        assert tfopt.inspect(source).parameters == model.count_params()
    assert np.isnan(migration.migrate(model, comparison=OutputCheck(wanted=False)).max_error)


def test_a_recipe_shows_the_model_how_long_its_samples_are(tmp_path, monkeypatch):
    seen = []
    asked = migration.random_inputs
    monkeypatch.setattr(migration, "random_inputs", lambda *given: seen.append(asked(*given)) or seen[-1])
    cropped(200).save(tmp_path / "long.h5")
    x, y = np.random.default_rng(0).random((40, 450, 4), np.float32), np.zeros((40, 50, 3), np.float32)
    recipe = tfopt.Recipe(
        name="long",
        model=str(tmp_path / "long.h5"),
        data=((x, y), (x, y)),
        loss="mse",
        metrics=["mse"],
        stages=[tfopt.Quantize(mode="dynamic")],
    )
    assert tfopt.run(recipe, out=tmp_path).artifacts["quantize"].path.stat().st_size
    assert shapes(seen[0]) == [(4, 450, 4)] * len(SCALES)
