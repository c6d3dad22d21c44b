"""Every layer that tfopt can cut: the smaller model gives what the original gives without the channels."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.sparsity.structured.reference import assert_same, inputs_of, outputs, scrambled, silence, some_groups
from tfopt.sparsity.structured.dependency_graph import read
from tfopt.sparsity.structured.propagation import TABLE
from tfopt.sparsity.structured.surgery import cut


def on(function, *shapes, dtype=None):
    """A functional model of a function of its inputs."""
    inputs = [layers.Input(shape, dtype=dtype) for shape in shapes]
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, function(*inputs))


def between(shape, *stack):
    """A Dense that makes channels, the layers, and a Dense that reads theirs."""
    return keras.Sequential([layers.Input((*shape, 3)), layers.Dense(8), *stack, layers.Dense(3)])


def through(operation):
    return on(lambda x: layers.Dense(3)(operation(layers.Dense(8)(x))), (5,))


def merged(merge, shape=(6, 6)):
    makers = [layers.Dense(8, activation="relu", name=name) for name in ("one", "other")]
    return on(lambda x: layers.Dense(3)(merge([maker(x) for maker in makers])), (*shape, 3))


def shared(layer, merge=layers.Concatenate, shape=(7, 7)):
    """A layer called on the channels of two makers."""

    def model(a, b):
        made = [layer(layers.Dense(8)(x)) for x in (a, b)]
        return layers.Dense(3)(merge()(made))

    return on(model, (*shape, 3), (*shape, 3))


def squeezed(reduced, multiply):
    def model(x):
        x = layers.Conv2D(8, 3)(x)
        gate = layers.Dense(4, activation="relu")(reduced(x))
        return layers.Conv2D(3, 1)(multiply([x, layers.Dense(8, activation="sigmoid")(gate)]))

    return on(model, (7, 7, 3))


def residual(**settings):
    def model(x):
        x = layers.Conv2D(8, 3)(x)
        inner = layers.Conv2D(8, 3, padding="same", **settings)(x)
        return layers.Conv2D(3, 1)(layers.Add()([x, layers.ReLU()(layers.BatchNormalization()(inner))]))

    return on(model, (7, 7, 3))


def states(kind):
    def model(x):
        out, *handed = getattr(layers, kind)(8, return_sequences=True, return_state=True)(x)
        return layers.Dense(3)(getattr(layers, kind)(8)(layers.Dense(6)(out), initial_state=handed))

    return on(model, (5, 4))


def embedded(*stack):
    def model(x):
        for layer in (layers.Embedding(4, 8, mask_zero=True), *stack):
            x = layer(x)
        return layers.Dense(3)(x)

    return on(model, (5,), dtype="int32")


def encoder_and_decoder():
    embedding = layers.Embedding(4, 6, mask_zero=True)

    def model(source, target):
        _, *handed = layers.LSTM(8, return_state=True)(embedding(source))
        return layers.Dense(3)(layers.LSTM(8, return_sequences=True)(embedding(target), initial_state=handed))

    return on(model, (5,), (5,), dtype="int32")


def ways(mode):
    def model(x):
        both = layers.Bidirectional(layers.LSTM(6, return_sequences=True), merge_mode=mode)(layers.Dense(8)(x))
        return layers.Dense(3)(layers.Concatenate()(both) if mode is None else both)

    return on(model, (5, 4))


def attention(query=(5, 6), value=None, key=None, causal=False, **settings):
    """Attention of a sequence to itself, or to others."""

    def model(*inputs):
        given = dict(zip(("query", "value", "key"), (layers.Dense(8)(x) for x in inputs), strict=False))
        given.setdefault("value", given["query"])
        layer = layers.MultiHeadAttention(4, 3, **settings)
        return layers.Dense(3)(layer(given.pop("query"), **given, use_causal_mask=causal))

    return on(model, *(shape for shape in (query, value, key) if shape))


def transformer():
    def model(x):
        x = layers.Dense(8)(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)])
        x = layers.Add()([x, layers.Dense(8)(layers.Dense(16, activation="gelu")(x))])
        return layers.Dense(3)(x)

    return on(model, (5, 6))


def block():
    """A model to be part of others."""
    return on(lambda x: layers.Dense(8)(layers.ReLU()(layers.BatchNormalization()(layers.Dense(6)(x)))), (8,))


def chained(*parts, **settings):
    """A functional model that calls its parts one after the other."""

    def model(x):
        x = layers.Dense(8)(x)
        for part in parts:
            x = layers.ReLU()(part(x, **settings))
        return layers.Dense(3)(x)

    return on(model, (5,))


def nested_in_nested():
    inner = keras.Sequential([layers.Input((8,)), layers.Dense(8), layers.PReLU()])
    return chained(on(lambda x: layers.Add()([x, inner(layers.Dense(8)(x))]), (8,)))


def several_tensors():
    inner = on(lambda a, b: [layers.Dense(6)(layers.Concatenate()([a, b])), layers.ReLU()(a)], (8,), (4,))
    return on(lambda x: layers.Dense(3)(layers.Concatenate()(inner([layers.Dense(8)(x), layers.Dense(4)(x)]))), (5,))


def towers():
    tower = on(lambda x: layers.Dense(8)(layers.Embedding(4, 6)(x)), (), dtype="int32")
    return on(lambda x: layers.Dense(3)(tower(x)), (), dtype="int32")


IMAGE, SERIES, VOLUME = (8, 8), (8,), (4, 4, 4)
PLACES = {1: SERIES, 2: IMAGE, 3: VOLUME}
POOLING = {"MaxPooling": (2,), "AveragePooling": (2,), "GlobalMaxPooling": (), "GlobalAveragePooling": ()}
RECURRENT = {
    "LSTM": ("LSTM", {}),
    "GRU": ("GRU", {"reset_after": True}),
    "GRU, reset before": ("GRU", {"reset_after": False}),
    "SimpleRNN": ("SimpleRNN", {"use_bias": False}),
}

# Layers for `between`, and the places of their channels.
SINGLE = {
    "Dense": ((), lambda: [layers.Dense(7, activation="relu")]),
    "Dense without a bias": (SERIES, lambda: [layers.Dense(7, use_bias=False)]),
    "Conv1D": (SERIES, lambda: [layers.Conv1D(6, 3, padding="causal", dilation_rate=2)]),
    "Conv2D": (IMAGE, lambda: [layers.Conv2D(6, 3, strides=2, padding="same", activation="swish")]),
    "Conv2D without a bias": (IMAGE, lambda: [layers.Conv2D(6, 3, use_bias=False)]),
    "Conv3D": (VOLUME, lambda: [layers.Conv3D(6, 2)]),
    "grouped Conv1D": (SERIES, lambda: [layers.Conv1D(8, 3, groups=2)]),
    "grouped Conv2D": (IMAGE, lambda: [layers.Conv2D(12, 3, groups=4)]),
    "grouped Conv2D twice": (IMAGE, lambda: [layers.Conv2D(24, 3, groups=2), layers.Conv2D(12, 3, groups=4)]),
    "grouped Conv3D": (VOLUME, lambda: [layers.Conv3D(6, 2, groups=2)]),
    "Conv1DTranspose": (SERIES, lambda: [layers.Conv1DTranspose(6, 3, strides=2)]),
    "Conv2DTranspose": (IMAGE, lambda: [layers.Conv2DTranspose(6, 3, strides=2, padding="same")]),
    "Conv3DTranspose": (VOLUME, lambda: [layers.Conv3DTranspose(6, 2, use_bias=False)]),
    "DepthwiseConv1D": (SERIES, lambda: [layers.DepthwiseConv1D(3, activation="relu")]),
    "DepthwiseConv1D of two": (SERIES, lambda: [layers.DepthwiseConv1D(3, depth_multiplier=2)]),
    "DepthwiseConv2D": (IMAGE, lambda: [layers.DepthwiseConv2D(3, use_bias=False)]),
    "DepthwiseConv2D of two": (IMAGE, lambda: [layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2)]),
    "SeparableConv1D": (SERIES, lambda: [layers.SeparableConv1D(6, 3)]),
    "SeparableConv2D": (IMAGE, lambda: [layers.SeparableConv2D(6, 3, activation="relu")]),
    "SeparableConv2D of two": (IMAGE, lambda: [layers.SeparableConv2D(6, 3, depth_multiplier=2, use_bias=False)]),
    "BatchNormalization": (IMAGE, lambda: [layers.BatchNormalization()]),
    "BatchNormalization of a vector": ((), lambda: [layers.BatchNormalization(axis=1, scale=False)]),
    "BatchNormalization without a shift": (SERIES, lambda: [layers.BatchNormalization(center=False)]),
    "GroupNormalization of each channel": (IMAGE, lambda: [layers.GroupNormalization(-1)]),
    "GroupNormalization of as many groups": (IMAGE, lambda: [layers.GroupNormalization(8, scale=False)]),
    "PReLU": (IMAGE, lambda: [layers.PReLU()]),
    "PReLU over places": (IMAGE, lambda: [layers.PReLU(shared_axes=[1, 2])]),
    "PReLU over all": (IMAGE, lambda: [layers.PReLU(shared_axes=[1, 2, 3])]),
    "TimeDistributed Dense": ((4,), lambda: [layers.TimeDistributed(layers.Dense(7))]),
    "TimeDistributed Conv2D": (
        (2, 6, 6),
        lambda: [
            layers.TimeDistributed(layer)
            for layer in (layers.Conv2D(6, 3), layers.BatchNormalization(), layers.Reshape((16, 6)), layers.Flatten())
        ],
    ),
    **{
        f"{name}{', sequences' * sequences}": (
            SERIES,
            lambda kind=kind, more=more, s=sequences: [getattr(layers, kind)(6, return_sequences=s, **more)],
        )
        for name, (kind, more) in RECURRENT.items()
        for sequences in (False, True)
    },
    "ReLU": ((), lambda: [layers.ReLU(6.0, 0.1)]),
    "LeakyReLU": ((), lambda: [layers.LeakyReLU(0.3)]),
    "ELU": ((), lambda: [layers.ELU()]),
    "Activation": ((), lambda: [layers.Activation("gelu")]),
    "a layer as activation": ((), lambda: [layers.Dense(7, activation=layers.LeakyReLU(0.2))]),
    "Dropout": ((), lambda: [layers.Dropout(0.3)]),
    "Dropout of whole channels": (SERIES, lambda: [layers.Dropout(0.3, noise_shape=(None, 1, None))]),
    **{
        f"SpatialDropout{rank}D": (shape, lambda rank=rank: [getattr(layers, f"SpatialDropout{rank}D")(0.3)])
        for rank, shape in PLACES.items()
    },
    "AlphaDropout": ((), lambda: [layers.AlphaDropout(0.3)]),
    "GaussianDropout": ((), lambda: [layers.GaussianDropout(0.3)]),
    "GaussianNoise": ((), lambda: [layers.GaussianNoise(0.3)]),
    "ActivityRegularization": ((), lambda: [layers.ActivityRegularization(0.1)]),
    "Identity": ((), lambda: [layers.Identity()]),
    **{
        f"{name}{rank}D": (shape, lambda name=f"{name}{rank}D", size=size: [getattr(layers, name)(*size)])
        for rank, shape in PLACES.items()
        for name, size in POOLING.items()
    },
    **{
        f"{name}{rank}D": (shape, lambda name=f"{name}{rank}D": [getattr(layers, name)(), layers.Flatten()])
        for rank, shape in PLACES.items()
        for name in ("ZeroPadding", "Cropping", "UpSampling")
    },
    "Flatten": (IMAGE, lambda: [layers.Flatten()]),
    "Flatten of a vector": ((), lambda: [layers.Flatten()]),
    "Reshape of places": (IMAGE, lambda: [layers.Reshape((4, -1, 8))]),
    "Reshape to a vector and back": (SERIES, lambda: [layers.Reshape((64,)), layers.Dense(6), layers.Reshape((1, 6))]),
    "Permute": (IMAGE, lambda: [layers.ZeroPadding2D((1, 0)), layers.Permute((2, 1, 3)), layers.Flatten()]),
    "RepeatVector": ((), lambda: [layers.RepeatVector(3), layers.Flatten()]),
    "Rescaling": (IMAGE, lambda: [layers.Rescaling(0.5, 0.1)]),
}

ALONE = ("relu", "relu6", "silu", "sigmoid", "hard_sigmoid", "hard_silu", "gelu", "tanh", "elu", "selu", "leaky_relu")
OPERATIONS = {
    **{f"ops.{name}": getattr(ops, name) for name in (*ALONE, "softplus", "softsign")},
    **{f"ops.{name}": getattr(ops, name) for name in ("abs", "square", "exp", "negative", "stop_gradient")},
    "ops.sqrt": lambda x: ops.sqrt(ops.abs(x) + 1.0),
    "ops.cast": lambda x: ops.cast(ops.cast(x, "float64"), "float32"),
    "ops.clip": lambda x: ops.clip(x, -0.5, 0.5),
    "numbers": lambda x: 1.0 - 2.0 * ops.maximum(x, 0.1),
}

MERGES = {
    **{name: lambda xs, name=name: getattr(layers, name)()(xs) for name in ("Add", "Subtract", "Multiply", "Average")},
    **{name: lambda xs, name=name: getattr(layers, name)()(xs) for name in ("Maximum", "Minimum", "Concatenate")},
    "Concatenate of places": lambda xs: layers.Concatenate(axis=1)(xs),
    "ops.add": lambda xs: xs[0] + xs[1],
    "ops.subtract": lambda xs: xs[0] - xs[1],
    "ops.multiply": lambda xs: xs[0] * xs[1],
    "ops.minimum": lambda xs: ops.minimum(*xs),
    "ops.concatenate": lambda xs: ops.concatenate(xs, axis=-1),
    "ops.concatenate of places": lambda xs: ops.concatenate(xs, axis=2),
    "a channel with itself": lambda xs: layers.Concatenate()([layers.Add()([xs[0], xs[0]]), xs[0], xs[1]]),
    "one channel on all": lambda xs: layers.Multiply()([layers.Dense(1, name="gate")(xs[0]), xs[1]]),
    "a vector on a picture": lambda xs: layers.Add()([layers.GlobalMaxPooling2D()(xs[0]), xs[1]]),
}

SHARED = {
    "Conv2D": lambda: shared(layers.Conv2D(6, 3)),
    "Conv2D, added": lambda: shared(layers.Conv2D(6, 3), layers.Add),
    "grouped Conv2D": lambda: shared(layers.Conv2D(6, 3, groups=2)),
    "DepthwiseConv2D": lambda: shared(layers.DepthwiseConv2D(3, depth_multiplier=2)),
    "SeparableConv2D": lambda: shared(layers.SeparableConv2D(6, 3)),
    "BatchNormalization": lambda: shared(layers.BatchNormalization()),
    "PReLU": lambda: shared(layers.PReLU()),
    "Reshape": lambda: shared(layers.Reshape((49, 8))),
    "LSTM": lambda: shared(layers.LSTM(6), shape=(7,)),
    "Bidirectional": lambda: shared(layers.Bidirectional(layers.LSTM(6)), shape=(7,)),
    "TimeDistributed": lambda: shared(layers.TimeDistributed(layers.Dense(6)), shape=(7,)),
    "Dense on its own output": lambda: on(
        lambda x: layers.Dense(3)((layer := layers.Dense(8))(layer(layers.Dense(8)(x)))), (5,)
    ),
}

NESTED = {
    "once": lambda: chained(block()),
    "twice over": nested_in_nested,
    "called twice": lambda: chained(*[block()] * 2),
    "two of them": lambda: chained(block(), block()),
    "as in inference": lambda: chained(block(), training=False),
    "a Sequential": lambda: chained(keras.Sequential([layers.Input((8,)), layers.Dense(6), layers.ReLU()])),
    "in a Sequential": lambda: between((), block(), layers.ReLU()),
    "with several inputs and outputs": several_tensors,
    "on numbers": towers,
}

OTHERS = {
    "squeeze and excite": lambda: squeezed(layers.GlobalAveragePooling2D(keepdims=True), layers.Multiply()),
    "squeeze and excite, reshaped": lambda: squeezed(
        lambda x: layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(x)), lambda xs: xs[0] * xs[1]
    ),
    "residual": residual,
    "residual, grouped": lambda: residual(groups=2),
    "Embedding": lambda: on(lambda x: layers.Dense(3)(layers.Embedding(4, 8)(x)), (5,), dtype="int32"),
    "Embedding of one number": lambda: on(lambda x: layers.Dense(3)(layers.Embedding(4, 8)(x)), (), dtype="int32"),
    "masked LSTM": lambda: embedded(layers.LSTM(5)),
    "masked Bidirectional": lambda: embedded(layers.Bidirectional(layers.GRU(5))),
    "Masking": lambda: on(lambda x: layers.Dense(3)(layers.LSTM(8)(layers.Masking()(x))), (5, 4)),
    "states of an LSTM": lambda: states("LSTM"),
    "states of a GRU": lambda: states("GRU"),
    "encoder and decoder": encoder_and_decoder,
    **{f"Bidirectional {mode}": lambda mode=mode: ways(mode) for mode in ("concat", "sum", "mul", "ave", None)},
    "Bidirectional of two layers": lambda: between(
        SERIES, layers.Bidirectional(layers.LSTM(6), backward_layer=layers.GRU(6, go_backwards=True))
    ),
    "MultiHeadAttention": attention,
    "attention of other sizes": lambda: attention(value_dim=5, output_shape=7, use_bias=False),
    "attention across": lambda: attention(value=(7, 4)),
    "attention with a key": lambda: attention(value=(7, 4), key=(7, 3)),
    "attention to the past": lambda: attention(causal=True),
    "attention over a picture": lambda: attention((3, 4, 6), attention_axes=(1, 2)),
    "transformer": transformer,
}

MODELS = {
    **{name: lambda shape=shape, made=made: between(shape, *made()) for name, (shape, made) in SINGLE.items()},
    **{name: lambda operation=operation: through(operation) for name, operation in OPERATIONS.items()},
    **{f"merged: {name}": lambda merge=merge: merged(merge) for name, merge in MERGES.items()},
    **{f"shared: {name}": model for name, model in SHARED.items()},
    **{f"nested: {name}": model for name, model in NESTED.items()},
    **OTHERS,
}


@functools.cache
def built(name):
    return scrambled(MODELS[name]())


def parts(model):
    """All layers of a model, those within others too, but for itself and what an attention makes without a name."""
    found = [layer for layer in model._flatten_layers() if layer is not model]
    attentions = [layer for layer in found if isinstance(layer, layers.MultiHeadAttention)]
    hidden = {id(part) for attention in attentions for part in (attention._softmax, attention._dropout_layer)}
    return [layer for layer in found if id(layer) not in hidden]


def own_size(layer):
    return sum(int(np.prod(weight.shape)) for weight in layer._trainable_variables + layer._non_trainable_variables)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.sample(40)
def test_a_cut_model_is_the_original_without_some_channels(name):
    model = built(name)
    structure, x = read(model), inputs_of(model)
    before = model.get_weights()
    drop = some_groups(structure)
    smaller = cut(structure, drop)
    for value, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)
    expected = outputs(silence(model, drop), x)
    model.set_weights(before)  # it is shared
    for got, value in zip(outputs(smaller, x), expected, strict=True):
        np.testing.assert_allclose(got, value, atol=1e-5)
    old, new = parts(model), parts(smaller)
    assert [(type(layer), layer.name) for layer in new] == [(type(layer), layer.name) for layer in old]
    assert (type(smaller), smaller.name) == (type(model), model.name)
    sizes = {layer.name: (own_size(layer), own_size(made)) for layer, made in zip(old, new, strict=True)}
    assert {name for name, (full, left) in sizes.items() if full > 1 and left >= full} == set()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.sample(8)
def test_a_cut_model_is_saved_and_goes_on_training(name, tmp_path):
    model = built(name)
    structure, x = read(model), inputs_of(model)
    smaller = cut(structure, some_groups(structure))
    smaller.save(tmp_path / "model.keras")
    assert_same(keras.models.load_model(tmp_path / "model.keras"), smaller, x, atol=1e-6)
    smaller.compile("sgd", "mse", run_eagerly=True)
    trained = smaller.fit(x, [np.zeros_like(out) for out in outputs(smaller, x)], batch_size=4, verbose=0)
    assert np.isfinite(trained.history["loss"]).all()


def layer_norm(x, layer):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + layer.epsilon) * layer.gamma.numpy() + layer.beta.numpy()


def rms_norm(x, layer):
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + layer.epsilon) * layer.scale.numpy()


def group_norm(x, layer):
    parts = x.reshape(len(x), -1, layer.groups, x.shape[-1] // layer.groups)
    mean, variance = parts.mean((1, 3), keepdims=True), parts.var((1, 3), keepdims=True)
    even = ((parts - mean) / np.sqrt(variance + layer.epsilon)).reshape(x.shape)
    return even * layer.gamma.numpy() + layer.beta.numpy()


# Layers whose statistics are over channels, so that they are others with fewer of these.
NORMALIZED = {
    "LayerNormalization": (lambda: layers.LayerNormalization(), layer_norm),
    "RMSNormalization": (lambda: layers.RMSNormalization(), rms_norm),
    "GroupNormalization": (lambda: layers.GroupNormalization(2), group_norm),
    "GroupNormalization of one group": (lambda: layers.GroupNormalization(1), group_norm),
}


@pytest.mark.parametrize("name", NORMALIZED)
def test_a_normalization_over_channels_is_over_those_that_are_left(name):
    made, normalized = NORMALIZED[name]
    model = scrambled(between(SERIES, made()))
    structure, x = read(model), inputs_of(model)
    drop = some_groups(structure)
    smaller = cut(structure, drop)
    first, layer, last = smaller.layers
    kept = np.flatnonzero(structure.left(drop)[structure.flows[id(model.layers[0])].outputs[0]])
    assert 0 < len(kept) < 8
    for old, new, axis in ((model.layers[0].kernel, first.kernel, 1), (model.layers[2].kernel, last.kernel, 0)):
        np.testing.assert_array_equal(new, np.take(old, kept, axis=axis))
    for old, new in zip(model.layers[1].weights, layer.weights, strict=True):
        np.testing.assert_array_equal(new, old.numpy()[kept])
    hidden = x @ first.kernel.numpy() + first.bias.numpy()
    expected = normalized(hidden, layer) @ last.kernel.numpy() + last.bias.numpy()
    np.testing.assert_allclose(smaller(x), expected, atol=1e-5)


def test_every_layer_that_the_table_knows_is_in_one_of_the_models():
    unmet = {kind for kind in TABLE if isinstance(kind, str)}
    unmet -= {type(made()).__name__ for made, _ in NORMALIZED.values()}
    for named in (True, False):  # models of a kind's name come first, so that few have to be built
        for name in MODELS:
            plain = name.lower().replace("_", "")
            if any(not named or kind.lower() in plain for kind in unmet):
                unmet -= {call.kind for call in read(built(name)).calls}
    assert unmet == set()
