"""Dead channels removed: the outputs stay as they are, whatever pads, is shared, or adds up."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.sparsity.structured.reference import assert_same, inputs_of, scrambled
from tfopt.errors import InputError
from tfopt.sparsity.structured.dead import remove_dead
from tfopt.sparsity.structured.propagation import TABLE, Axis, Flow, register

DEAD = [1, 4, 5]


def kill(layer, channels=DEAD, axis=-1):
    """Lets a layer give the same whatever it takes: its bias, or a BatchNormalization's shift."""
    variable = layer.gamma if isinstance(layer, layers.BatchNormalization) else layer.kernel
    values = variable.numpy()
    np.moveaxis(values, axis, 0)[channels] = 0
    variable.assign(values)


def same(model, smaller, atol=1e-5):
    assert_same(smaller, model, inputs_of(model), atol)


def width(model, name):
    return model.get_layer(name).output.shape[-1]


def sequential(shape, *stack):
    return scrambled(keras.Sequential([layers.Input(shape), *stack]))


READERS = {
    "dense": ((), lambda: layers.Dense(5, name="reader")),
    "without a bias": ((), lambda: layers.Dense(5, use_bias=False, name="reader")),
    "valid": ((9, 9), lambda: layers.Conv2D(5, 3, name="reader")),
    "one by one, padded": ((9, 9), lambda: layers.Conv2D(5, 1, padding="same", strides=2, name="reader")),
    "conv without a bias": ((9, 9), lambda: layers.Conv2D(5, 3, use_bias=False, activation="relu", name="reader")),
    "one axis": ((9,), lambda: layers.Conv1D(5, 3, name="reader")),
    "three axes": ((4, 4, 4), lambda: layers.Conv3D(5, 2, name="reader")),
    "separable": ((9, 9), lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2, name="reader")),
    "transposed, one by one": ((9, 9), lambda: layers.Conv2DTranspose(5, 1, name="reader")),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("activation", ["relu", "linear", "sigmoid"])
@pytest.mark.sample(10)
def test_what_a_constant_adds_goes_into_the_next_bias(name, activation):
    shape, reader = READERS[name]
    maker = layers.Dense(8, activation=activation, name="maker")
    model = sequential((*shape, 3), maker, reader(), layers.Flatten(), layers.Dense(2))
    kill(maker)
    before = model.get_weights()
    removal = remove_dead(model)
    same(model, removal.model)
    assert width(removal.model, "maker") == 5
    assert [layer.name for layer in removal.model.layers] == [layer.name for layer in model.layers]
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_grouped_convolution_takes_over_what_all_its_groups_read():
    maker = layers.Conv2D(8, 3, name="maker")
    model = sequential((7, 7, 3), maker, layers.Conv2D(6, 3, groups=2, name="reader"), layers.Conv2D(2, 1))
    kill(maker, [1, 5, 2])  # 1 and 5 are at the same place of the two groups, 6 is alive beside 2
    smaller = remove_dead(model).model
    same(model, smaller)
    assert width(smaller, "maker") == 6


@pytest.mark.parametrize("padding", ["same", "causal"])
def test_one_constant_stands_for_all_where_a_convolution_pads(padding):
    maker = layers.Conv1D(8, 3, name="maker")
    model = sequential((9, 3), maker, layers.Conv1D(5, 3, padding=padding, name="reader"), layers.Conv1D(2, 1))
    kill(maker)
    smaller = remove_dead(model).model
    same(model, smaller)
    assert width(smaller, "maker") == 8 - len(DEAD) + 1
    kernel = smaller.get_layer("reader").kernel.numpy()
    again = remove_dead(smaller).model
    assert again.count_params() == smaller.count_params()
    np.testing.assert_array_equal(again.get_layer("reader").kernel, kernel)


def test_zeros_go_even_where_a_convolution_pads():
    maker = layers.Conv2D(8, 3, use_bias=False, name="maker")
    model = sequential((7, 7, 3), maker, layers.ReLU(), layers.Conv2D(5, 3, padding="same"), layers.Conv2D(2, 1))
    kill(maker)
    smaller = remove_dead(model).model
    same(model, smaller)
    assert width(smaller, "maker") == 5


PASSED = {
    "batch normalization": lambda: [layers.BatchNormalization(), layers.ReLU()],
    "prelu": lambda: [layers.PReLU()],
    "shared prelu": lambda: [layers.PReLU(shared_axes=[1, 2])],
    "max pooling": lambda: [layers.MaxPooling2D(2, padding="same")],
    "average pooling": lambda: [layers.AveragePooling2D(2, padding="same")],
    "depthwise": lambda: [layers.DepthwiseConv2D(3, depth_multiplier=2, activation="tanh")],
    "space": lambda: [layers.UpSampling2D(2), layers.Cropping2D(1), layers.Dropout(0.5), layers.LeakyReLU()],
    "global pooling": lambda: [layers.GlobalAveragePooling2D(), layers.Dense(4)],
    "flatten": lambda: [layers.Flatten(), layers.Dense(4)],
    "reshape": lambda: [layers.Reshape((49, 8)), layers.Conv1D(4, 3)],
    "permute": lambda: [layers.Permute((2, 1, 3))],
    "rescaling": lambda: [layers.Rescaling(2.0, 0.25)],
    "softplus": lambda: [layers.Activation("softplus")],
}


@pytest.mark.parametrize("name", PASSED)
def test_a_constant_passes_what_has_no_kernel(name):
    maker = layers.Conv2D(8, 3, name="maker")
    model = sequential((9, 9, 3), maker, *PASSED[name](), layers.Dense(6), layers.Flatten(), layers.Dense(2))
    kill(maker)
    smaller = remove_dead(model).model
    assert width(smaller, "maker") == 5
    same(model, smaller)


BORDERS = {
    "zero padding": lambda: [layers.ZeroPadding2D(1), layers.Conv2D(4, 3)],
    "depthwise": lambda: [layers.DepthwiseConv2D(3, padding="same"), layers.Conv2D(4, 1)],
    "separable": lambda: [layers.SeparableConv2D(4, 3, padding="same")],
    "grouped": lambda: [layers.Conv2D(4, 3, padding="same", groups=2)],
    "transposed": lambda: [layers.Conv2DTranspose(4, 3, strides=2)],
    "a position each": lambda: [layers.PReLU(alpha_initializer="random_normal"), layers.Conv2D(4, 1)],
}


@pytest.mark.parametrize("name", BORDERS)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.sample(5)
def test_what_is_no_constant_at_the_borders_stays_unless_it_is_zero(name, zero):
    maker = layers.Conv2D(8, 3, name="maker")
    model = sequential((7, 7, 3), maker, *BORDERS[name](), layers.Conv2D(2, 1))
    kill(maker, [1, 5])
    if zero:
        maker.bias.assign(np.where(np.isin(np.arange(8), [1, 5]), 0, maker.bias))
    elif name == "a position each":
        maker.bias.assign(-np.abs(maker.bias))
    removal = remove_dead(model)
    same(model, removal.model)
    assert width(removal.model, "maker") == (6 if zero else 8)


@pytest.mark.parametrize("merge", ["Add", "Multiply", "Maximum", "Average", "Subtract", "Concatenate"])
def test_merges_of_constants_are_constants(merge):
    inputs = layers.Input((7, 7, 3))
    one, other = layers.Conv2D(8, 3, name="one"), layers.Conv2D(8, 3, name="other")
    merged = getattr(layers, merge)()([one(inputs), layers.ReLU()(other(inputs))])
    model = scrambled(keras.Model(inputs, layers.Conv2D(2, 3)(merged)))
    kill(one, [1, 4])
    kill(other, [4, 6])
    smaller = remove_dead(model).model
    same(model, smaller)
    assert width(smaller, "one") == (6 if merge == "Concatenate" else 7)


def test_a_product_with_zero_is_zero():
    inputs = layers.Input((6,))
    one, other = layers.Dense(8, name="one"), layers.Dense(8, name="other")
    model = scrambled(keras.Model(inputs, layers.Dense(2)(layers.multiply([one(inputs), other(inputs)]))))
    kill(one)
    one.bias.assign(np.where(np.isin(np.arange(8), DEAD), 0, one.bias))
    smaller = remove_dead(model).model
    same(model, smaller)
    assert width(smaller, "other") == 5


def test_numbers_beside_a_tensor_count():
    inputs = layers.Input((6,))
    maker = layers.Dense(8, name="maker")
    model = scrambled(keras.Model(inputs, layers.Dense(2)(keras.ops.relu(maker(inputs) * 3.0 + 1.0))))
    kill(maker)
    smaller = remove_dead(model).model
    same(model, smaller)
    assert width(smaller, "maker") == 5


def test_what_nothing_reads_goes_and_then_what_only_that_read():
    first, second, third = layers.Dense(8, name="first"), layers.Dense(8, name="second"), layers.Dense(8, name="third")
    model = sequential((6,), first, layers.ReLU(), second, layers.ReLU(), third, layers.Dense(2))
    kill(third, [0, 3], axis=0)  # reads nothing of these
    rest = np.array([1, 2, 4, 5, 6, 7])
    kernel = second.kernel.numpy()
    kernel[np.ix_([2, 7], rest)] = 0  # which alone read these
    second.kernel.assign(kernel)
    smaller = remove_dead(model).model
    same(model, smaller)
    assert (width(smaller, "first"), width(smaller, "second")) == (6, 6)


def test_a_layer_is_never_emptied():
    maker = layers.Dense(8, name="maker")
    model = sequential((6,), maker, layers.ReLU(), layers.Dense(2, name="reader"))
    kill(maker, range(8))
    smaller = remove_dead(model).model
    same(model, smaller)
    assert width(smaller, "maker") == 1


@pytest.mark.parametrize("normalization", ["LayerNormalization", "GroupNormalization", "RMSNormalization"])
def test_statistics_that_count_a_constant_keep_it(normalization):
    maker = layers.Dense(8, use_bias=False, name="maker")
    norm = layers.GroupNormalization(2) if normalization == "GroupNormalization" else getattr(layers, normalization)()
    model = sequential((6,), maker, norm, layers.Dense(2))
    kill(maker)
    removal = remove_dead(model)
    same(model, removal.model)
    assert width(removal.model, "maker") == 8
    count = 2 if normalization == "GroupNormalization" else 3  # 4 is tied to 0, which is alive
    reason = f"it keeps the constant channels that it reads, {count} of 8: its statistics count them"
    assert removal.skipped == ((norm.name, reason),)


@pytest.mark.parametrize("bias", [False, True])
def test_recurrent_layers_read_nothing_but_zeros_away(bias):
    maker = layers.Dense(8, use_bias=bias, name="maker")
    model = sequential((5, 6), maker, layers.GRU(4), layers.Dense(2))
    kill(maker)
    removal = remove_dead(model)
    same(model, removal.model)
    assert width(removal.model, "maker") == (8 if bias else 5)
    assert len(removal.skipped) == bias


def test_a_recurrent_unit_that_nothing_reads_goes():
    recurrent, reader = layers.LSTM(8, name="recurrent"), layers.Dense(4)
    model = sequential((5, 6), recurrent, reader)
    kill(reader, [2, 6], axis=0)
    assert width(remove_dead(model).model, "recurrent") == 8  # it still reads them itself
    kernel = recurrent.cell.recurrent_kernel.numpy()
    kernel[[2, 6]] = 0
    recurrent.cell.recurrent_kernel.assign(kernel)
    smaller = remove_dead(model).model
    same(model, smaller)
    assert width(smaller, "recurrent") == 6


def test_a_head_that_the_output_does_not_read_goes():
    inputs = layers.Input((5, 6))
    attention = layers.MultiHeadAttention(4, 3, name="attention")
    model = scrambled(keras.Model(inputs, layers.Dense(2)(attention(inputs, inputs))))
    kernel = attention._output_dense.kernel.numpy()
    kernel[[0, 2]] = 0
    attention._output_dense.kernel.assign(kernel)
    smaller = remove_dead(model).model
    same(model, smaller)
    assert smaller.get_layer("attention").num_heads == 2


@pytest.mark.parametrize("equal", [True, False])
def test_a_shared_layer_takes_over_what_is_the_same_in_all_its_calls(equal):
    inputs = layers.Input((7, 7, 3))
    one, other = layers.Conv2D(8, 1, name="one"), layers.Conv2D(8, 1, name="other")
    shared = layers.Conv2D(4, 3, name="shared")
    model = scrambled(keras.Model(inputs, layers.add([shared(one(inputs)), shared(other(inputs))])))
    for layer, value in ((one, 0.0), (other, 0.0 if equal else 0.5)):
        kill(layer)
        layer.bias.assign(np.where(np.isin(np.arange(8), DEAD), value, layer.bias))
    smaller = remove_dead(model).model
    same(model, smaller)
    assert width(smaller, "one") == (5 if equal else 8)


def test_nested_models_and_residual_sums():
    inner_input = layers.Input((7, 7, 8))
    inside = layers.Conv2D(8, 3, padding="same", name="inside")
    normalized = layers.BatchNormalization(name="norm")
    block = keras.Model(inner_input, layers.ReLU()(normalized(inside(inner_input))), name="block")
    inputs = layers.Input((7, 7, 3))
    stem, norm = layers.Conv2D(8, 1, name="stem"), layers.BatchNormalization(name="stem_norm")
    x = norm(stem(inputs))
    total = layers.add([x, block(x)])
    model = scrambled(keras.Model(inputs, layers.Conv2D(2, 3)(total)))
    kill(norm, [1, 2, 4])
    kill(normalized, [1, 4, 7])
    norm.beta.assign(np.where(np.isin(np.arange(8), [1, 2, 4]), 0.5, norm.beta))
    removal = remove_dead(model)
    same(model, removal.model)
    # 1 and 4 are constant in the sum too; inside, where the convolution pads, 2 stands for them.
    assert width(removal.model, "stem") == 6
    assert removal.total("parameters")[1] == removal.model.count_params() < model.count_params()


def test_a_layer_of_a_users_own_keeps_all_that_it_reads():
    class Distance(layers.Layer):
        def build(self, shape):
            self.point = self.add_weight(name="point", shape=(shape[-1], 2))

        def call(self, x):
            return keras.ops.sum((x[..., None] - self.point) ** 2, axis=-2)

    @register(Distance)
    def distance(call, inputs, channels):
        return Flow((channels.new(2),), (Axis(call.operation.point, 0, inputs[0], "takes"),))

    try:
        maker = layers.Dense(8, use_bias=False, name="maker")
        model = sequential((6,), maker, Distance(), layers.Dense(2))
        kill(maker)
        smaller = remove_dead(model).model
        assert width(smaller, "maker") == 8
        same(model, smaller)
    finally:
        del TABLE[Distance]


def test_the_tolerance_says_what_counts_as_zero():
    maker, norm = layers.Conv2D(8, 3, use_bias=False, name="maker"), layers.BatchNormalization()
    model = sequential((7, 7, 3), maker, norm, layers.ReLU(), layers.Conv2D(5, 3), layers.Conv2D(2, 1))
    gamma = norm.gamma.numpy()
    gamma[DEAD] = [1e-5, -1e-5, 1e-3]
    norm.gamma.assign(gamma)
    found = [remove_dead(model, tolerance).model for tolerance in (0.0, 1e-5, 1e-2)]
    assert [width(smaller, "maker") for smaller in found] == [8, 6, 5]
    same(model, found[1], atol=1e-3)
    with pytest.raises(InputError, match=r"tolerance is a magnitude, 0 or above. Received: -1"):
        remove_dead(model, -1)


def test_a_model_without_dead_channels_comes_back_as_a_copy():
    model = sequential((6,), layers.Dense(8), layers.Dense(2))
    removal = remove_dead(model)
    assert removal.model is not model
    assert removal.model.count_params() == model.count_params()
    same(model, removal.model, atol=0)


def test_a_compiled_model_goes_on_training():
    maker = layers.Dense(8, name="maker")
    model = sequential((6,), maker, layers.ReLU(), layers.Dense(2, use_bias=False))
    model.compile("adam", "mse", run_eagerly=True)
    kill(maker)
    smaller = remove_dead(model).model
    assert smaller.get_layer(index=-1).use_bias
    smaller.fit(np.zeros((4, 6)), np.zeros((4, 2)), verbose=0)
