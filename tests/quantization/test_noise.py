"""The noise that `auto` compares roundings by, against what Keras computes before its probabilities."""

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.quantization.noise import Noise, with_scores
from tfopt.tflite.interpreter import Runner


@pytest.fixture(scope="module")
def heads():
    """A net with probabilities by softmax and by sigmoid and an output that is neither, and one of their scores."""
    keras.utils.set_random_seed(0)
    x = inputs = layers.Input((12,))
    x = layers.Dense(16, activation="relu")(x)
    scores = [layers.Dense(units, name=name)(x) for name, units in (("classes", 5), ("tags", 3), ("size", 2))]
    one_of, some_of, size = scores
    probable = keras.Model(inputs, [layers.Softmax()(one_of), layers.Activation("sigmoid")(some_of), size])
    return probable, keras.Model(inputs, scores)


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).normal(size=(64, 12)).astype(np.float32)


def test_probabilities_are_given_as_their_scores(heads, samples):
    probable, scores = heads
    content = tfopt.convert(probable, "float32")
    changed, through_softmax = with_scores(content)
    for found, expected in zip(Runner(changed)(samples).values(), scores.predict(samples, verbose=0), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert through_softmax == {next(iter(Runner(content).outputs))}


@pytest.mark.parametrize("io", ["float32", "int8"])
def test_a_quantized_file_gives_its_scores_too(heads, samples, io):
    probable, scores = heads
    content = tfopt.convert(probable, "int8", calibration=samples, io=io)
    changed, through_softmax = with_scores(content)
    assert len(through_softmax) == 1
    for found, expected in zip(Runner(changed)(samples).values(), scores.predict(samples, verbose=0), strict=True):
        noise = np.square(found - expected).mean() / np.square(expected).mean()
        assert noise < 1e-3


def test_without_probabilities_a_file_is_as_it_was(heads):
    content = tfopt.convert(heads[1], "float32")
    assert with_scores(content) == (content, frozenset())


def shifted(model, by):
    """A model whose scores before the softmax are all higher, and whose probabilities are therefore the same."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    kernel, bias = copy.get_layer("classes").get_weights()
    copy.get_layer("classes").set_weights([kernel, bias + by])
    return copy


def noise_of(model, samples):
    content = tfopt.convert(model, "float32")
    [name] = Runner(content).inputs
    return Noise(content, {name: samples})


def test_what_all_classes_have_alike_is_no_noise(heads, samples):
    model = keras.Model(heads[0].inputs, heads[0].outputs[0])
    noise = noise_of(model, samples)
    assert noise.snr(tfopt.convert(shifted(model, 3.0), "float32")) > 80
    assert noise.snr(tfopt.convert(shifted(model, np.arange(5.0)), "float32")) < 20


def test_of_several_outputs_the_noisiest_counts(heads, samples):
    """The noise of the changed output is that of a closed form, and the others have none."""
    noise, change = noise_of(heads[0], samples), np.arange(5.0)
    expected = heads[1].predict(samples, verbose=0)[0]
    centred = expected - expected.mean(axis=-1, keepdims=True)
    added = change - change.mean()
    wanted = 10 * np.log10(np.square(centred).mean() / np.square(added).mean())
    found = noise.snr(tfopt.convert(shifted(heads[0], change), "float32"))
    assert found == pytest.approx(wanted, abs=0.01)
