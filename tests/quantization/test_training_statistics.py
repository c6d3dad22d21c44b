"""What normalizations remember of a training: added up over samples batch by batch."""

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.quantization.training_statistics import distance, inner_rescaling


@pytest.mark.parametrize("axis", [-1, 1])
def test_statistics_are_added_up_without_a_loss_of_digits(axis):
    x = np.random.default_rng(0).normal([3e3, -1, 0.5], [1, 2, 1e-2], (37, 5, 7, 3)).astype(np.float32)
    x = np.moveaxis(x, -1, axis)
    inputs = keras.Input(x.shape[1:])
    norm = layers.BatchNormalization(axis=axis, name="norm")
    model = keras.Model(inputs, norm(inputs))
    axes = tuple({0, 1, 2, 3} - {axis % 4})
    exact = x.astype(np.float64)
    norm.set_weights([*norm.get_weights()[:2], exact.mean(axes), exact.var(axes)])
    assert distance(model, {inputs.name: x}).value < 1e-3
    norm.moving_variance.assign(exact.var(axes) * np.e**2)
    assert distance(model, {inputs.name: x}).value == pytest.approx(1, abs=1e-3)


def test_activations_are_not_kept(allocated):
    x = np.random.default_rng(0).random((64, 32, 32, 3)).astype(np.float32)
    norm = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(16, 3), norm, layers.Flatten()])
    norm.moving_mean.assign(np.ones(16))
    assert allocated(distance, model, {model.inputs[0].name: x}) < 64 * 30 * 30 * 16


def test_a_rescaling_is_found_in_a_model_of_a_fixed_batch():
    inputs = keras.Input((4, 4, 1), batch_size=4)
    model = keras.Model(inputs, layers.Rescaling(1 / 255, name="scale")(inputs))
    samples = {inputs.name: np.random.default_rng(0).random((8, 4, 4, 1)).astype(np.float32)}
    assert inner_rescaling(model, samples, samples).layer == "scale"
