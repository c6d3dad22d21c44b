"""The arithmetic of LiteRT's int8 LSTM: a reference in integers gives the same integers."""

import keras
import numpy as np
import pytest

from tests.quantization.recurrent import integer_cell
from tests.quantization.recurrent.recurrent_nets import needs_tflm
from tfopt.quantization import convert
from tfopt.targets import microcontrollers
from tfopt.tflite.interpreter import Runner

# Units, inputs, steps, and how large the weights are: the cell has 2, 3 and 4 bits before the point. What differs by
# one step grows from step to step where weights are large, so that activations are compared on the first.
SHAPES = [(8, 3, 12, 0.6), (16, 5, 30, 1.2), (7, 3, 20, 2.5)]
ordinary = pytest.mark.parametrize("lstm", SHAPES[:1], indirect=True)


@pytest.fixture(scope="module", params=SHAPES)
def lstm(request):
    """A file that is an LSTM and nothing more, its samples on their grid, and the integers that LiteRT gives."""
    units, inputs, steps, size = request.param
    generator = np.random.default_rng(units)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((steps, inputs)), keras.layers.LSTM(units, return_sequences=True)])
    model.set_weights([size * generator.normal(size=weights.shape) for weights in model.get_weights()])
    x = generator.normal(size=(24, steps, inputs)).astype(np.float32)
    content = convert(model, "int8", x, recurrent="fused", least_snr_db=5)
    op = integer_cell.of_file(content)
    scale, zero = op.data
    data = np.clip(np.rint(x / np.float32(scale)) + zero, -128, 127).astype(np.int8)
    outputs = Runner(content)((data.astype(np.float32) - zero) * np.float32(scale))
    return content, op, data, as_integers(outputs, op)


def as_integers(outputs, op):
    """Outputs in the model's units as the integers of the file."""
    return np.rint(next(iter(outputs.values())) / np.float32(op.hidden[0])).astype(int) + op.hidden[1]


def test_integers_are_those_of_litert(lstm):
    _, op, data, litert = lstm
    np.testing.assert_array_equal(integer_cell.run(op, data), litert)


@ordinary
def test_exact_activations_are_as_near_as_litert_is_to_them(lstm):
    """What training computes with: its gates are at most 12 of 32768 from those of LiteRT, and so are those of TFLM."""
    _, op, data, litert = lstm
    exact = integer_cell.run(op, data, integer_cell.exact_sigmoid, integer_cell.exact_tanh)
    assert np.mean(exact == litert) > 0.9
    assert np.abs(exact - litert).max() <= 2


@pytest.mark.parametrize("bits", range(7))
def test_activations_of_litert_are_close_to_the_functions(bits):
    every = np.arange(-(2**15), 2**15)
    tanh = np.abs(integer_cell.fixed_tanh(every, bits) - integer_cell.exact_tanh(every, bits))
    sigmoid = np.abs(integer_cell.fixed_sigmoid(every, bits) - integer_cell.exact_sigmoid(every, bits))
    assert tanh.max() <= 12
    assert sigmoid.max() <= 7


@ordinary
@needs_tflm
def test_tflm_is_as_near_to_the_exact_activations(lstm):
    content, op, data, _ = lstm
    scale, zero = op.data
    there = microcontrollers.run(content, (data.astype(np.float32) - zero) * np.float32(scale)).outputs
    exact = integer_cell.run(op, data, integer_cell.exact_sigmoid, integer_cell.exact_tanh)
    assert np.mean(as_integers(there, op) == exact) > 0.95
    assert np.abs(as_integers(there, op) - exact).max() <= 1
