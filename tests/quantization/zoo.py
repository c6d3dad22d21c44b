"""Small Keras 3 models of every kind, each with samples that suit it."""

import keras
import numpy as np
from keras import layers

from tfopt.models import signature
from tfopt.tflite.interpreter import Runner

SAMPLES = 48
ZOO = {}


def member(*names, **settings):
    """Enters a builder into the zoo, by its own name in words unless told otherwise."""

    def enter(builder):
        for name in names or (builder.__name__.replace("_", " "),):
            ZOO[name] = (lambda name=name: builder(name)) if len(names) > 1 else builder
        return builder

    return enter


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def chain(shape, *stack):
    """A model of layers in a row, its batch normalizations with statistics as after training; and normal samples."""
    model = keras.Sequential([layers.Input(shape), *stack])
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model, normal(SAMPLES, *shape)


@member()
def dense():
    return chain((6,), layers.Dense(16, activation="relu"), layers.Dense(4, activation="softmax"))


@member()
def conv1d_causal_dilated():
    conv = layers.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu")
    return chain((16, 4), conv, layers.MaxPooling1D(), layers.GlobalAveragePooling1D(), layers.Dense(3))


@member()
def conv2d():
    conv = layers.Conv2D(8, 3, activation="relu", bias_initializer="normal")
    return chain((8, 8, 1), conv, layers.Flatten(), layers.Dense(4, activation="softmax"))


@member()
def conv2d_transpose():
    return chain((6, 6, 3), layers.Conv2DTranspose(4, 3, strides=2, activation="relu"), layers.Conv2D(2, 3))


@member()
def depthwise():
    return chain((8, 8, 3), layers.DepthwiseConv2D(3), layers.ReLU(6.0), layers.Flatten(), layers.Dense(3))


@member()
def separable():
    return chain((8, 8, 3), layers.SeparableConv2D(6, 3, activation="relu"), layers.Flatten(), layers.Dense(3))


@member()
def grouped_conv():
    return chain((8, 8, 4), layers.Conv2D(8, 3, groups=2, activation="relu"), layers.Flatten(), layers.Dense(3))


@member()
def residual():
    x = layers.Input((8, 8, 4))
    h = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    h = layers.Add()([x, layers.Conv2D(4, 3, padding="same")(h)])
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.ReLU()(h)))), normal(SAMPLES, 8, 8, 4)


@member()
def concat():
    x = layers.Input((8, 8, 3))
    h = layers.Concatenate()([layers.Conv2D(4, 1)(x), layers.Conv2D(4, 3, padding="same")(x), layers.AvgPool2D(1)(x)])
    return keras.Model(x, layers.Conv2D(2, 3)(h)), normal(SAMPLES, 8, 8, 3)


@member()
def batch_normalization():
    stack = [layers.Conv2D(6, 3, use_bias=False), layers.BatchNormalization(), layers.ReLU(), layers.Flatten()]
    return chain((8, 8, 3), *stack, layers.BatchNormalization(), layers.Dense(4), layers.BatchNormalization())


@member("swish", "gelu", "hard_swish", "elu")
def activation(name):
    return chain((8, 8, 3), layers.Conv2D(6, 3), layers.Activation(name), layers.Flatten(), layers.Dense(3))


@member()
def prelu_and_leaky_relu():
    slopes = layers.PReLU(alpha_initializer=keras.initializers.Constant(0.2), shared_axes=(1, 2))
    stack = [layers.Conv2D(6, 3), slopes, layers.Conv2D(4, 3), layers.LeakyReLU(0.1)]
    return chain((8, 8, 3), *stack, layers.Flatten(), layers.Dense(3))


@member()
def layer_normalization():
    return chain((6, 8), layers.Dense(8), layers.LayerNormalization(), layers.GlobalAveragePooling1D(), layers.Dense(3))


@member()
def group_normalization():
    return chain((8, 8, 4), layers.Conv2D(8, 3), layers.GroupNormalization(4), layers.ReLU(), layers.Conv2D(3, 3))


@member()
def embedding():
    stack = [layers.Embedding(50, 8), layers.GlobalAveragePooling1D(), layers.Dense(3)]
    model = keras.Sequential([layers.Input((10,), dtype="int32"), *stack])
    return model, np.random.default_rng(0).integers(0, 50, (SAMPLES, 10)).astype(np.int32)


@member()
def lstm():
    return chain((6, 4), layers.LSTM(5), layers.Dense(2))


@member()
def gru():
    return chain((6, 4), layers.GRU(5), layers.Dense(2))


@member()
def bidirectional_lstm():
    return chain((6, 4), layers.Bidirectional(layers.LSTM(5, return_sequences=True)), layers.Flatten(), layers.Dense(2))


@member()
def lstm_of_unknown_length():
    return keras.Sequential([layers.Input((None, 4)), layers.LSTM(5), layers.Dense(2)]), normal(SAMPLES, 6, 4)


@member()
def lstm_unrolled():
    return chain((6, 4), layers.LSTM(5, unroll=True), layers.Dense(2))


@member()
def gru_unrolled():
    return chain((6, 4), layers.GRU(5, unroll=True), layers.Dense(2))


@member()
def conv_lstm2d():
    return chain((3, 6, 6, 2), layers.ConvLSTM2D(3, 3), layers.Flatten(), layers.Dense(2))


@member()
def time_distributed():
    inner = layers.TimeDistributed(layers.Conv2D(4, 3, activation="relu"))
    return chain((3, 6, 6, 2), inner, layers.TimeDistributed(layers.Flatten()), layers.TimeDistributed(layers.Dense(2)))


@member()
def attention():
    x = layers.Input((6, 8))
    h = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)]))
    h = layers.Add()([h, layers.Dense(8)(layers.Dense(16, activation="gelu")(h))])
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(h))), normal(SAMPLES, 6, 8)


@member("lists in and out", "dicts in and out")
def two_sided(name):
    b, a = layers.Input((4,), name="b"), layers.Input((6,), name="a")
    h = layers.Concatenate()([layers.Dense(8, activation="relu")(b), layers.Dense(8, activation="relu")(a)])
    z, y = layers.Dense(3, name="z")(h), layers.Dense(2, name="y")(layers.Dense(5, activation="tanh")(h))
    samples = {"a": normal(SAMPLES, 6), "b": normal(SAMPLES, 4)}
    if name.startswith("lists"):
        return keras.Model([b, a], [z, y]), samples
    return keras.Model({"b": b, "a": a}, {"z": z, "y": y}), samples


@member()
def shared_layer():
    a, b, twin = layers.Input((6,), name="a"), layers.Input((6,), name="b"), layers.Dense(5, activation="relu")
    model = keras.Model([a, b], layers.Dense(2)(layers.Subtract()([twin(a), twin(b)])))
    return model, [normal(SAMPLES, 6), -normal(SAMPLES, 6)]


class Stack(keras.Model):
    """Blocks of two dense layers."""

    def __init__(self, units=(8, 3)):
        super().__init__()
        self.blocks = [layers.Dense(n, activation="relu") for n in units]

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@member()
def subclassed():
    model, x = Stack(), normal(SAMPLES, 5)
    model(x[:1])
    return model, x


class Pair(keras.Model):
    """Takes and gives dicts."""

    def __init__(self):
        super().__init__()
        self.one, self.two = layers.Dense(3), layers.Dense(2)

    def call(self, inputs):
        return {"sum": self.one(inputs["p"]) + self.one(inputs["q"]), "alone": self.two(inputs["q"])}


@member()
def subclassed_with_dicts():
    model, samples = Pair(), {"p": normal(SAMPLES, 4), "q": normal(SAMPLES, 4) * 2}
    model({name: array[:1] for name, array in samples.items()})
    return model, samples


@member()
def nested():
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(8)], name="inner")
    x = layers.Input((6,))
    return keras.Model(x, layers.Dense(2)(inner(x))), normal(SAMPLES, 6)


class Gate(layers.Layer):
    """A weight of its own, and ops of Keras."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 4), initializer="glorot_uniform", name="kernel")

    def call(self, x):
        h = keras.ops.matmul(x, self.kernel)
        return h * keras.ops.sigmoid(h)


@member()
def custom_layer():
    return chain((6,), Gate(), layers.Dense(3))


@member()
def augmentation_inside():
    stack = [layers.RandomFlip(), layers.RandomRotation(0.2), layers.GaussianNoise(1.0), layers.Conv2D(4, 3)]
    return chain((8, 8, 1), *stack, layers.Flatten(), layers.Dropout(0.5), layers.Dense(2))


@member("lambda")
def with_lambda():
    return chain((6,), layers.Dense(8), layers.Lambda(lambda x: keras.ops.abs(x) * 2.0), layers.Dense(3))


@member()
def image_of_any_size():
    stack = [layers.Conv2D(6, 3, activation="relu"), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    return keras.Sequential([layers.Input((None, None, 3)), *stack]), normal(SAMPLES, 10, 12, 3)


@member("mixed float16", "mixed bfloat16")
def mixed_precision(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name.replace(" ", "_"))
    try:
        return chain((8, 8, 3), layers.Conv2D(6, 3, activation="relu"), layers.Flatten(), layers.Dense(3))
    finally:
        keras.config.set_dtype_policy(before)


@member()
def conv3d():
    return chain((5, 5, 5, 2), layers.Conv3D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3))


@member()
def max_pooling_3d():
    return chain((6, 6, 6, 1), layers.Conv3D(2, 3), layers.MaxPooling3D(2))


@member()
def upsampling():
    stack = [layers.Conv2D(4, 3), layers.UpSampling2D(2), layers.Resizing(9, 9), layers.Conv2D(2, 3)]
    return chain((8, 8, 3), *stack)


@member()
def normalization():
    norm, x = layers.Normalization(), normal(SAMPLES, 8, 8, 3) * 4 + 2
    norm.adapt(x)
    return chain((8, 8, 3), norm, layers.Rescaling(0.5), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3))[0], x


def build(name):
    """A member of the zoo, of the same weights each time."""
    keras.utils.set_random_seed(5)
    return ZOO[name]()


def by_name(model, samples):
    """Samples as a dict by the model's input names."""
    if isinstance(samples, dict):
        return samples
    names = [tensor.name for tensor in getattr(model, "inputs", None) or []] or ["input"]
    return dict(zip(names, samples if isinstance(samples, list) else [samples], strict=True))


def errors(content, model, samples):
    """The largest error of each output of a file, as a share of the largest value that Keras gives it."""
    feed = by_name(model, samples)
    got, expected = Runner(content)(feed), signature.call(model, feed)
    assert list(got) == list(expected)
    pairs = {n: (got[n], keras.ops.convert_to_numpy(value).astype(np.float32)) for n, value in expected.items()}
    return {name: float(np.abs(mine - theirs).max() / np.abs(theirs).max()) for name, (mine, theirs) in pairs.items()}


def error(content, model, samples):
    """The largest of `errors`."""
    return max(errors(content, model, samples).values())


def markdown(outcomes, modes):
    """The table of what converts, for a reader.

    Args:
        outcomes: By the model's name one cell for each mode.
        modes: The heads of the columns.
    """
    rows = [("model", *modes), ("---",) * (len(modes) + 1), *((name, *cells) for name, cells in outcomes.items())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
