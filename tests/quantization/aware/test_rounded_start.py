"""Training that starts from chosen integers: they are the rounded file's, and stay so until training moves them."""

import keras
import numpy as np
import pytest

from tests.quantization.aware.aware_nets import compiled
from tfopt.callbacks import QuantizationAware
from tfopt.data.splits import Data, Split
from tfopt.errors import ModelError
from tfopt.quantization import quantize_aware
from tfopt.quantization.aware.rounded_start import RoundedStart
from tfopt.quantization.conversion import convert_with_notes
from tfopt.quantization.rounding.grids import kernel_grids
from tfopt.recipe.export import Export
from tfopt.tflite.interpreter import Runner
from tfopt.training import trainer

LAYERS = keras.layers
# Batch normalizations as a training leaves them, scales of both signs among them.
SIGNED = keras.initializers.RandomUniform(-1.5, 1.5, seed=1)
POSITIVE = keras.initializers.RandomUniform(0.5, 1.5, seed=2)


def norm(name):
    return LAYERS.BatchNormalization(
        gamma_initializer=SIGNED,
        beta_initializer=SIGNED,
        moving_mean_initializer=SIGNED,
        moving_variance_initializer=POSITIVE,
        name=name,
    )


def net():
    """A net with most ways in which a kernel and its bias come into a file."""
    keras.utils.set_random_seed(0)
    biased = {"bias_initializer": SIGNED}
    inputs = LAYERS.Input((8, 8, 1))
    x = LAYERS.ReLU(6)(norm("first")(LAYERS.Conv2D(6, 3, name="conv", use_bias=False)(inputs)))
    x = LAYERS.ReLU()(norm("second")(LAYERS.DepthwiseConv2D(3, name="depthwise", **biased)(x)))
    x = LAYERS.Conv2DTranspose(4, 2, strides=2, activation="relu", name="transposed", **biased)(x)
    x = LAYERS.Reshape((8, 32))(x)
    x = LAYERS.EinsumDense("abc,cde->abde", (8, 2, 3), bias_axes="de", name="einsum", **biased)(x)
    x = LAYERS.Dense(16, activation="relu", name="hidden", **biased)(LAYERS.Flatten()(x))
    return keras.Model(inputs, LAYERS.Dense(4, name="head", **biased)(x))


@pytest.fixture(scope="module")
def x():
    draw = np.random.default_rng(0)
    return (draw.normal(size=(64, 8, 8, 1)) + draw.normal(size=(64, 1, 1, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def asked():
    return {"mode": "int4", "rounding": "descent", "clipping": "mse", "slim": False, "least_snr_db": -50}


@pytest.fixture(scope="module")
def rounded(x, asked):
    """The file of the net with its integers chosen together, which no training has seen."""
    return convert_with_notes(net(), Export(**asked), x)


def outputs(content, x):
    return next(iter(Runner(content)({next(iter(Runner(content).inputs)): x}).values()))


def grids_by_shape(content):
    """The integer kernels of the net, no two of one shape; their names in a file are the converter's."""
    return {grid.integers.shape: grid for grid in kernel_grids(content).values()}


def steps_between(some, others, content):
    """Differences of outputs in steps of a file's output, of a float output in 1/255 of its range."""
    detail = next(iter(Runner(content).outputs.values()))
    return np.abs(some - others) / (float(detail["quantization"][0]) or np.ptp(some) / 255)


@pytest.mark.parametrize("ranges", ["moving_average", "learned"])
def test_before_the_first_step_every_integer_is_that_of_the_rounded_file(ranges, x, asked, rounded):
    model = net()
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    aware = quantize_aware(model, calibration=x, ranges=ranges, **asked)
    made = aware.convert()
    expected, found = grids_by_shape(rounded.content), grids_by_shape(made.content)
    assert len(expected) == 6
    nearest = grids_by_shape(convert_with_notes(net(), Export(**{**asked, "rounding": "nearest"}), x).content)
    for shape, grid in expected.items():
        assert np.array_equal(found[shape].integers, grid.integers)
        np.testing.assert_allclose(found[shape].scales, grid.scales, rtol=1e-5)
        assert not np.array_equal(grid.integers, nearest[shape].integers)
    # On LiteRT both files are alike to a step. In training a sum near half a step is rounded up by one processor and
    # down by another, which the layers behind it carry on: there it is the mean that tells of a wrong integer.
    assert steps_between(outputs(made.content, x), outputs(rounded.content, x), made.content).max() <= 1.01
    apart = steps_between(np.asarray(model(x)), outputs(made.content, x), made.content)
    assert apart.max() <= 2.01
    assert np.sqrt(np.square(apart).mean()) <= 0.75
    assert made.figures["calibration_snr_db"] > 20
    aware.strip()
    moved = {v.path for v in model.trainable_variables if not np.array_equal(v.numpy(), before[v.path])}
    # All kernels, the offsets of batch normalizations in the place of biases before them, and all other biases.
    assert {path.rpartition("/")[2] for path in moved} == {"kernel", "beta", "bias"}
    assert len(moved) == 12
    assert all(v.numpy().all() for v in model.trainable_variables if v.path.endswith("kernel"))


def test_zeros_stay_and_no_weight_becomes_one(x, asked):
    model = net()
    kernel = model.get_layer("hidden").kernel
    pruned = np.random.default_rng(0).random(kernel.shape) < 0.6
    kernel.assign(np.where(pruned, 0, kernel.numpy()))
    aware = quantize_aware(model, calibration=x, **asked)
    aware.strip()
    assert np.array_equal(kernel.numpy() == 0, pruned)


def test_a_bias_that_no_variable_holds_is_said(x, asked):
    keras.utils.set_random_seed(0)
    head = LAYERS.Dense(4, bias_initializer="ones")
    model = keras.Sequential(
        [LAYERS.Input((8, 8, 1)), LAYERS.Conv2D(4, 3, use_bias=False, name="bare"), LAYERS.Flatten(), head]
    )
    aware = quantize_aware(model, calibration=x, **asked)
    [note] = aware.notes
    assert note.startswith("the training of bare starts without its corrected bias: ")
    assert note in aware.convert().notes


def test_biases_alone_leave_the_kernels_as_they_are(x):
    model = net()
    before = [v.numpy() for v in model.trainable_variables if v.path.endswith("kernel")]
    aware = quantize_aware(model, "int4", x, bias_correction=True)
    aware.strip()
    after = [v.numpy() for v in model.trainable_variables if v.path.endswith("kernel")]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    assert aware.observer.steps() == {}


def test_an_interrupted_training_goes_on_from_its_checkpoint_and_not_from_its_start(x, tmp_path):
    """A process that begins again chooses the same integers, and takes the weights that were trained since."""
    split = Split(x, (np.arange(len(x)) % 4).astype(np.int32))
    data = Data(split, split, split)

    def train(folder, epochs):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([LAYERS.Input((8, 8, 1)), LAYERS.Flatten(), LAYERS.Dense(4)])
        model, aware = compiled(model), QuantizationAware(x[:32], "int4", rounding="gptq", freeze_last=0)
        aware.begin(model)
        trainer.fit(model, data, trainer.FitSettings(epochs=epochs), tmp_path / folder, [aware])
        return model.get_weights(), aware.get_state()

    whole = train("whole", 2)
    train("cut", 1)
    resumed = train("cut", 2)
    for one, other in zip(whole[0], resumed[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(whole[1]) == 3  # both ends of the ranges, and the scales of the kernel
    for name, value in whole[1].items():
        np.testing.assert_array_equal(value, resumed[1][name])


def test_a_copy_of_the_model_is_trained_from_the_same_start(x, blobs):
    model = compiled(keras.Sequential([LAYERS.Input((8, 8, 1)), LAYERS.Flatten(), LAYERS.Dense(4)]))
    aware = QuantizationAware(x, "int4", rounding="gptq")
    aware.begin(model)
    start = aware.aware.observer.steps()
    copy = compiled(keras.models.clone_model(model), optimizer=keras.optimizers.SGD(0.0))
    copy.set_weights(model.get_weights())
    copy.fit(*blobs, epochs=1, batch_size=256, verbose=0, callbacks=[aware])
    assert aware.aware.model is copy
    [before], [after] = start.values(), aware.aware.observer.steps().values()
    np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(copy.get_weights()[0], model.get_weights()[0])


def test_a_later_fit_of_another_model_begins_for_itself(x, blobs):
    def dense(units):
        return compiled(
            keras.Sequential([LAYERS.Input((8, 8, 1)), LAYERS.Flatten(), *map(LAYERS.Dense, units)]),
            optimizer=keras.optimizers.SGD(0.0),
        )

    aware, model, other = QuantizationAware(x, "int4", bias_correction=True), dense([4]), dense([8, 4])
    aware.begin(model)
    for one in (model, other):
        one.fit(*blobs, epochs=1, batch_size=256, verbose=0, callbacks=[aware])
        assert aware.aware.model is one


def test_a_start_that_failed_is_made_when_it_is_attached_again(x, monkeypatch):
    model = keras.Sequential([LAYERS.Input((8, 8, 1)), LAYERS.Flatten(), LAYERS.Dense(4)])
    aware = QuantizationAware(x, "int4", rounding="gptq").on(model)
    before = model.get_weights()[0]
    with monkeypatch.context() as patch:
        patch.setattr(RoundedStart, "give", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            aware.attach()
    assert not aware.attached
    aware.attach()
    aware.strip()
    assert not np.array_equal(model.get_weights()[0], before)


def test_a_rule_for_no_layer_is_found_before_the_training(x):
    with pytest.raises(ModelError, match="haed"):
        quantize_aware(net(), "int4", x, rules=[{"layers": "haed", "rounding": "gptq"}])
