"""Small models with recurrent layers, their weights drawn at random, and samples."""

import functools
import importlib.util

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.models.read_models import ReadModels
from tfopt.quantization.float_conversion import read_from
from tfopt.targets import microcontrollers

needs_tflm = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None, reason="tflite-micro is not installed (tfopt[tflm])"
)
LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
STEPS, INPUTS = 6, 3


def chain(*stack, shape=(STEPS, INPUTS)):
    """A model of layers in a row."""
    return keras.Sequential([layers.Input(shape), *stack])


def shared():
    memory = layers.LSTM(4, name="memory")
    one, two = layers.Input((STEPS, INPUTS), name="one"), layers.Input((STEPS, INPUTS), name="two")
    return keras.Model([one, two], layers.Concatenate()([memory(one), memory(two)]))


NETS = {
    "last step": lambda: chain(layers.LSTM(4), layers.Dense(2)),
    "every step": lambda: chain(layers.LSTM(4, return_sequences=True), layers.Dense(2)),
    "stacked": lambda: chain(layers.LSTM(4, return_sequences=True), layers.LSTM(3), layers.Dense(2)),
    "backwards, without bias": lambda: chain(layers.LSTM(4, go_backwards=True, use_bias=False), layers.Dense(2)),
    "backwards, every step": lambda: chain(layers.LSTM(4, go_backwards=True, return_sequences=True)),
    "both ways, concat": lambda: chain(layers.Bidirectional(layers.LSTM(4, return_sequences=True)), layers.Dense(2)),
    "both ways, sum": lambda: chain(layers.Bidirectional(layers.LSTM(4), merge_mode="sum"), layers.Dense(2)),
    "both ways, mul": lambda: chain(layers.Bidirectional(layers.LSTM(4), merge_mode="mul")),
    "both ways, ave": lambda: chain(layers.Bidirectional(layers.LSTM(4), merge_mode="ave"), layers.Dense(2)),
    "nested": lambda: chain(chain(layers.LSTM(4, return_sequences=True), layers.ReLU()), layers.LSTM(3)),
    "called twice": shared,
    "by time": lambda: chain(layers.TimeDistributed(layers.LSTM(4)), layers.LSTM(3), shape=(2, STEPS, INPUTS)),
}


READS = ReadModels()
# Converts a model of `known` to float once for all of its files.
to_float_once = read_from(READS)


@functools.cache
def known(name):
    """The model of a name in `NETS` and its samples, for those who change neither."""
    model, samples = built(name)
    READS.admit(model)
    return model, samples


def built(name_or_model, scale=0.5, count=24):
    """A model with weights of a normal distribution, and normal samples by input name."""
    model = NETS[name_or_model]() if isinstance(name_or_model, str) else name_or_model
    generator = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(generator.normal(0, scale, weight.shape))
    shapes = {tensor.name: tensor.shape[1:] for tensor in model.inputs}
    return model, {name: generator.normal(size=(count, *shape)).astype(np.float32) for name, shape in shapes.items()}


def by_keras(model, samples):
    """The one output of a model in Keras."""
    return np.asarray(model(list(samples.values()) if len(samples) > 1 else next(iter(samples.values()))))


def on_tflm(content, samples):
    """The one output of a file on TFLM."""
    [output] = microcontrollers.run(content, samples).outputs.values()
    return output


def snr_db(expected, found):
    return 10 * np.log10((expected**2).sum() / ((expected - found) ** 2).sum())
