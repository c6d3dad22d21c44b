"""Quantization-aware training: its gradients, its ranges, what it leaves of a model, where it can run."""

import itertools
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tests.quantization.aware.aware_nets import LOSS, NETS, compiled, folded
from tfopt.callbacks import QuantizationAware
from tfopt.data.splits import Data, Split
from tfopt.errors import InputError, ModelError
from tfopt.quantization import quantize_aware
from tfopt.quantization.aware import fake_quant
from tfopt.quantization.aware.grids import Grid, KernelGrid
from tfopt.recipe.modes import TRAINED_RANGES
from tfopt.training import trainer


def gradients(model, x, y):
    @tf.function
    def of(x, y):
        with tf.GradientTape() as tape:
            loss = LOSS(y, model(x, training=True))
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    return [tf.convert_to_tensor(g).numpy() for g in of(x, y)]


# Arithmetic


def test_activations_are_on_the_grid_of_the_specification():
    """real = scale * (q - zero_point), as the TFLite 8-bit specification has it."""
    x = np.random.default_rng(0).normal(0.4, 1, 1000).astype(np.float32)
    low, high = -1.3, 2.1
    scale = (high - low) / 255
    zero = round(-128 - low / scale)
    expected = (np.clip(np.round(x / scale) + zero, -128, 127) - zero) * scale
    for compute in (fake_quant.activation, fake_quant.learned_activation):
        got = compute(tf.constant(x), tf.constant(low), tf.constant(high), 8).numpy()
        assert np.abs(got - expected).max() < scale * 1.01  # ties go either way
        assert np.mean(np.abs(got - expected) > 1e-5) < 0.005
    wide = fake_quant.activation(tf.constant(x), tf.constant(low), tf.constant(high), 16).numpy()
    np.testing.assert_allclose(wide, np.clip(x, -2.1, 2.1), atol=2.1 / 32767)


@pytest.mark.parametrize("bits", [4, 8])
def test_kernels_are_symmetric_and_zero_stays_zero(bits):
    weights = np.random.default_rng(0).normal(size=(3, 3, 2, 5)).astype(np.float32)
    weights[np.abs(weights) < 0.5] = 0
    got = fake_quant.kernel(tf.constant(weights), (3,), bits).numpy()
    reach = np.abs(weights).max((0, 1, 2))
    codes = got / (reach / (2 ** (bits - 1) - 1))
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-4)
    assert np.abs(codes).max() <= 2 ** (bits - 1) - 1 + 1e-4
    assert (got[weights == 0] == 0).all()
    np.testing.assert_allclose(np.abs(got).max((0, 1, 2)), reach, rtol=1e-6)


def test_the_gradient_of_a_step_is_that_of_the_paper():
    """Esser et al., arXiv:1902.08153, equation 3: round(v/s) - v/s inside, the end of the grid outside."""
    weights, step = np.array([0.2, 0.26, -0.9, 5.0, -5.0], np.float32), tf.constant(0.1)
    expected = np.array([np.round(w / 0.1) - w / 0.1 for w in weights[:2]] + [-8, 7, -8], np.float32)
    expected[2] = -8  # -9 lies outside of -8 ... 7
    for index, value in enumerate(weights):
        with tf.GradientTape() as tape:
            tape.watch(step)
            out = fake_quant.learned_kernel(tf.constant([value]), step, 4)
        assert tape.gradient(out, step).numpy() == pytest.approx(expected[index], abs=1e-3)


def test_values_outside_of_a_range_have_no_gradient_and_the_ends_have_theirs():
    x, low, high = tf.constant([-3.0, 0.5, 3.0]), tf.constant(-1.0), tf.constant(1.0)
    with tf.GradientTape() as tape:
        tape.watch([x, low, high])
        out = fake_quant.learned_activation(x, low, high, 8)
    of_x, of_low, of_high = tape.gradient(out, [x, low, high])
    np.testing.assert_allclose(of_x, [0, 1, 0], atol=1e-5)
    assert of_low.numpy() == pytest.approx(1, abs=0.02)
    assert of_high.numpy() == pytest.approx(1, abs=0.02)


# Gradients through a whole model


@pytest.mark.parametrize("name", ["attention", "lstm", "own_layer", "conv_bn"])
@pytest.mark.sample(1)
def test_without_rounding_the_gradients_are_the_models_own(name, blobs, monkeypatch):
    """Values inside of layers are reached in a way of its own; the chain rule has to survive it."""
    x, y = blobs[0][:32], blobs[1][:32]
    model = compiled(name)
    own = gradients(model, x, y)
    monkeypatch.setattr(fake_quant, "activation", lambda x, *rest: tf.identity(x))
    monkeypatch.setattr(fake_quant, "kernel", lambda weights, *rest: tf.identity(weights))
    monkeypatch.setattr(fake_quant, "table", lambda weights, *rest: tf.identity(weights))
    aware = quantize_aware(model, "int8", x)
    simulated = gradients(model, x, y)
    aware.strip()
    for one, other in zip(own, simulated, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert not aware.skipped


# Ranges


def test_a_moving_average_is_one():
    observer = TRAINED_RANGES["moving_average"].observer([Grid("a", 8)], [], 0.9, 0.1)
    observer.low.assign([-1.0])
    observer.high.assign([2.0])
    observer.follow({0: [(tf.constant(-3.0), tf.constant(1.0)), (tf.constant(-2.0), tf.constant(4.0))]})
    assert observer.ranges()["a"] == (pytest.approx(-1.2), pytest.approx(2.2))


def test_a_percentile_leaves_the_sample_out_that_stands_out():
    values = np.random.default_rng(0).uniform(-1, 1, (32, 50)).astype(np.float32)
    values[7, 3] = 100
    observer = TRAINED_RANGES["percentile"].observer([Grid("a", 8)], [], 0.9, 0.1)
    low, high = (end.numpy() for end in observer.extremes(tf.constant(values)))
    assert high == np.sort(values.max(1))[-2] < 1
    assert low == np.sort(values.min(1))[1]


def test_learned_ranges_find_the_step_that_loses_least():
    """Of normal weights in 4 bits the mean squared error is least well inside of the largest weight."""
    weights = tf.constant(np.random.default_rng(0).normal(size=(2000, 1)).astype(np.float32))
    grid = KernelGrid(1, "kernel", 4, ())
    observer = TRAINED_RANGES["learned"].observer([], [(grid, weights)], 0.9, 0.01)
    steps = observer._steps
    steps.start(np.array([float(tf.reduce_max(tf.abs(weights))) / 7]))

    @tf.function
    def train():
        with tf.GradientTape() as tape:
            _, _, found = observer.pieces()
            loss = tf.reduce_mean((observer.kernel(grid, weights, found[1, "kernel"]) - weights) ** 2)
        tape.gradient(loss, steps.value)
        return loss

    @tf.function
    def error(step):
        return tf.reduce_mean((fake_quant.learned_kernel(weights, step, 4) - weights) ** 2)

    first = float(train())
    for _ in range(300):
        last = float(train())
    every = [float(error(step)) for step in tf.linspace(0.1, 0.6, 200)]
    assert last < 0.7 * first
    assert last < 1.05 * min(every)


@pytest.mark.parametrize("ranges", ["moving_average", "percentile", "learned"])
@pytest.mark.sample(1)
def test_ranges_follow_and_stay_once_they_are_frozen(ranges, blobs):
    x, y = blobs
    model = compiled(folded())
    aware = QuantizationAware(x[:32], ranges=ranges, freeze_last=0.5, momentum=0.8)
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
            seen.append((aware.aware.observer.low.numpy(), aware.aware.observer.high.numpy(), norm.moving_mean.numpy()))

    model.fit(x, y, epochs=4, batch_size=64, verbose=0, callbacks=[aware, Look()])
    ends = [np.concatenate(entry[:2]) for entry in seen]
    moved = [not np.array_equal(*pair) for pair in itertools.pairwise(ends)]
    assert moved == [True, False, False]
    assert not np.array_equal(seen[0][2], seen[1][2])
    assert np.array_equal(seen[1][2], seen[3][2])


def test_a_second_fit_thaws_what_the_first_one_froze(blobs):
    x, y = blobs
    model = compiled(keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]))
    aware = QuantizationAware(x[:32], freeze_last=0.5, momentum=0.8)
    fit = {"batch_size": 64, "verbose": 0, "callbacks": [aware]}
    model.fit(x, y, initial_epoch=1, epochs=2, **fit)  # the last epoch alone, which is a frozen one
    before = aware.get_state()
    model.fit(x, y, epochs=1, **fit)
    assert any((before[name] != value).any() for name, value in aware.get_state().items())


def test_a_model_of_one_value_is_compared_too(blobs):
    x, _ = blobs
    model = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    aware = quantize_aware(model, "int8", x[:32])
    likeness = aware.likeness(aware.convert().content, x)
    assert likeness.steps <= 1.01
    assert likeness.agreement == 1


# What is left of the model


@pytest.mark.slow
def test_what_is_saved_in_the_middle_is_an_ordinary_model(blobs, tmp_path, python):
    x, y = blobs
    model = compiled("lstm")
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "middle.keras")
    aware = QuantizationAware(x[:32])
    model.fit(x, y, epochs=1, batch_size=64, verbose=0, callbacks=[aware, checkpoint])
    calls = [layer for layer in model._flatten_layers() if "call" in vars(layer)]
    assert calls == []
    assert all(variable.constraint is None for variable in model.trainable_variables)
    out = python(
        f"import sys\nimport keras\nm = keras.models.load_model({str(tmp_path / 'middle.keras')!r})\n"
        "print(m.get_layer([l.name for l in m.layers if 'lstm' in l.name][0]).unroll, 'tfopt' in sys.modules)"
    )
    assert out.splitlines()[-1] == "False False"


def test_after_strip_the_model_computes_as_before(blobs):
    x, _ = blobs
    model = NETS["conv_bn"]()
    before = model.predict(x, verbose=0)
    aware = quantize_aware(model, "int8", x[:32])
    during = model.predict(x, verbose=0)
    assert np.abs(during - np.asarray(model(x))).max() < 1e-5
    aware.strip()
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    assert 0 < np.abs(during - before).max() < 0.3


def test_an_interrupted_training_goes_on_with_its_ranges(blobs, tmp_path):
    """From what lies on the disk when epoch 2 begins, as a process leaves it that ends there."""
    split = Split(*blobs)
    data, settings = Data(split, split, split), trainer.FitSettings(epochs=3)

    def begun():
        keras.utils.set_random_seed(1)
        return compiled(folded()), QuantizationAware(blobs[0][:32], ranges="learned", freeze_last=0)

    def keep(epoch, logs=None):
        if epoch == 2:
            shutil.copytree(tmp_path / "whole", tmp_path / "cut")

    (whole, one), (resumed, other) = begun(), begun()
    kept = keras.callbacks.LambdaCallback(on_epoch_begin=keep)
    trainer.fit(whole, data, settings, tmp_path / "whole", [one, kept])
    trainer.fit(resumed, data, settings, tmp_path / "cut", [other])
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for name, value in one.get_state().items():
        np.testing.assert_array_equal(value, other.get_state()[name])


# Where it runs


TWO = """
import os
import numpy as np, tensorflow as tf, keras
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.quantization.aware.aware_nets import NETS
from tfopt.callbacks import QuantizationAware
x = np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype("float32")
y = np.arange(64) % 4
x[y == 1] += 1
order = np.argsort(x.max((1, 2, 3)))  # the extremes of a batch are on one replica alone
results = []
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = NETS[{net!r}]()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=False)
    aware = QuantizationAware(x[:32], ranges={ranges!r}, momentum=0.5)
    data = tf.data.Dataset.from_tensor_slices((x[order], y[order])).batch(64)
    model.fit(data, epochs=1, verbose=0, callbacks=[aware])
    observer = aware.aware.observer
    results.append((observer.low.numpy(), observer.high.numpy(), model.get_weights(), len(aware.convert().content)))
(low, high, weights, size), (low2, high2, weights2, size2) = results
assert size == size2
print(np.abs(low - low2).max(), np.abs(high - high2).max(), max(np.abs(a - b).max() for a, b in zip(weights, weights2)))
print((high - low).max())
"""


@pytest.mark.parametrize(
    ("net", "ranges"),
    [
        ("attention", "moving_average"),
        ("dense", "moving_average"),
        ("dense", "learned"),
    ],
)
@pytest.mark.slow
def test_ranges_are_those_of_all_replicas(net, ranges, python):
    out = python(TWO.format(net=net, ranges=ranges)).splitlines()
    low, high, weights = (float(n) for n in out[-2].split())
    width = float(out[-1])
    assert max(low, high) < 0.01 * width
    assert weights < 1e-3


# What cannot be


def test_what_cannot_be_is_said(blobs):
    x, _ = blobs
    with pytest.raises(InputError, match="modes that compute in integers"):
        quantize_aware(compiled("dense"), "float16", x)
    with pytest.raises(InputError, match="needs representative inputs"):
        quantize_aware(compiled("dense"), "int8")
    with pytest.raises(InputError, match="ranges is one of moving_average, percentile, learned"):
        quantize_aware(compiled("dense"), "int8", x, ranges="minmax")
    with pytest.raises(ModelError, match="no weights yet"):
        quantize_aware(keras.Sequential([keras.layers.Dense(3)]), "int8", x)
    with pytest.raises(ModelError, match="no fit was run"):
        QuantizationAware(x).convert()
    with pytest.raises(InputError, match="freeze_last"):
        QuantizationAware(x, freeze_last=2)


def test_the_public_names():
    assert tfopt.callbacks.QuantizationAware is QuantizationAware
    assert tfopt.quantization.quantize_aware is quantize_aware
