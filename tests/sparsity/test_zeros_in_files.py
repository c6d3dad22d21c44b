"""A `.tflite` made from a model of each pattern holds its zeros, and one from a clustered model its values."""

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.callbacks import Clustering, MagnitudePruning
from tfopt.quantization.quantizer import shares_values
from tfopt.tflite.file import read

PATTERNS = {
    "single weights": {"sparsity": 0.8},
    "ranked together": {"sparsity": 0.8, "allocation": "global"},
    "by LAMP": {"sparsity": 0.8, "allocation": "lamp"},
    "by ERK": {"sparsity": 0.8, "allocation": "erk"},
    "blocks": {"sparsity": 0.8, "block": (4, 4)},
    "two of four": {"keep": (2, 4)},
    "in rounds": {"sparsity": 0.8, "schedule": "iterative", "rounds": 3},
    "depthwise": {"sparsity": 0.6, "only": ("depth", "conv", "hidden", "head")},
}
NAMES = ("conv", "depth", "hidden", "head")


def trained(callback, first=None):
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            layers.Input((8, 8, 4)),
            layers.Conv2D(16, 3, activation="relu", name="conv"),
            layers.DepthwiseConv2D(3, activation="relu", name="depth"),
            layers.Flatten(),
            layers.Dense(24, activation="relu", name="hidden"),
            layers.Dense(10, name="head"),
        ]
    )
    model.compile("sgd", "mse")
    generator = np.random.default_rng(0)
    x = generator.normal(size=(64, 8, 8, 4)).astype(np.float32)
    y = generator.normal(size=(64, 10)).astype(np.float32)
    for part in (first, callback):
        if part is not None:
            model.fit(x, y, batch_size=8, verbose=0, callbacks=[part])
    return model, x


def kernels_of(content):
    """The kernels of a file in the order of its ops."""
    return [op.kernels[0] for op in read(content).ops if op.kernels]


def zeros_of(model):
    weights = [model.get_layer(name).kernel.numpy() for name in NAMES]
    return [int((array == 0).sum()) for array in weights]


@pytest.mark.parametrize("mode", ["int8", "float32", "dynamic", "float16"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.sample(3)
def test_every_zero_of_a_kernel_is_one_in_the_file(pattern, mode):
    model, x = trained(MagnitudePruning(**PATTERNS[pattern]))
    before = zeros_of(model)
    found = kernels_of(tfopt.convert(model, mode, calibration=x, slim=False))
    if mode == "float16":  # its kernels are unpacked by an op of their own
        stored = [t for t in read(tfopt.convert(model, mode, calibration=x)).tensors if len(t.shape) > 1]
        assert sum(t.zeros for t in stored) >= sum(before)
        return
    assert [kernel.size for kernel in found] == [model.get_layer(name).kernel.numpy().size for name in NAMES]
    for kernel, zeros in zip(found, before, strict=True):
        assert kernel.zeros >= zeros
        if mode == "float32":
            assert kernel.zeros == zeros
    assert sum(before) > 0.4 * sum(kernel.size for kernel in found) or pattern == "two of four"


def test_two_of_four_are_found_in_a_row_of_the_file():
    model, x = trained(MagnitudePruning(keep=(2, 4)))
    content = tfopt.convert(model, "int8", calibration=x)
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    [kernel] = [
        interpreter.get_tensor(t["index"]) for t in interpreter.get_tensor_details() if list(t["shape"]) == [24, 256]
    ]
    assert (np.count_nonzero(kernel.reshape(-1, 4), axis=1) <= 2).all()


@pytest.mark.parametrize("first", [None, {"sparsity": 0.9}], ids=["dense", "pruned"])
@pytest.mark.sample(1)
def test_a_clustered_kernel_has_one_scale_and_its_own_number_of_values(first):
    model, x = trained(Clustering(6), first and MagnitudePruning(**first))
    if first:  # one channel without the large values, and so with a scale of its own
        kernel = model.get_layer("hidden").kernel
        weights = kernel.numpy()
        by_size = sorted(set(weights[weights != 0].tolist()), key=abs)
        weights[np.isin(weights[:, 0], by_size[3:]), 0] = by_size[2]
        kernel.assign(weights)
    content = tfopt.convert(model, "int8", calibration=x)
    conv, _, hidden, head = kernels_of(content)
    assert [kernel.scales for kernel in (conv, hidden, head)] == [1, 1, 1]
    assert [kernel.distinct for kernel in (conv, hidden, head)] == [6, 6, 6]
    per_channel = kernels_of(tfopt.convert(model, "int8", calibration=x, scales="channel"))
    assert per_channel[2].scales == 24
    if first:
        assert per_channel[2].distinct > 6


@pytest.mark.parametrize("sparsity", [0.5, 0.95])
@pytest.mark.sample(1)
def test_auto_leaves_the_scales_of_other_kernels_alone(sparsity):
    model, x = trained(MagnitudePruning(sparsity))
    assert tfopt.convert(model, "int8", calibration=x) == tfopt.convert(model, "int8", calibration=x, scales="channel")
    one = kernels_of(tfopt.convert(model, "int8", calibration=x, scales="tensor"))
    assert [kernel.scales for kernel in (one[0], one[2], one[3])] == [1, 1, 1]


def test_what_counts_as_a_codebook():
    model, x = trained(Clustering(6, only="hidden"))
    ops = [op for op in read(tfopt.convert(model, "float32", calibration=x)).ops if op.kernels]
    assert [shares_values(op) for op in ops] == [False, False, True, False]


def test_scales_are_refused_where_there_are_none():
    with pytest.raises(tfopt.InputError, match="scales is for modes with integer kernels, not for float16"):
        tfopt.Export(mode="float16", scales="tensor")
