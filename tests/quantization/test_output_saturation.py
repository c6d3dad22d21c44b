"""The outputs of classifiers, of which a part of the positions is looked at, batch by batch."""

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.quantization.output_saturation import class_outputs


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_positions_of_a_segmentation_are_classes_each_as_those_of_a_whole_image(head):
    """Of more positions than are looked at, in columns of two kinds."""
    logits = np.zeros((40, 40, 80, 6), np.float32)
    logits[:, :, ::2, 0], logits[:, :, 1::2, 1] = 10, 20
    inputs = keras.Input(logits.shape[1:])
    model = keras.Model(inputs, layers.Activation(head)(inputs))
    [found] = class_outputs(model, {inputs.name: logits})
    if head == "softmax":
        assert (found.margin in (10, 15, 20), found.classes) == (True, 6)
        assert found.information == pytest.approx(np.log(2) / np.log(6), abs=0.01)
    else:
        assert (found.margin, found.classes) == (0, 2)


def test_outputs_of_batches_are_those_of_all_samples():
    logits = np.random.default_rng(0).normal(0, 5, (50, 7)).astype(np.float32)
    inputs = keras.Input((7,))
    [found] = class_outputs(keras.Model(inputs, layers.Softmax()(inputs)), {inputs.name: logits})
    exact = logits.astype(np.float64)
    ordered, odds = np.sort(exact), np.exp(exact) / np.exp(exact).sum(-1, keepdims=True)
    entropies = -(odds * np.log(odds)).sum(-1)
    whole = -(odds.mean(0) * np.log(odds.mean(0))).sum()
    assert found.margin == pytest.approx(np.median(ordered[:, -1] - ordered[:, -2]), rel=1e-5)
    assert found.information == pytest.approx((whole - entropies.mean()) / np.log(7), rel=1e-4)


def test_outputs_are_not_kept(allocated):
    x = np.random.default_rng(0).random((64, 64, 32, 3)).astype(np.float32)
    model = keras.Sequential([keras.Input(x.shape[1:]), layers.Conv2D(16, 1, activation="softmax")])
    assert allocated(class_outputs, model, {model.inputs[0].name: x}) < 1.5 * (x.nbytes / 3 * 16)
