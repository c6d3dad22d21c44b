"""Files without what no runtime reads, and files with their zeros left out."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization import zoo
from tfopt.errors import InputError
from tfopt.quantization import convert
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner


@pytest.mark.parametrize("mode", ["float32", "int8", "dynamic"])
@pytest.mark.parametrize("name", ["conv2d", "residual", "attention", "depthwise", "lists in and out", "lstm unrolled"])
@pytest.mark.sample(5)
def test_a_slim_file_is_smaller_and_gives_the_same_to_the_bit(built, converted, name, mode):
    slim, whole = (converted(name, mode, slim=slim).content for slim in (True, False))
    assert len(slim) < 0.95 * len(whole)
    feed = zoo.by_name(*built(name))
    for delegate in (True, False):
        mine, theirs = Runner(slim, delegate=delegate)(feed), Runner(whole, delegate=delegate)(feed)
        assert list(mine) == list(theirs)
        for output, value in theirs.items():
            np.testing.assert_array_equal(mine[output], value)


def test_a_slim_file_holds_the_same_constants_and_signature(converted):
    slim, whole = (read(converted("attention", slim=slim).content) for slim in (True, False))
    assert (slim.inputs, slim.outputs, slim.parameters) == (whole.inputs, whole.outputs, whole.parameters)
    assert [op.name for op in slim.ops] == [op.name for op in whole.ops]
    assert {tensor.name for tensor in slim.tensors} == {""}


@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic", "int8", "int4"])
def test_a_file_that_is_not_slim_names_its_tensors_after_the_layers(built, converted, mode):
    model, _ = built("nested")
    ops = read(converted("nested", mode, slim=False).content).ops
    names = " ".join(t.name for op in ops for t in op.outputs)
    for layer in ("inner/dense", *(f"{layer.name}/" for layer in model.layers[2:])):
        assert layer in names
    assert "layer." not in names


def test_sparse_kernels_make_a_smaller_file_of_the_same_outputs_and_zeros(pruned, converted_pruned):
    model, samples = pruned
    dense, sparse = (converted_pruned("float32", sparse=sparse).content for sparse in (False, True))
    assert len(sparse) < 0.6 * len(dense)
    np.testing.assert_array_equal(*(next(iter(Runner(content)(samples).values())) for content in (dense, sparse)))
    assert zoo.error(sparse, model, samples) < 1e-5
    weights = model.get_weights()
    nonzero = sum(int((w != 0).sum()) for w in weights)
    kernels = [w for w in weights if w.ndim > 1]
    zeros = sum(int((w == 0).sum()) for w in kernels) / sum(w.size for w in kernels)
    for summary in (read(dense), read(sparse)):
        assert summary.parameters == model.count_params()
        assert summary.nonzero == nonzero
        assert summary.sparsity == pytest.approx(zeros)


def test_a_sparse_file_keeps_a_kernel_without_zeros_as_it_is():
    model, samples = zoo.chain((64,), layers.Dense(64, activation="relu"), layers.Dense(32))
    kernel = model.layers[0].kernel.numpy()
    kernel[np.abs(kernel) < np.quantile(np.abs(kernel), 0.9)] = 0
    model.layers[0].kernel.assign(kernel)
    content = convert(model, "float32", samples, sparse=True)
    assert sorted(t.bytes for t in read(content).tensors if len(t.shape) > 1)[-1] == 64 * 32 * 4
    assert zoo.error(content, model, samples) < 1e-5


@pytest.mark.parametrize("mode", ["float16", "dynamic", "weight_only", "int8", "int16x8", "int4"])
def test_sparse_is_refused_for_modes_whose_files_would_not_load(built, one_line, mode):
    with pytest.raises(InputError, match=r"sparse.*gzip") as caught:
        convert(built("dense")[0], mode, built("dense")[1], sparse=True)
    one_line(caught)


@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic", "weight_only", "int8", "int16x8"])
def test_exact_zeros_of_a_pruned_kernel_are_exact_zeros_of_the_file(pruned, converted_pruned, mode):
    model, _ = pruned
    found = [t for t in read(converted_pruned(mode).content).tensors if t.parameter and len(t.shape) > 1]
    for layer, shape in ((model.layers[0], (8, 3, 3, 4)), (model.layers[2], (10, 128))):
        [tensor] = [t for t in found if t.shape == shape]
        zeros = int((layer.kernel.numpy() == 0).sum())
        assert zeros <= tensor.zeros <= zeros + 0.01 * tensor.size


def test_zeros_stay_at_their_places_in_an_int8_kernel():
    from ai_edge_litert.interpreter import Interpreter

    model = keras.Sequential([layers.Input((20,)), layers.Dense(30, use_bias=False)])
    kernel = model.layers[0].kernel
    mask = np.random.default_rng(0).random(kernel.shape) < 0.7
    kernel.assign(np.where(mask, 0, kernel.numpy()))
    interpreter = Interpreter(model_content=convert(model, "int8", zoo.normal(32, 20)))
    interpreter.allocate_tensors()
    [index] = [d["index"] for d in interpreter.get_tensor_details() if tuple(d["shape"]) == (30, 20)]
    assert np.all(interpreter.get_tensor(index).T[mask] == 0)


@pytest.mark.parametrize("slim", [True, False])
def test_large_constants_lie_inside_the_file(slim):
    model = keras.Sequential([layers.Input((600,)), layers.Dense(600, use_bias=False)])
    content = convert(model, "int8", zoo.normal(4, 600), slim=slim)
    assert read(content).parameters == model.count_params()
    assert sum(t.bytes for t in read(content).tensors) >= 600 * 600
