"""Refusals of the converter, in one line: the layer or operation by name, the rule, the way out."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from tfopt.errors import ConversionError, ModelError
from tfopt.quantization import convert, quantize_aware, rank_layers

WORDS = np.array([["a"], ["b"], ["z"]] * 4)


class Sample(layers.Layer):
    def __init__(self, **rest):
        super().__init__(**rest)
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, mean):
        return mean + keras.random.normal(ops.shape(mean), seed=self.seeds)


class Noise(layers.Layer):
    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


class AlwaysDropout(layers.Dropout):
    def call(self, x, training=None):
        return super().call(x, training=True)


class Counter(layers.Layer):
    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.count.assign_add(1.0)
        return x * self.count


class Product(layers.Layer):
    def call(self, x):
        return ops.cumprod(x, -1)


class Raises(layers.Layer):
    def call(self, x):
        if not isinstance(x, keras.KerasTensor):
            raise RuntimeError("a reason of its own")
        return x

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


class Asks(Raises):
    def call(self, x):
        return x if ops.sum(x) > 0 else -x


def behind(function):
    inputs = layers.Input((8,))
    return keras.Model(inputs, function(layers.Dense(5)(inputs)))


def open_image(layer):
    inputs = layers.Input((None, None, 3))
    return keras.Model(inputs, layer(inputs))


def within(layer):
    inner = keras.Sequential([layers.Input((5,)), layer], name="inner")
    return behind(inner)


OPERATIONS = {
    "erfinv": lambda: behind(lambda x: ops.erfinv(ops.tanh(x))),
    "cumprod": lambda: behind(lambda x: ops.cumprod(x, -1)),
    "qr": lambda: behind(lambda x: ops.qr(ops.reshape(x, (-1, 1, 5)))[1]),
    "fft": lambda: behind(lambda x: ops.fft((x, x))[0]),
    "search_sorted": lambda: behind(
        lambda x: ops.searchsorted(np.array([0.0, 1.0], np.float32), ops.reshape(x, (-1,)))
    ),
}
NAMED = {
    "random": (lambda: behind(Sample(name="drawn")), r"layer 'drawn' \(Sample\) draws random numbers.*give the mean"),
    "random inside": (lambda: within(Sample(name="drawn")), r"layer 'inner/drawn' \(Sample\) draws random"),
    "dropout": (lambda: behind(AlwaysDropout(0.3, name="on")), r"layer 'on' \(AlwaysDropout\) draws random numbers"),
    "noise of TFLite": (lambda: behind(Noise(name="noise")), r"layer 'noise' \(Noise\) draws random numbers"),
    "state": (lambda: behind(Counter(name="count")), r"layer 'count' \(Counter\) changes a variable at inference"),
    "layer": (lambda: within(Product(name="product")), r"layer 'inner/product' \(Product\) computes with tf\.Cumprod"),
    "size": (
        lambda: open_image(layers.UpSampling2D(2, interpolation="bilinear", name="up")),
        r"layer 'up' \(UpSampling2D\) computes with the size of its input.*Input of a fixed size",
    ),
    "value": (lambda: behind(Asks(name="asks")), r"layer 'asks' \(Asks\) takes the value of a tensor for a Python if"),
    "its own": (lambda: behind(Raises(name="raises")), r"layer 'raises' \(Raises\): a reason of its own"),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.sample(2)
def test_an_operation_that_tflite_does_not_have_is_named(name, one_line):
    model = OPERATIONS[name]()
    with pytest.raises(ConversionError) as caught:
        convert(model, "float32")
    [operation] = [o for o in model.operations if o.name.rstrip("_0123456789") == name]
    assert f"the operation {operation.name!r} ({type(operation).__name__}) computes with tf." in one_line(caught)
    assert "compute it with other operations" in one_line(caught)


@pytest.mark.parametrize("case", NAMED)
def test_a_refusal_names_the_layer_and_the_way_out(case, one_line):
    make, sentence = NAMED[case]
    with pytest.raises(ConversionError, match=sentence) as caught:
        convert(make(), "float32")
    one_line(caught)


def test_what_a_subclassed_model_computes_itself_is_of_the_model():
    class Whole(keras.Model):
        def call(self, x):
            return ops.cumprod(x, -1)

    model, x = Whole(name="whole"), np.ones((4, 3), np.float32)
    model(x)
    with pytest.raises(ConversionError, match=r"the model 'whole' \(Whole\) computes with tf\.Cumprod"):
        convert(model, "float32", x)


# Text and tables


def looked_up(layer, dtype="string"):
    inputs = layers.Input((1,), dtype=dtype, name="words")
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.Embedding(9, 3)(layer(inputs)))))


TABLES = {
    "StringLookup": (lambda: layers.StringLookup(vocabulary=["a", "b"]), "string"),
    "TextVectorization": (lambda: layers.TextVectorization(vocabulary=["a"], output_sequence_length=2), "string"),
    "Hashing": (lambda: layers.Hashing(4), "string"),
    "IntegerLookup": (lambda: layers.IntegerLookup(vocabulary=[0, 1, 2, 3]), "int32"),
}


@pytest.mark.parametrize("samples", [False, True])
@pytest.mark.parametrize("kind", TABLES)
def test_a_layer_of_text_or_of_a_table_is_named(kind, samples, one_line):
    make, dtype = TABLES[kind]
    model = looked_up(make(), dtype)
    x = WORDS if dtype == "string" else np.arange(12, dtype=np.int32).reshape(12, 1) % 4
    with pytest.raises((ModelError, ConversionError)) as caught:
        convert(model, "int8" if samples else "float32", x if samples else None)
    assert f"({kind}) takes text, or looks ids up or hashes them" in one_line(caught)
    assert "Give the part of the model behind it" in one_line(caught)


def test_hashed_numbers_are_refused_like_text():
    with pytest.raises(ConversionError, match=r"\(Hashing\) takes text, or looks ids up or hashes them"):
        convert(looked_up(layers.Hashing(4), "int32"), "float32")


def test_text_is_refused_everywhere():
    model = looked_up(layers.StringLookup(vocabulary=["a", "b"]))
    for use in (
        lambda: rank_layers(model),
        lambda: rank_layers(model, WORDS),
        lambda: quantize_aware(model, "int8", calibration=WORDS),
    ):
        with pytest.raises(ModelError, match=r"\(StringLookup\) takes text"):
            use()


def test_text_without_a_layer_that_looks_up_is_refused_by_the_name_of_the_input():
    inputs = layers.Input((), dtype="string", name="words")
    lengths = layers.Lambda(lambda words: tf.cast(tf.strings.length(words), "float32")[:, None], output_shape=(1,))
    with pytest.raises(ModelError, match="the input 'words' takes text"):
        convert(keras.Model(inputs, layers.Dense(2)(lengths(inputs))), "float32")


def test_a_subclassed_model_is_refused_by_its_samples_and_only_where_it_looks_up():
    class Words(keras.Model):
        def __init__(self, looks):
            super().__init__()
            self.lookup, self.looks = layers.StringLookup(vocabulary=["a", "b"]), looks
            self.embedding, self.head = layers.Embedding(5, 3), layers.Dense(2)

        def call(self, x):
            return self.head(self.embedding(self.lookup(x))[:, 0] if self.looks else x)

    looking, other = Words(True), Words(False)
    looking(tf.constant(WORDS))
    x = np.eye(4, dtype=np.float32)
    other(x)
    with pytest.raises(ModelError, match=r"\(StringLookup\) takes text"):
        convert(looking, "float32", WORDS)
    assert convert(other, "float32", x)


# Sizes


@pytest.mark.parametrize("target", ["tflm", "ethos-u55-128"])
def test_an_open_size_is_refused_where_nothing_is_resized_with_a_size_to_write(target, one_line):
    inputs = layers.Input((None, None, 2), name="image")
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs))
    x = np.random.default_rng(0).random((4, 6, 5, 2), np.float32)
    with pytest.raises(ModelError, match=r"'image' has an open size \(None, None, 2\)") as caught:
        convert(model, "int8", x, target=target)
    assert one_line(caught).endswith("such as Input((6, 5, 2)).")
    assert convert(model, "int8", x)


# Outputs


def test_an_output_without_a_batch_is_refused_by_name(one_line):
    with pytest.raises(ConversionError, match="is one number for all samples of a batch") as caught:
        convert(behind(lambda x: ops.sum(x)), "float32")
    one_line(caught)
