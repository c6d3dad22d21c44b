"""The float file and the layer of every op in it: by identity, whatever the layers are called."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from tests.quantization import zoo
from tfopt.errors import ConversionError, ModelError
from tfopt.models.layers import operations, walk
from tfopt.quantization.float_conversion import to_float
from tfopt.tflite.file import read

PRODUCTS = {"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}


def kernels_by_path(source):
    """By layer path the kernels of its ops, as LiteRT holds them."""
    interpreter = Interpreter(model_content=source.content)
    interpreter.allocate_tensors()
    index = {detail["name"]: detail["index"] for detail in interpreter.get_tensor_details()}
    found = {}
    for op, places in zip(source.ops, source.owners, strict=True):
        if op.name in PRODUCTS:
            [place] = places
            found.setdefault(place.path, []).append(interpreter.get_tensor(index[op.kernels[0].name]))
    return found


def as_in_keras(kernel):
    """A kernel of a file in the order of axes that Keras has it in."""
    return np.moveaxis(kernel, 0, -1)


def check_identity(model, source=None):
    """Every op is owned by the layer whose very kernel it holds."""
    found = kernels_by_path(source or to_float(model))
    paths = {place.path: place.layer for place in walk(model)}
    assert sorted(found) == sorted(path for path, layer in paths.items() if getattr(layer, "kernel", None) is not None)
    for path, kernels in found.items():
        for kernel in kernels:
            np.testing.assert_array_equal(as_in_keras(kernel), paths[path].kernel.numpy())


def row(*names, shape=(8, 8, 3)):
    """Convolutions of these names, one after the other, of different widths."""
    return keras.Sequential([layers.Input(shape), *(layers.Conv2D(3 + i, 3, name=n) for i, n in enumerate(names))])


@pytest.mark.parametrize(
    "names",
    [
        ("conv2d", "conv2d_1"),
        ("conv2d_1", "conv2d"),
        ("conv2d_1", "conv2d_1_2", "conv2d"),
        ("layer.0", "layer.2", "layer.1"),
        ("layer.1", "a.b", "layer.1_1"),
    ],
)
@pytest.mark.sample(3)
def test_names_that_collide_with_those_of_a_graph_lead_to_the_right_layers(names):
    check_identity(row(*names))


@pytest.mark.parametrize("name", ["one;two", "a:2", "b c"])
def test_a_name_that_tensorflow_does_not_trace_is_refused_with_its_reason(one_line, name):
    with pytest.raises(ModelError, match=f"'{name}' is not a valid name for TensorFlow") as caught:
        to_float(row(name))
    one_line(caught)


def test_a_layer_that_is_called_as_a_scope_of_another_keeps_its_ops():
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(5, name="dense_1")], name="dense")
    model = keras.Sequential([layers.Input((6,)), inner, layers.Dense(4, name="dense_1"), layers.Dense(3, name="x")])
    check_identity(model)


def test_nested_models_with_equal_inner_names_are_told_apart():
    def inner(name, units):
        return keras.Sequential([layers.Input((6,)), layers.Dense(units, name="dense", use_bias=False)], name=name)

    x = layers.Input((6,))
    check_identity(keras.Model(x, layers.Concatenate()([inner("left", 4)(x), inner("right", 4)(x)])))


def test_a_model_that_was_called_before_keeps_its_layers_apart():
    """Each call makes Keras's own scope names longer by a number."""
    model = row("conv2d", "conv2d_1")
    for _ in range(3):
        model(np.zeros((1, 8, 8, 3), np.float32))
        model(layers.Input((8, 8, 3)))
    check_identity(model)
    check_identity(model)


def test_two_models_over_the_same_layers_are_told_apart():
    shared = layers.Conv2D(4, 3, name="conv2d_1")
    x = layers.Input((8, 8, 3))
    check_identity(keras.Model(x, layers.Conv2D(2, 3, name="conv2d")(shared(x))))
    check_identity(keras.Model(x, layers.Conv2D(2, 3, name="conv2d_1_1")(shared(x))))


def test_a_shared_layer_owns_the_op_of_each_call(built, converted):
    source = converted.prepared("shared layer").source
    assert [len(kernels) for kernels in kernels_by_path(source).values()] == [2, 1]
    check_identity(built("shared layer")[0], source)


@pytest.mark.parametrize("name", ["subclassed", "nested", "lists in and out", "subclassed with dicts", "conv2d"])
def test_models_of_every_kind_know_the_layers_of_their_ops(built, converted, name):
    check_identity(built(name)[0], converted.prepared(name).source)


FOLDED = {
    "conv": lambda: [layers.Conv2D(4, 3, use_bias=False, name="it"), layers.BatchNormalization(), layers.ReLU()],
    "conv without activation": lambda: [layers.Conv2D(4, 3, name="it"), layers.BatchNormalization()],
    "depthwise": lambda: [layers.DepthwiseConv2D(3, name="it"), layers.BatchNormalization(), layers.ReLU(6.0)],
    "transpose": lambda: [layers.Conv2DTranspose(4, 3, name="it"), layers.BatchNormalization()],
    "dense": lambda: [layers.Flatten(), layers.Dense(4, name="it"), layers.BatchNormalization()],
    "dense and activation": lambda: [
        layers.Flatten(),
        layers.Dense(4, name="it"),
        layers.BatchNormalization(),
        layers.ReLU(),
    ],
    "dense on rows": lambda: [layers.Reshape((8, 24)), layers.Dense(4, name="it"), layers.BatchNormalization()],
    "dense between two": lambda: [
        layers.Flatten(),
        layers.BatchNormalization(),
        layers.Dense(4, name="it"),
        layers.BatchNormalization(),
    ],
}


@pytest.mark.parametrize("name", FOLDED)
@pytest.mark.sample(4)
def test_what_is_folded_into_an_op_leaves_it_to_the_layer_with_the_kernel(name):
    model, samples = zoo.chain((8, 8, 3), *FOLDED[name]())
    source = to_float(model, samples)
    owned = [places for op, places in zip(source.ops, source.owners, strict=True) if op.name in PRODUCTS]
    assert [[place.path for place in places] for places in owned] == [["it"]]


def test_an_op_without_a_kernel_belongs_to_all_that_it_computes(converted):
    source = converted.prepared("residual").source
    [places] = [places for op, places in zip(source.ops, source.owners, strict=True) if op.name == "ADD"]
    assert sorted(type(place.layer).__name__ for place in places) == ["Add", "ReLU"]


def owned(model):
    """The paths of the owners of each op."""
    source = to_float(model)
    return [(op.name, [place.path for place in places]) for op, places in zip(source.ops, source.owners, strict=True)]


def test_operations_between_layers_own_what_they_compute():
    x = layers.Input((6,))
    inner = keras.Model(x, keras.ops.abs(layers.Dense(5, name="one")(x)), name="inner")
    y = layers.Input((6,))
    model = keras.Model(y, keras.ops.exp(layers.Dense(3, name="head")(inner(y))))
    outer, within = model.operations[-1].name, inner.operations[-1].name
    expected = [("FULLY_CONNECTED", ["inner/one"]), ("ABS", [f"inner/{within}"]), ("FULLY_CONNECTED", ["head"])]
    assert owned(model) == [*expected, ("EXP", [outer])]


def test_a_product_with_a_constant_belongs_to_its_operation_whatever_is_folded_into_it():
    x = layers.Input((6,))
    h = keras.ops.matmul(layers.Dense(5, name="one")(x), np.eye(5, 4, dtype=np.float32))
    model = keras.Model(x, layers.BatchNormalization()(keras.ops.relu(h + 1)))
    assert owned(model)[:2] == [("FULLY_CONNECTED", ["one"]), ("FULLY_CONNECTED", [model.operations[2].name])]


def test_what_a_subclassed_model_computes_between_its_layers_belongs_to_none(converted):
    source = converted.prepared("subclassed with dicts").source
    assert [places for op, places in zip(source.ops, source.owners, strict=True) if op.name == "ADD"] == [()]


def test_tensor_names_show_the_paths_of_the_layers(converted):
    names = [tensor.name for op in converted.prepared("nested").source.ops for tensor in op.outputs]
    assert any(name.startswith("inner/") for name in names)
    assert not any("layer." in name for name in names)


def calls(model):
    return {place.path: vars(place.layer).get("call") for place in (*walk(model), *operations(model))}


def test_operations_are_left_as_they_were():
    x = layers.Input((6,))
    model = keras.Model(x, keras.ops.exp(layers.Dense(3)(x)))
    to_float(model)
    assert list(calls(model).values()) == [None] * 3


def test_layers_are_left_as_they_were(built):
    model, samples = built("conv2d")
    outputs = model(samples).numpy()
    to_float(model, samples)
    assert set(calls(model).values()) == {None}
    np.testing.assert_array_equal(model(samples), outputs)


def test_layers_are_left_as_they_were_after_a_failure(built):
    model, samples = built("max pooling 3d")
    with pytest.raises(ConversionError):
        to_float(model, samples)
    assert set(calls(model).values()) == {None}


def test_layers_are_left_as_they_were_after_a_failure_while_tracing():
    class Broken(layers.Layer):
        works = True

        def call(self, x):
            if not self.works:
                raise ZeroDivisionError("not today")
            return x

    model = keras.Sequential([layers.Input((4,)), layers.Dense(3), Broken()])
    model.layers[-1].works = False
    with pytest.raises(ConversionError, match="not today"):
        to_float(model, zoo.normal(4, 4))
    assert set(calls(model).values()) == {None}


def test_a_call_of_a_layers_own_instance_is_put_back():
    layer = layers.Dense(3)
    own = layer.call
    object.__setattr__(layer, "call", own)
    model = keras.Sequential([layers.Input((4,)), layer])
    to_float(model)
    assert vars(layer)["call"] is own


def test_the_signature_has_the_models_own_names_in_its_order(converted):
    summary = read(converted.prepared("lists in and out").source.content)
    assert list(summary.inputs.items()) == [("b", ("FLOAT32", (1, 4))), ("a", ("FLOAT32", (1, 6)))]
    assert list(summary.outputs.items()) == [("z", ("FLOAT32", (1, 3))), ("y", ("FLOAT32", (1, 2)))]


def test_an_open_size_starts_with_that_of_the_samples(built, converted):
    _, samples = built("image of any size")
    [(_, shape)] = read(converted.prepared("image of any size").source.content).inputs.values()
    assert shape == (1, *samples.shape[1:])
