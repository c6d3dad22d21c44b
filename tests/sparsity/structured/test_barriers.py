"""What tfopt does not cut: it is named with a reason, it stays whole, and what lies around it is cut all the same."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.sparsity.structured.reference import assert_same, inputs_of, scrambled, silence, some_groups
from tfopt.errors import ModelError, TfoptWarning
from tfopt.sparsity.structured.dead import remove_dead
from tfopt.sparsity.structured.dependency_graph import read
from tfopt.sparsity.structured.propagation import TABLE, Axis, Flow, register
from tfopt.sparsity.structured.removal import remove
from tfopt.sparsity.structured.surgery import cut


class Doubled(layers.Dense):
    """A Dense in name: its own `call` computes something else."""

    def call(self, inputs):
        return super().call(inputs) * 2


class Renamed(layers.Dense):
    """A Dense of a user's own that computes what Dense does."""


class Mixing(layers.Layer):
    """A layer that tfopt has never seen."""

    def build(self, shape):
        self.matrix = self.add_weight(name="matrix", shape=(shape[-1], shape[-1]))

    def call(self, inputs):
        return inputs @ self.matrix


def around(barrier, shape=()):
    """A layer before, the barrier, and a layer behind it, each of which could be cut but for the barrier."""
    inputs = layers.Input((*shape, 3))
    x = layers.Dense(12, activation="relu", name="far before")(inputs)
    x = barrier(layers.Dense(8, name="before")(x))
    x = layers.Dense(12, activation="relu", name="behind")(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


def centred(x):
    return x - ops.mean(x)


PLACES = (6, 6)
BARRIERS = {
    "an unknown layer": (lambda: around(Mixing(name="wall")), "does not know"),
    "a call of one's own": (lambda: around(Doubled(8, name="wall")), "does not know"),
    "a Lambda": (lambda: around(layers.Lambda(lambda x: x[:, ::-1], name="wall")), "does not know"),
    "a softmax over channels": (lambda: around(layers.Softmax(name="wall")), "does not know"),
    "an activation over channels": (lambda: around(layers.Activation("softmax", name="wall")), "over all channels"),
    "an activation of one's own": (
        lambda: around(layers.Activation(centred, name="wall")),
        "a user's own",
    ),
    "a factor to a channel": (lambda: around(layers.Rescaling(np.arange(8.0), name="wall")), "a factor to a channel"),
    "a normalization over places": (
        lambda: around(layers.LayerNormalization(axis=(1, 2, 3), name="wall"), PLACES),
        "other axes",
    ),
    "a BatchNormalization over rows": (
        lambda: around(layers.BatchNormalization(axis=1, name="wall"), PLACES),
        "other axes",
    ),
    "a Reshape that moves channels": (lambda: around(layers.Reshape((6, 8, 6), name="wall"), PLACES), "other axes"),
    "a Permute that moves channels": (lambda: around(layers.Permute((3, 2, 1), name="wall"), PLACES), "another axis"),
    "a pooling of channels": (
        lambda: around(layers.GlobalAveragePooling1D(data_format="channels_first", name="wall"), (6,)),
        "not the last axis",
    ),
    "noise in a shape of its own": (
        lambda: around(layers.Dropout(0.2, noise_shape=(1, 8), name="wall")),
        "noise has a shape",
    ),
    "masks from channels": (lambda: around(layers.Masking(name="wall"), (6,)), "all channels"),
}


@pytest.mark.parametrize("name", BARRIERS)
def test_a_barrier_is_named_and_the_rest_can_be_cut(name):
    made, reason = BARRIERS[name]
    structure = read(made())
    [(path, why)] = structure.skipped
    assert path == "wall"
    assert reason in why
    assert sorted(path for family in structure.families for path in family.paths) == ["behind", "far before"]


@pytest.mark.parametrize("name", BARRIERS)
@pytest.mark.sample(5)
def test_what_lies_around_a_barrier_is_cut(name):
    model = scrambled(BARRIERS[name][0]())
    structure, x = read(model), inputs_of(model)
    assert structure.skipped[0] in remove(model, round_to=1).skipped
    drop = some_groups(structure)
    smaller = cut(structure, drop)
    assert_same(smaller, silence(model, drop), x)
    widths = {layer.name: layer.units for layer in smaller.layers if type(layer) is layers.Dense}
    assert widths == {"far before": 7, "before": 8, "behind": 7, "head": 3}


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (lambda x: x * np.arange(8, dtype="float32"), "multiply"),
        (lambda x: ops.clip(x, np.zeros(8, "float32"), 1.0), "clip"),
        (lambda x: ops.concatenate([x, np.ones((1, 8), "float32")], axis=0), "concatenate"),
        (lambda x: ops.mean(x, axis=-1, keepdims=True), "mean"),
        (lambda x: ops.reshape(x, (-1, 8)), "reshape"),
        (lambda x: ops.flip(x, axis=-1), "flip"),
    ],
)
def test_an_operation_that_tells_channels_apart_is_a_barrier(operation, name):
    model = around(operation)
    structure = read(model)
    [(path, _)] = structure.skipped
    assert path.startswith(name)
    assert sorted(path for family in structure.families for path in family.paths) == ["behind", "far before"]


def test_the_softmax_of_a_layer_within_keeps_its_own_channels_alone():
    model = around(layers.Dense(8, activation="softmax", name="wall"))
    structure = read(model)
    assert structure.skipped == []
    assert sorted(path for family in structure.families for path in family.paths) == ["before", "behind", "far before"]
    assert "over all of them" in " ".join(structure.channels.kept().values())


def test_a_subclass_that_computes_the_same_is_cut():
    model = scrambled(around(Renamed(8, name="wall")))
    structure = read(model)
    assert structure.skipped == []
    drop = some_groups(structure)
    smaller = cut(structure, drop)
    assert type(smaller.get_layer("wall")) is Renamed
    assert smaller.get_layer("wall").units == 5
    assert_same(smaller, silence(model, drop), inputs_of(model))


def test_a_layer_of_ones_own_is_cut_by_one_registered_function():
    try:

        @register(Doubled)
        def doubled(call, inputs, channels):
            out = channels.new(call.operation.units)
            kernel, bias = call.operation.kernel, call.operation.bias
            axes = (Axis(kernel, 0, inputs[0], "takes"), Axis(kernel, 1, out, "makes"), Axis(bias, 0, out, "makes"))
            return Flow((out,), axes, lambda config, count: config.update(units=count(out)))

        model = scrambled(around(Doubled(8, name="wall")))
        structure = read(model)
        drop = some_groups(structure)
        smaller = cut(structure, drop)
        assert structure.skipped == []
        assert (type(smaller.get_layer("wall")), smaller.get_layer("wall").units) == (Doubled, 5)
        assert_same(smaller, silence(model, drop), inputs_of(model))
    finally:
        TABLE.pop(Doubled, None)


def test_what_a_barrier_reads_elsewhere_too_stays_for_all():
    inputs = layers.Input((3,))
    x = layers.Dense(8, name="both")(inputs)
    one, other = Mixing(name="wall")(x), layers.Dense(8, name="free")(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Concatenate()([one, other])))
    assert [family.paths for family in read(model).families] == [("free",)]


def test_a_residual_sum_that_a_barrier_reads_stays_in_all_its_layers():
    inputs = layers.Input((3,))
    x = layers.Dense(8, name="first")(inputs)
    x = layers.Add()([x, layers.Dense(8, name="second")(layers.Dense(6, name="inner")(x))])
    model = keras.Model(inputs, layers.Dense(3)(Mixing(name="wall")(x)))
    assert [family.paths for family in read(model).families] == [("inner",)]


def test_outputs_and_inputs_of_the_model_stay():
    inputs = layers.Input((8,))
    x = layers.Add()([inputs, layers.Dense(8, name="as the input")(layers.Dense(6, name="inner")(inputs))])
    middle = layers.Dense(5, name="an output, read on")(x)
    model = keras.Model(inputs, [middle, layers.Dense(3, name="head")(layers.Dense(4, name="last")(middle))])
    structure = read(model)
    assert [family.paths for family in structure.families] == [("inner",), ("last",)]
    drop = some_groups(structure)
    assert_same(cut(structure, drop), silence(model, drop), inputs_of(model))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)


def test_a_model_without_a_graph_is_refused():
    model = Subclassed()
    model(np.zeros((1, 4)))
    with pytest.raises(ModelError, match="a subclassed model has no graph"):
        remove(model)
    with pytest.raises(ModelError, match="Received: Sequential, built=False"):
        remove(keras.Sequential([layers.Dense(4), layers.Dense(3)]))


def test_a_subclassed_part_of_a_model_is_a_barrier():
    model = around(Subclassed())
    assert [path for path, _ in read(model).skipped] == [model.layers[3].name]


def test_layers_in_channels_first_are_a_barrier():
    inputs = layers.Input((3, 8, 8))
    x = layers.Conv2D(8, 3, data_format="channels_first", name="conv")(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.Dense(6, name="inner")(layers.Flatten()(x))))
    structure = read(model)
    assert ("conv", "its channels are not the last axis") in structure.skipped
    assert [family.paths for family in structure.families] == [("inner",)]


def test_quantized_layers_are_a_barrier():
    model = around(layers.Dense(8, name="wall"))
    model.get_layer("wall").quantize("int8")
    assert read(model).skipped == [("wall", "it is quantized or has LoRA weights")]


def test_a_layer_with_a_kernel_that_cannot_be_cut_is_a_warning():
    with pytest.warns(TfoptWarning, match=r"remove leaves wall alone: .*does not know.*\.$") as caught:
        remove(around(Mixing(name="wall")), 0.5, round_to=1)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", TfoptWarning)
        remove(around(layers.Softmax(name="wall")), 0.5, round_to=1, skip="behind")


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_a_model_of_quantized_layers_alone_is_refused(mode):
    model = keras.Sequential([layers.Input((8,)), layers.Dense(8, name="first"), layers.Dense(4)])
    for layer in model.layers:
        layer.quantize(mode)
    with pytest.raises(ModelError, match=rf"Keras has quantized first \(Dense\) to {mode} already"):
        remove(model, 0.5)


def test_dead_channels_beside_a_layer_in_float8_are_not_removed():
    model = around(layers.Dense(8, name="wall"))
    model.get_layer("wall").quantize("float8")
    with pytest.raises(ModelError, match=r"Keras has quantized wall \(Dense\) to float8 already"):
        remove_dead(model)
