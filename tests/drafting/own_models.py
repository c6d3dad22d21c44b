"""Ten small models, each as its user may have saved it, and a file of samples as its user may have written one."""

import keras
import numpy as np
from keras import layers

SAMPLES = 120


def _random(*shape):
    return np.random.default_rng(0).normal(size=(SAMPLES, *shape)).astype(np.float32)


def _ids(classes, *shape):
    return np.random.default_rng(1).integers(0, classes, (SAMPLES, *shape))


def vision():
    """Images of three classes; the four arrays that a recipe takes as they are."""
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    y = _ids(3)
    x = _random(8, 8)
    x[np.arange(SAMPLES), y] += 3
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=10, verbose=0)
    return model, {"x_train": x[:80], "y_train": y[:80], "x_test": x[80:], "y_test": y[80:]}


def token_ids():
    """Ids of words in; the arrays are not split."""
    model = keras.Sequential(
        [
            layers.Input((12,), dtype="int32", name="tokens"),
            layers.Embedding(50, 8),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model, {"tokens": _ids(50, 12), "labels": _ids(2)}


def text():
    """Text in, turned into ids by the model itself; trained, and no labels."""
    words = np.array(["good film", "bad film", "a good one", "not bad", "a bad one"])
    vectorize = layers.TextVectorization(20, output_sequence_length=4, name="words")
    vectorize.adapt(words)
    inputs = keras.Input((1,), dtype="string", name="review")
    features = layers.GlobalAveragePooling1D()(layers.Embedding(20, 8)(vectorize(inputs)))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(features))
    model.compile("adam", "binary_crossentropy")
    return model, {"text": words[_ids(5)], "label": _ids(2)}


def two_inputs():
    """An image and some numbers in."""
    image, numbers = keras.Input((8, 8, 1), name="image"), keras.Input((4,), name="numbers")
    joined = layers.Concatenate()([layers.Flatten()(layers.Conv2D(4, 3)(image)), layers.Dense(8)(numbers)])
    model = keras.Model([image, numbers], layers.Dense(3, activation="softmax", name="kind")(joined))
    model.compile("adam", "categorical_crossentropy")
    one_hot = np.eye(3, dtype=np.float32)[_ids(3)]
    return model, {"image": _random(8, 8, 1), "numbers": _random(4), "kind": one_hot, "extra": np.arange(5)}


def two_outputs():
    """A class and a number out, by splits."""
    inputs = keras.Input((6,), name="signal")
    features = layers.Dense(8, activation="relu")(inputs)
    ends = {
        "digit": layers.Dense(4, activation="softmax", name="digit")(features),
        "age": layers.Dense(1, name="age")(features),
    }
    model = keras.Model(inputs, ends)
    model.compile("adam", {"digit": "sparse_categorical_crossentropy", "age": "mse"})
    arrays = {"signal": _random(6), "digit": _ids(4), "age": _random(1)}
    split = {f"{name}_train": array[:90] for name, array in arrays.items()}
    return model, {**split, **{f"{name}_test": array[90:] for name, array in arrays.items()}}


def regression():
    """A number out, compiled with a loss and a metric."""
    model = keras.Sequential([layers.Input((5,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
    x = _random(5)
    y = x.sum(axis=1) * 20 + 50
    model.compile(keras.optimizers.Adam(0.05), "mse", metrics=["mae"])
    model.fit(x, y, epochs=60, verbose=0)
    return model, {"features": x, "target": y}


def binary():
    """Yes or no as a logit, and few samples that are a yes."""
    model = keras.Sequential([layers.Input((5,)), layers.Dense(8, activation="relu"), layers.Dense(1)])
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    return model, {"X": _random(5), "y": (np.arange(SAMPLES) % 10 == 0).astype(np.float32)}


def multi_label():
    """Any of four labels; not compiled."""
    outputs = layers.Dense(4, activation="sigmoid")
    model = keras.Sequential([layers.Input((5,)), layers.Dense(64, activation="relu"), outputs])
    return model, {"x": _random(5), "y": _ids(2, 4)}


def recurrent():
    """Sequences of any length in; logits out, not compiled, with a validation split in the place of a test split."""
    model = keras.Sequential([layers.Input((10, 3), name="steps"), layers.LSTM(8), layers.Dense(3)])
    x, y = _random(10, 3), _ids(3)
    return model, {"x_train": x[:90], "y_train": y[:90], "x_val": x[90:], "y_val": y[90:]}


def autoencoder():
    """The input out again; not compiled, and no targets."""
    inputs = keras.Input((16,), name="signal")
    model = keras.Model(inputs, layers.Dense(16)(layers.Dense(6, activation="relu")(inputs)))
    return model, {"signal": _random(16)}


MODELS = (
    vision,
    token_ids,
    text,
    two_inputs,
    two_outputs,
    regression,
    binary,
    multi_label,
    recurrent,
    autoencoder,
)
