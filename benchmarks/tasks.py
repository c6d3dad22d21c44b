"""What the nets of devices.py and recurrent.py are trained for: data from TFOPT_DATA, and tasks of known structure.

A task's data are a dict of `x_train`, `y_train`, `x_validation`, `y_validation`, `x_test` and `y_test`.
"""

import importlib.util
import os
from functools import partial
from pathlib import Path

import numpy as np
from scipy.fft import dct
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from tfopt.data import named_sets

PIPELINES = Path(__file__).parents[1] / "pipelines"
COEFFICIENTS = 10
# The task of the autoencoder: what a sample is made of, and how much of an anomaly is another sample's.
VALUES, SOURCES, NOISE, FOREIGN = 640, 4, 0.25, 40
# Classes of CIFAR-10: airplane, automobile, ship, truck.
VEHICLES = (0, 1, 8, 9)
# The digit that wakes.
WAKE_WORD = 7


def pipeline(name):
    """The module of a file in pipelines/."""
    spec = importlib.util.spec_from_file_location(name, PIPELINES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def split(x, y, x_test, y_test, validation):
    """The arrays of a task; the last of the training samples validate."""
    return {
        "x_train": x[:-validation],
        "y_train": y[:-validation],
        "x_validation": x[-validation:],
        "y_validation": y[-validation:],
        "x_test": x_test,
        "y_test": y_test,
    }


def digits():
    """The 8 x 8 digits of scikit-learn, as a recipe has them; 360 test."""
    data = named_sets.load("digits")
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    return {f"{letter}_{name}": getattr(part, letter) for name, part in parts.items() for letter in "xy"}


def mnist(images=20_000):
    """MNIST `(28, 28, 1)` of 0-1: so many images to train, 2,000 to validate, all 10,000 of the test split."""
    with np.load(Path(os.environ["TFOPT_DATA"]) / "mnist.npz") as file:
        x, y, x_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    x, x_test = ((part[..., None] / 255).astype(np.float32) for part in (x[: images + 2000], x_test))
    return split(x, y[: images + 2000].astype(np.int32), x_test, y_test.astype(np.int32), 2000)


def jpeg_cifar10(images=48_000):
    """CIFAR-10 `(32, 32, 3)` of 0-1, each image a JPEG: so many to train, 2,000 to validate, the 10,000 of the test."""
    with np.load(Path(os.environ["TFOPT_DATA"]) / "cifar10_jpeg.npz") as file:
        x, y = _decoded(file, "train", images + 2000)
        return split(x, y, *_decoded(file, "test"), 2000)


def _decoded(file, part, count=None):
    """The first images of a split, and their classes."""
    import tensorflow as tf

    ends, content = file[f"end_{part}"][:count], file[f"jpeg_{part}"].tobytes()
    found = (content[start:end] for start, end in zip((0, *ends), ends, strict=False))
    x = np.stack([tf.io.decode_jpeg(one).numpy() for one in found]).astype(np.float32) / 255
    return x, file[f"y_{part}"][:count].astype(np.int32)


def shifted_and_flipped(x, y, seed, reach=4):
    """Every image mirrored or not, and moved by up to `reach` pixels, zeros coming in; for training batches."""
    import tensorflow as tf

    count, rows, columns = (tf.shape(x)[axis] for axis in range(3))
    mirrored = tf.random.stateless_uniform([count, 1, 1, 1], seed) < 0.5
    x = tf.pad(tf.where(mirrored, x[:, :, ::-1], x), [[0, 0], [reach, reach], [reach, reach], [0, 0]])
    by = tf.random.stateless_uniform([count, 2], seed + 1, 0, 2 * reach + 1, tf.int32)
    x = tf.gather(x, by[:, :1] + tf.range(rows), axis=1, batch_dims=1)
    return tf.gather(x, by[:, 1:] + tf.range(columns), axis=2, batch_dims=1), y


def augmented_cifar10(images=10_000, reach=4):
    """JPEG CIFAR-10 with training batches mirrored and shifted by up to `reach` pixels."""
    return jpeg_cifar10(images) | {"augment": partial(shifted_and_flipped, reach=reach)}


def animals_and_vehicles(images=3_000, test=2_000, side=96):
    """Whether an image of JPEG CIFAR-10, enlarged to `(96, 96, 3)`, shows a vehicle (1) or an animal (0)."""
    import tensorflow as tf

    data = jpeg_cifar10(images)
    few = {name: v[: {"test": test, "validation": 500}.get(name[2:])] for name, v in data.items()}
    found = {n: tf.image.resize(v, (side, side)).numpy() for n, v in few.items() if n.startswith("x")}
    return found | {n: np.isin(v, VEHICLES).astype(np.int32) for n, v in few.items() if n.startswith("y")}


def spoken_digits():
    """Log-mel spectrograms `(61, 40, 1)` of the Free Spoken Digit Dataset; 300 recordings test, 270 validate."""
    data = pipeline("speech").load(str(Path(os.environ["TFOPT_DATA"]) / "fsdd.npz"))
    order = np.random.default_rng(0).permutation(len(data["x_train"]))
    arrays = (data["x_train"][order], data["y_train"][order].astype(np.int32))
    return split(*arrays, data["x_test"], data["y_test"].astype(np.int32), 270)


def spoken_coefficients():
    """The same as ten mel-frequency cepstral coefficients `(61, 10, 1)`, of mean 0 and deviation 1 in training."""
    data = spoken_digits()
    found = {
        name: dct(data[name][..., 0], norm="ortho")[..., :COEFFICIENTS, None] for name in data if name.startswith("x")
    }
    mean, deviation = found["x_train"].mean((0, 1)), found["x_train"].std((0, 1))
    return data | {name: ((x - mean) / deviation).astype(np.float32) for name, x in found.items()}


def spoken_sequences():
    """The same spectrograms as sequences `(61, 40)`, of mean 0 and deviation 1 in training."""
    data = spoken_digits()
    mean, deviation = data["x_train"].mean(), data["x_train"].std()
    return {name: ((v[..., 0] - mean) / deviation).astype(np.float32) if "x" in name else v for name, v in data.items()}


def wake_words():
    """Whether one spoken digit (0), another one (1) or none (2) is in a spectrogram `(30, 1, 40)`.

    Its frames are pairs of those of `spoken_digits`, averaged. Where no digit is, each frame is drawn from the quietest
    tenth of the frames of the training recordings that are not filled up; a quarter of the samples are such ones. All
    values, of mean 0 and deviation 1, have noise of that deviation added; each recording is there three times to train
    and four times to test.
    """
    data, generator = spoken_digits(), np.random.default_rng(0)
    frames = {n: v[:, :60, :, 0].reshape(len(v), 30, 2, 40).mean(2) for n, v in data.items() if n.startswith("x")}
    mean, deviation, loudness = (f(frames["x_train"]) for f in (np.mean, np.std, lambda each: each.mean(-1)))
    heard = loudness > loudness.min() + 1e-3  # recordings are filled up with silence
    quiet = frames["x_train"][heard & (loudness <= np.quantile(loudness[heard], 0.1))]
    found = {}
    for part, times in (("train", 3), ("validation", 4), ("test", 4)):
        x, y = (np.repeat(values[f"{name}_{part}"], times, 0) for name, values in (("x", frames), ("y", data)))
        none = quiet[generator.integers(0, len(quiet), (len(x) // 3, 30))]
        order = generator.permutation(len(x) + len(none))
        both = (np.concatenate([x, none])[order, :, None] - mean) / deviation
        found[f"x_{part}"] = (both + generator.normal(size=both.shape)).astype(np.float32)
        found[f"y_{part}"] = np.append(np.where(y == WAKE_WORD, 0, 1), [2] * len(none))[order].astype(np.int32)
    return found


def manifold(samples=8000, seed=0):
    """Samples of 640 values on a surface of four dimensions, with noise, each of them its own target.

    A sample is `tanh(sources @ mixture) + noise`. The first half of the test samples are anomalies: forty values in a
    row are those of another sample, so that every value is an ordinary one and only the combination is not.
    """
    mixture = np.random.default_rng(7).normal(size=(SOURCES, VALUES)) / np.sqrt(SOURCES)
    generator = np.random.default_rng(seed)

    def draw(count):
        values = np.tanh(generator.normal(size=(count, SOURCES)) @ mixture * 2)
        return (values + NOISE * generator.normal(size=values.shape)).astype(np.float32)

    x, x_test, others = draw(samples + 1000), draw(4000), draw(2000)
    for sample, other, start in zip(x_test, others, generator.integers(0, VALUES - FOREIGN, 2000), strict=False):
        sample[start : start + FOREIGN] = other[start : start + FOREIGN]
    return split(x, x, x_test, x_test, 1000)


def waves(steps, features=8, classes=10, samples=2048, seed=0):
    """Sequences `(steps, features)` of sines and noise; each class has frequencies and phases of its own."""
    fixed, generator = np.random.default_rng(123), np.random.default_rng(seed)
    frequencies, phases = (fixed.uniform(low, high, (classes, features)) for low, high in ((0.3, 2.5), (0.0, 6.28)))
    y = generator.integers(0, classes, samples).astype(np.int32)
    angles = frequencies[y][:, None] * np.arange(steps)[None, :, None] / 8 + phases[y][:, None]
    x = np.sin(angles + generator.uniform(0, 1, (samples, 1, 1))) + 2.0 * generator.normal(size=angles.shape)
    x = x.astype(np.float32)
    return split(x[512:], y[512:], x[:512], y[:512], 256)


def accuracy(outputs, x, y):
    """The share of samples whose largest output is the label's."""
    return float((outputs.argmax(-1) == y).mean())


def balanced(outputs, x, y):
    """The mean of the shares of each class that are found."""
    return float(balanced_accuracy_score(y, outputs.argmax(-1)))


def detection(outputs, x, y):
    """The area under the ROC curve of an autoencoder's squared error, the first half of the samples being anomalies."""
    return float(roc_auc_score(np.arange(len(x)) < len(x) // 2, ((outputs - y) ** 2).mean(-1)))
