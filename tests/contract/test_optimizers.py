"""What every optimizer that a recipe can name keeps to, Keras's and tfopt's alike."""

import json

import keras
import numpy as np
import pytest

from tfopt.callbacks import ClosureStep
from tfopt.errors import InputError, ModelError
from tfopt.optimizers import OPTIMIZERS, build_optimizer
from tfopt.optimizers.closure import ByClosure

# The optimizer as a recipe has it; for the quadratic and for Rosenbrock: the learning rate and the steps.
CASES = {
    "gradient_descent": ({"gradient_descent": {}}, (0.15, 300), (1.5e-3, 20_000)),
    "stochastic_gradient_descent": ({"stochastic_gradient_descent": {}}, (0.15, 300), (1.5e-3, 20_000)),
    "mini_batch_gradient_descent": ({"mini_batch_gradient_descent": {}}, (0.15, 300), (1.5e-3, 20_000)),
    "momentum": ({"momentum": {}}, (0.05, 300), (5e-4, 8_000)),
    "nesterov": ({"nesterov": {}}, (0.05, 300), (5e-4, 8_000)),
    "adam": ({"adam": {}}, (0.05, 600), (0.01, 8_000)),
    "proximal_sgd": ({"proximal_sgd": {"momentum": 0.9}}, (0.05, 300), (5e-4, 8_000)),
    "proximal_adam": ({"proximal_adam": {}}, (0.05, 600), (0.01, 8_000)),
    "sam": ({"sam": {"rho": 1e-4, "optimizer": {"momentum": {}}}}, (0.05, 300), (5e-4, 8_000)),
    "adahessian": ({"adahessian": {}}, (0.1, 600), (0.3, 20_000)),
    "newton_cg": ({"newton_cg": {"damping": 0.0}}, (1.0, 3), (1.0, 100)),
}
OWN = [name for name, entry in OPTIMIZERS.items() if entry.make.__module__.startswith("tfopt.")]
CLOSED = [name for name in OWN if issubclass(OPTIMIZERS[name].make, ByClosure)]
# Without names for one and the same thing, and those that tfopt has to answer for, beside one of Keras's.
DIFFERENT = [name for name in CASES if name not in ("stochastic_gradient_descent", "mini_batch_gradient_descent")]
OF_ITS_OWN = [*OWN, "adam"]


def by_default(names, *kept):
    """The names as parameters of a test, which is slow for all but some: those stand for the others' rule."""
    return [pytest.param(name, marks=() if name in kept else pytest.mark.slow) for name in names]


def with_rate(spec, rate):
    [(name, arguments)] = spec.items()
    if name == "sam":
        return {name: {**arguments, "optimizer": with_rate(arguments["optimizer"], rate)}}
    return {name: {**arguments, "learning_rate": rate}}


def made(name, rate=None, **arguments):
    spec = CASES[name][0]
    spec = spec if rate is None else with_rate(spec, rate)
    if arguments and name == "sam":
        inner = spec["sam"]["optimizer"]["momentum"]
        spec = {"sam": {**spec["sam"], "optimizer": {"momentum": {**inner, **arguments}}}}
    elif arguments:
        spec = {name: {**spec[name], **arguments}}
    return build_optimizer(spec, 100)


class Point(keras.layers.Layer):
    """A place in the plane, whatever the input."""

    def __init__(self, start):
        super().__init__()
        self.kernel = self.add_weight(shape=(2,), initializer=keras.initializers.Constant(start), name="kernel")

    def call(self, inputs):
        return inputs * 0 + self.kernel


def quadratic(_, place):
    """Ten times as steep along the one axis as along the other; smallest, 0, at (1, -2)."""
    return 0.5 * (place[:, 0] - 1) ** 2 + 5.0 * (place[:, 1] + 2) ** 2


def rosenbrock(_, place):
    """Rosenbrock, An automatic method for finding the greatest or least value of a function (1960): 0 at (1, 1)."""
    return (1 - place[:, 0]) ** 2 + 100 * (place[:, 1] - place[:, 0] ** 2) ** 2


def descend(optimizer, function, start, steps):
    point = Point(start)
    model = keras.Sequential([keras.layers.Input((2,)), point])
    model.compile(optimizer, function, steps_per_execution=min(steps, 100))
    zeros = np.zeros((steps, 2), np.float32)
    model.fit(zeros, zeros, batch_size=1, verbose=0, callbacks=[ClosureStep()])
    return point.kernel.numpy()


def net():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, name="conv"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(4, name="head"),
        ]
    )


LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def train(model, optimizer, blobs, epochs=2, batch_size=32, **options):
    if optimizer is not None:
        model.compile(optimizer, LOSS, **options)
    x, y = blobs
    callbacks = [ClosureStep()]
    return model.fit(x, y, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks).history


def weights(model):
    return np.concatenate([variable.numpy().ravel() for variable in model.variables if variable.dtype == "float32"])


def test_the_cases_are_all_there_are():
    assert set(CASES) == {*OPTIMIZERS, "adam"}
    assert set(CLOSED) == {"sam", "adahessian", "newton_cg"}


@pytest.mark.parametrize("name", by_default(CASES, "proximal_adam", "sam", "adahessian"))
def test_it_finds_the_bottom_of_a_quadratic(name):
    rate, steps = CASES[name][1]
    found = descend(made(name, rate), quadratic, (4.0, 3.0), steps)
    np.testing.assert_allclose(found, (1, -2), atol=2e-3)


@pytest.mark.parametrize("name", by_default(DIFFERENT, "newton_cg"))
def test_it_goes_down_the_valley_of_rosenbrock(name):
    rate, steps = CASES[name][2]
    found = descend(made(name, rate), rosenbrock, (-1.2, 1.0), steps)
    np.testing.assert_allclose(found, (1, 1), atol=0.06)


@pytest.mark.parametrize("name", CASES)
def test_its_config_is_plain_and_makes_it_again(name):
    own = made(name, 0.01)
    config = json.loads(json.dumps(own.get_config()))
    again = type(own).from_config(config)
    assert json.loads(json.dumps(again.get_config())) == json.loads(json.dumps(own.get_config()))
    assert float(again.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize("name", by_default(DIFFERENT, "proximal_adam"))
def test_a_training_that_is_saved_and_goes_on_ends_where_an_uninterrupted_one_does(name, blobs, tmp_path):
    whole, first = bare(), bare()
    train(whole, made(name), blobs)
    train(first, made(name), blobs, epochs=1)
    first.save(tmp_path / "model.keras")
    second = keras.saving.load_model(tmp_path / "model.keras")
    train(second, None, blobs, epochs=1)
    np.testing.assert_allclose(weights(second), weights(whole), rtol=1e-5, atol=1e-6)
    assert int(second.optimizer.iterations) == int(whole.optimizer.iterations) == 16


@pytest.mark.parametrize("policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", DIFFERENT)
@pytest.mark.sample(1)
def test_it_trains_in_mixed_precision(name, policy, blobs):
    keras.config.set_dtype_policy(policy)
    try:
        model = net()
    finally:
        keras.config.set_dtype_policy("float32")
    optimizer = made(name, None if name == "newton_cg" else 0.01)
    if name == "newton_cg":
        with pytest.raises(ModelError, match="float32"):
            train(model, optimizer, blobs)
        return
    losses = train(model, optimizer, blobs, epochs=4)["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_ITS_OWN)
def test_xla_changes_nothing_but_the_rounding(name, blobs):
    plain, compiled, few = bare(), bare(), (blobs[0][:64], blobs[1][:64])
    train(plain, made(name), few, epochs=1, jit_compile=False)
    train(compiled, made(name), few, epochs=1, jit_compile=True)
    np.testing.assert_allclose(weights(compiled), weights(plain), rtol=0, atol=1e-4)
    assert not np.allclose(weights(plain), weights(bare()), atol=1e-3)


@pytest.mark.parametrize("name", by_default(DIFFERENT, "proximal_sgd"))
def test_accumulated_gradients_are_one_step_of_all_their_batches(name, blobs):
    x, y = blobs
    few = x[:64], y[:64]
    if name == "newton_cg":
        with pytest.raises(InputError, match="batch_size"):
            made(name, gradient_accumulation_steps=4)
        return
    model, whole = bare(), bare()
    train(model, made(name, gradient_accumulation_steps=4), few, epochs=1, batch_size=16)
    train(whole, made(name), few, epochs=1, batch_size=64)
    if name != "adahessian":  # whose estimate of the curvature is a batch's own; see its tests
        np.testing.assert_allclose(weights(model), weights(whole), rtol=0, atol=1e-4 if name == "sam" else 1e-6)
    assert not np.array_equal(weights(model), weights(bare()))
    three = bare()
    train(three, made(name, gradient_accumulation_steps=4), (few[0][:48], few[1][:48]), epochs=1, batch_size=16)
    np.testing.assert_array_equal(weights(three), weights(bare()))


def bare():
    """A net whose loss is the mean over samples, without the statistics of a batch."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])


MIRRORED = """
import json
import numpy as np, tensorflow as tf, keras
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfopt.callbacks import ClosureStep
from tfopt.errors import ModelError
from tfopt.optimizers import build_optimizer
x = np.random.default_rng(0).normal(size=(128, 16)).astype("float32")
y = (x @ np.random.default_rng(1).normal(size=(16, 4))).argmax(1)
def trained(spec, strategy, policy="float32"):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    with strategy.scope():
        hidden, head = keras.layers.Dense(24, activation="tanh"), keras.layers.Dense(4)
        model = keras.Sequential([keras.layers.Input((16,)), hidden, head])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(build_optimizer(spec, 10), loss, jit_compile=False)
    history = model.fit(x, y, batch_size=32, epochs=2, shuffle=False, verbose=0, callbacks=[ClosureStep()]).history
    kernel = hidden.kernel.value
    replicas = strategy.experimental_local_results(kernel)
    assert all(np.array_equal(replicas[0].numpy(), r.numpy()) for r in replicas)
    return [replicas[0].numpy(), np.array(history["loss"])]
for name, spec in json.loads(SPECS).items():
    try:
        two = trained(spec, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    except ModelError as error:
        print(name, "refused", error)
        continue
    one = trained(spec, tf.distribute.get_strategy())
    half = trained(spec, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), "mixed_float16")
    learns = np.isfinite(half[0]).all() and half[1][1] < half[1][0]
    print(name, max(np.abs(a - b).max() for a, b in zip(one, two)), learns)
"""


@pytest.mark.slow
def test_two_logical_devices_of_a_mirrored_strategy_take_the_steps_of_one(python):
    specs = {name: CASES[name][0] for name in OF_ITS_OWN}
    said = {}
    for line in python(f"SPECS = {json.dumps(json.dumps(specs))}\n{MIRRORED}").splitlines():
        name, *rest = line.split()
        if name in specs:
            said[name] = rest
    assert set(said) == set(specs)
    assert said.pop("newton_cg")[:2] == ["refused", "NewtonCG"]
    for name, (difference, halves) in said.items():
        # A weight without curvature has a large step in AdaHessian, and so has what rounding makes of it.
        assert float(difference) < (1e-3 if name == "adahessian" else 1e-5), name
        assert halves == "True", name


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.sample(1)
def test_without_the_closure_it_says_what_it_needs(name, blobs):
    model = net()
    model.compile(made(name), LOSS)
    with pytest.raises(InputError, match=r"ClosureStep\(\)"):
        model.fit(*blobs, verbose=0)
