"""Batches changed on their way to training: new at each step, the same at each run."""

import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt.data import sources
from tfopt.data.splits import Data, Reading, Split
from tfopt.errors import DataError
from tfopt.user_code import Ref


def noisy(x, y, seed):
    return x + tf.random.stateless_uniform(tf.shape(x), seed), y


def data_of(augment=noisy):
    split = Split(np.zeros((10, 3), np.float32), np.arange(10, dtype=np.int32))
    return Data(split, split, split, augment)


def batches(first=0, epochs=2, seed=0, augment=noisy):
    found = data_of().train.training(Reading(4, seed, first, epochs, augment))
    return [(x.numpy(), y.numpy()) for x, y in found]


def test_every_step_has_its_own_noise_and_a_run_repeats_it():
    first, second = batches(), batches()
    for (a, ya), (b, yb) in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(ya, yb)
    assert len({x.tobytes() for x, _ in first}) == len(first) == 6
    assert batches(seed=1)[0][0].tobytes() not in {x.tobytes() for x, _ in first}


def test_a_training_that_goes_on_sees_what_it_would_have_seen():
    for (a, _), (b, _) in zip(batches()[3:], batches(first=1), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_it_the_batches_are_the_samples():
    assert all((x == 0).all() for x, _ in batches(augment=None))


@pytest.mark.parametrize("with_validation", [True, False])
def test_a_data_function_hands_it_over_in_its_dict(with_validation):
    x, y = np.zeros((20, 3)), np.zeros(20)
    value = {"x_train": x, "y_train": y, "x_test": x, "y_test": y, "augment": noisy}
    value |= {"x_validation": x, "y_validation": y} if with_validation else {}
    data = sources.as_data(value)
    assert data.augment is noisy
    assert data.fitted({"x": (3,)}).augment is noisy


def test_what_is_no_function_is_refused():
    x, y = np.zeros((4, 3)), np.zeros(4)
    with pytest.raises(DataError, match="augment is a function of x, y and a seed"):
        sources.as_data({"x_train": x, "y_train": y, "x_test": x, "y_test": y, "augment": "flip"})


def test_the_fingerprint_changes_with_its_code():
    def other(x, y, seed):
        return x + 1, y

    found = [sources.fingerprint(None, lambda a=a: data_of(a)) for a in (None, noisy, other)]
    assert len(set(found)) == 3
    assert sources.fingerprint(None, lambda: data_of(noisy)) == found[1]


def test_a_recipe_trains_on_the_changed_batches_alone(tmp_path):
    def model():
        import keras

        inputs = keras.layers.Input((3,))
        made = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))
        made.compile(loss="mse", run_eagerly=True)
        return made

    def ones(x, y, seed):
        return tf.ones_like(x), y

    recipe = tfopt.Recipe(
        name="noise", model=model, data=data_of(ones), metrics=["mse"], stages=[tfopt.Train(epochs=3)]
    )
    moved = tfopt.run(recipe, out=tmp_path)
    kernels = [moved.artifacts[name].path for name in ("source", "train")]
    import keras

    before, after = (keras.models.load_model(path).get_weights()[0] for path in kernels)
    assert not np.array_equal(before, after), "all of its own samples are zero, which moves no kernel"


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (lambda x, y: (x, y), "augment(x, y, seed) fails on a batch: TypeError"),
        (lambda x, y, seed: (x + tf.zeros((7, 7)), y), "augment(x, y, seed) fails on a batch"),
        (lambda x, y, seed: x, "augment gives back (x, y)"),
        (lambda x, y, seed: (x[:, :2], y), "x went in as (2, 3) and came out as (2, 2)"),
        (lambda x, y, seed: (x, tf.one_hot(y, 4)), "y went in as (2,) and came out as (2, 4)"),
    ],
)
def test_one_that_no_training_survives_is_refused_in_a_line(augment, words):
    with pytest.raises(DataError) as caught:
        data_of(augment).check_augment()
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_recipe_with_one_that_fails_is_refused_before_it_runs(tmp_path):
    (tmp_path / "d.py").write_text(
        "import keras, numpy as np\n"
        "def model():\n    return keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])\n"
        "def data():\n    x, y = np.zeros((20, 3), 'float32'), np.zeros((20, 1), 'float32')\n"
        "    return {'x_train': x, 'y_train': y, 'x_test': x, 'y_test': y, 'augment': lambda x, y: (x, y)}\n"
    )
    path = tmp_path / "r.yaml"
    path.write_text("name: a\nmodel: d.py:model\ndata: d.py:data\nloss: mse\nstages:\n  - train: {epochs: 1}\n")
    with pytest.raises(tfopt.InputError, match=r"r\.yaml:3: .*augment"):
        tfopt.validate(path)


HELPED = """
import numpy as np

def shift(x):
    return x + {by}

def data():
    def augment(x, y, seed):
        return shift(x), y
    x, y = np.zeros((20, 3)), np.zeros(20)
    return {{"x_train": x, "y_train": y, "x_test": x, "y_test": y, "augment": augment}}
"""


def test_the_fingerprint_changes_with_what_it_calls(tmp_path):
    found = []
    for by in (1, 2):
        (tmp_path / f"{by}").mkdir()
        file = tmp_path / f"{by}" / "helped.py"
        file.write_text(HELPED.format(by=by))
        ref = Ref.parse(f"{file}:data", tmp_path)
        found.append(sources.fingerprint(ref, lambda ref=ref: sources.as_data(ref.call())))
    assert found[0] != found[1]
