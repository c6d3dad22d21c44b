"""Nets of keras.applications cut to half of their channels: nothing is half cut, and LiteRT runs the file."""

import keras
import numpy as np
import pytest

from tests.sparsity.structured.reference import scrambled, silence
from tfopt.quantization import convert
from tfopt.sparsity import remove
from tfopt.sparsity.structured.budget import Budget, fit
from tfopt.sparsity.structured.dependency_graph import read
from tfopt.sparsity.structured.importance import score
from tfopt.sparsity.structured.selection import LayerLimits, RemovalOrder
from tfopt.sparsity.structured.surgery import cut
from tfopt.tflite.interpreter import Runner

# The class, more of its settings, and the classes of layers that tfopt does not know.
NETS = {
    "MobileNetV2": ({}, set()),
    "MobileNetV3Small": ({}, set()),
    "ResNet50": ({}, set()),
    "EfficientNetV2B0": ({}, {keras.layers.Normalization}),
    "DenseNet121": ({}, set()),
    "Xception": ({}, set()),
}


def net(name):
    settings, unknown = NETS[name]
    made = getattr(keras.applications, name)
    return scrambled(
        made(input_shape=(96, 96, 3), weights=None, classes=10, classifier_activation=None, **settings)
    ), unknown


@pytest.mark.parametrize(
    "name", [name if name == "MobileNetV2" else pytest.param(name, marks=pytest.mark.slow) for name in NETS]
)
def test_half_of_the_channels_go_and_the_net_is_the_masked_one(name):
    model, unknown = net(name)
    x = np.random.default_rng(0).uniform(0, 255, (3, 96, 96, 3)).astype(np.float32)
    structure = read(model)
    assert {type(model.get_layer(path)) for path, _ in structure.skipped} <= unknown
    drop = fit(structure, RemovalOrder(structure, score(structure, "l2"), "local", LayerLimits()), Budget(0.5)).drop
    smaller = cut(structure, drop)
    for layer in smaller.layers:
        old = model.get_layer(layer.name)
        assert type(layer) is type(old)
        if isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.DepthwiseConv2D):
            assert layer.filters == (10 if layer.name == "logits" else pytest.approx(old.filters / 2, abs=4)), (
                layer.name
            )
            assert layer.filters % 8 == 0 or layer.name == "logits"
    assert smaller.output_shape == model.output_shape
    assert smaller.count_params() < 0.35 * model.count_params()
    expected = silence(model, drop)(x).numpy()
    np.testing.assert_allclose(smaller(x), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "EfficientNetV2B0"])
def test_the_int8_file_of_a_cut_net_runs_on_litert(name):
    model, _ = net(name)
    x = np.random.default_rng(0).uniform(0, 255, (8, 96, 96, 3)).astype(np.float32)
    smaller = remove(model, 0.5).model
    content = convert(smaller, "int8", x)
    assert len(content) < 1.3 * smaller.count_params()
    [got] = Runner(content)(x).values()
    expected = smaller.predict(x, verbose=0)
    assert got.shape == expected.shape
    assert np.isfinite(got).all()
    assert np.ptp(got) > 0
