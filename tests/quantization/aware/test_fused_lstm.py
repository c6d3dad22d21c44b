"""An LSTM that is one op of its file, in training: its arithmetic, its gradient, and that the file is the model."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.quantization.aware.aware_nets import LOSS
from tests.quantization.recurrent import integer_cell
from tfopt.quantization import quantize_aware
from tfopt.quantization.aware import fake_quant, fused_lstm
from tfopt.quantization.recurrent.cell import cell_ranges
from tfopt.tflite.file import read

LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"


def _shared(x):
    layer = layers.LSTM(5)
    return layers.Concatenate()([layer(x), layer(layers.Dense(8)(x))])


def _twice(x):
    return layers.LSTM(5)(layers.LSTM(6, return_sequences=True)(layers.Conv1D(6, 3, activation="relu")(x)))


def _backwards(x):
    return layers.LSTM(6, go_backwards=True, use_bias=False, dropout=0.2, recurrent_dropout=0.1)(x)


def _both_ways(x):
    return layers.Flatten()(layers.Bidirectional(layers.LSTM(5, return_sequences=True), merge_mode="sum")(x))


NETS = {
    "one": lambda x: layers.LSTM(8)(x),
    "twice": _twice,
    "shared": _shared,
    "both_ways": _both_ways,
    "backwards": _backwards,
    "masked": lambda x: layers.LSTM(6)(layers.Masking(0.25)(x)),
    "beside_gru": lambda x: layers.GRU(4)(layers.LSTM(6, return_sequences=True)(x)),
}


# LiteRT's gates are a little off (test_integer_cell), which is handed on from step to step.
STEPS = {"beside_gru": 3}


def compiled(name):
    inputs = layers.Input((8, 8))
    model = keras.Model(inputs, layers.Dense(4, name="head")(NETS[name](inputs)))
    model.compile(keras.optimizers.Adam(0.01), LOSS, metrics=["accuracy"])
    return model


@pytest.fixture
def rows(blobs):
    x, y = blobs[0][..., 0].copy(), blobs[1]
    x[::3, 6:] = 0.25  # what the masked one leaves out
    return x, y


def gradients(model, x, y):
    @tf.function
    def of(x, y):
        with tf.GradientTape() as tape:
            loss = LOSS(y, model(x, training=True))
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    return [tf.convert_to_tensor(gradient).numpy() for gradient in of(x, y)]


@pytest.mark.parametrize("exponent", [-15, -13, -11])
def test_a_step_is_that_of_the_op(exponent):
    """Against the same arithmetic in integers, from numbers that are on their grids."""
    generator = np.random.default_rng(exponent + 20)
    units, inputs, scale, zero = 6, 4, 1 / 128, 3
    kernels = [(generator.integers(-127, 128, (units, inputs)), 2.0**-7) for _ in range(4)]
    recurrent = [(generator.integers(-127, 128, (units, units)), 2.0**-7) for _ in range(4)]
    biases = [generator.integers(-2000, 2000, units) for _ in range(4)]
    op = integer_cell.IntegerLstm((2.0**-6, -5), kernels, recurrent, biases, (scale, zero), exponent)
    data = generator.integers(-128, 128, (20, 15, inputs)).astype(np.int8)
    layer = layers.LSTM(units)
    layer.build((None, 15, inputs))
    layer.set_weights(
        [
            np.concatenate([steps.T * own for steps, own in kernels], axis=1),
            np.concatenate([steps.T * own for steps, own in recurrent], axis=1),
            np.concatenate(biases) * 2.0**-13,
        ]
    )
    low, high = (tf.constant((end - zero) * scale) for end in (-128.0, 127.0))
    grids = fused_lstm.CellGrids(lambda h: fake_quant.activation(h, low, high, 8), tf.constant(2.0**exponent))
    outputs, _ = fused_lstm.run(layer.cell, tf.constant((data + 5.0) * 2.0**-6, tf.float32), False, grids)
    got = np.rint(grids.hidden(outputs).numpy() / scale) + zero
    expected = integer_cell.run(op, data, integer_cell.exact_sigmoid, integer_cell.exact_tanh)
    assert np.mean(got == expected) > 0.98
    assert np.abs(got - expected).max() <= 1


@pytest.mark.parametrize("reach", [0.1, 1.0, 1.01, 2.0, 3.0, 64.0, 100.0])
def test_the_cell_has_the_scale_of_the_file(reach):
    expected = 2.0 ** (min(int(np.ceil(np.log2(max(reach, 1)))), 6) - 15)
    assert fused_lstm.cell_step(tf.constant(-reach), tf.constant(0.05)).numpy() == expected
    assert fused_lstm.cell_step(tf.constant(0.0), tf.constant(reach)).numpy() == expected


@pytest.mark.parametrize("name", ["twice", "both_ways"])
@pytest.mark.sample(1)
def test_without_rounding_the_gradients_are_the_models_own(name, rows, monkeypatch):
    x, y = rows[0][:32], rows[1][:32]
    model = compiled(name)
    own = gradients(model, x, y)
    for module, function in ((fake_quant, "activation"), (fake_quant, "kernel"), (fused_lstm, "_round")):
        monkeypatch.setattr(module, function, lambda x, *rest: tf.identity(x))
    aware = quantize_aware(model, "int8", x, recurrent="fused")
    simulated = gradients(model, x, y)
    aware.strip()
    for one, other in zip(own, simulated, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


# Every form of a layer, and every way for ranges to follow.
CASES = list(zip(NETS, itertools.cycle(["moving_average", "learned", "percentile"]), strict=False))


@pytest.mark.parametrize(("name", "ranges"), CASES)
@pytest.mark.sample(1)
def test_the_file_is_the_model_in_training(name, ranges, rows):
    x, y = rows
    model = compiled(name)
    before = model.fit(x, y, epochs=8, batch_size=32, verbose=0).history
    model.optimizer.learning_rate = 1e-3
    aware = quantize_aware(model, "int8", x[:64], recurrent="fused", ranges=ranges)
    model.fit(x, y, epochs=2, batch_size=32, verbose=0)
    aware.freeze()
    history = model.fit(x, y, epochs=1, batch_size=32, verbose=0).history
    conversion = aware.convert()
    likeness = aware.likeness(conversion.content, x)
    assert LSTM in [op.name for op in read(conversion.content).ops]
    assert likeness.steps <= STEPS.get(name, 2) + 0.01
    assert likeness.agreement >= 0.99
    assert not aware.skipped or name == "masked"  # its file has what sorts the steps
    assert history["accuracy"][-1] >= before["accuracy"][-1] - 0.05
    assert before["accuracy"][-1] > 0.6


@pytest.mark.slow
def test_a_range_that_moves_moves_the_state_of_the_file(rows):
    """The cell's grid in the file follows the training: its reach is that of the trained weights."""
    x, _ = rows
    model = compiled("one")
    aware = quantize_aware(model, "int8", x[:32], recurrent="fused", momentum=0.0)
    before = integer_cell.of_file(aware.convert().content)
    cell = model.layers[1].cell
    cell.bias.assign(np.repeat([3.0, 3.0, 3.0, 3.0], 8))  # every gate open: the cell counts the steps
    reach = cell_ranges(x, *(np.asarray(weights) for weights in model.layers[1].get_weights())).c_reach
    model.optimizer.learning_rate = 0
    # A cell that is cut off where its grid ends shows of what lies beyond only what one step adds.
    model.fit(x, np.zeros(len(x)), epochs=4, batch_size=256, verbose=0)
    after = integer_cell.of_file(aware.convert().content)
    assert after.cell_exponent > before.cell_exponent
    assert after.cell_exponent == np.ceil(np.log2(reach)) - 15
    assert after.hidden[0] > before.hidden[0]
