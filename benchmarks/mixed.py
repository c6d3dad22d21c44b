"""How much smaller than int8 a file gets with int4 where it costs least, on a CNN trained on MNIST.

The contract `goal: smallest` chooses the layers on validation images; what is printed is the accuracy on the 10,000
test images, on LiteRT. For comparison: all layers in int4, and int8.

    TFOPT_DATA=folder-with-mnist.npz python benchmarks/mixed.py [--max-drop 0.005] [--epochs 4] [--seeds 3]
"""

import argparse
import os
from pathlib import Path

import keras
import numpy as np
from keras import layers
from networks import lenet_5

import tfopt
from tfopt.metrics import METRICS
from tfopt.quantization.accuracy_search import AccuracySearch
from tfopt.quantization.preparation import prepare
from tfopt.recipe.export import Export
from tfopt.tflite.interpreter import Runner

ACCURACY = METRICS["accuracy"]


def small_cnn():
    """A CNN without a large Dense layer, which int4 would shrink for nothing."""
    x = inputs = layers.Input((28, 28, 1))
    for filters, strides in ((16, 1), (32, 2), (64, 2), (64, 1)):
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def load():
    folder = os.environ.get("TFOPT_DATA")
    if folder:
        file = np.load(Path(folder) / "mnist.npz")
        arrays = [file[key] for key in ("x_train", "y_train", "x_test", "y_test")]
    else:
        (a, b), (c, d) = keras.datasets.mnist.load_data()
        arrays = [a, b, c, d]
    return [(v[..., None] / 255).astype(np.float32) if v.ndim == 3 else v for v in arrays]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-drop", type=float, default=0.005)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    x, y, x_test, y_test = load()
    held, held_y, x, y = x[55000:], y[55000:], x[:55000], y[:55000]
    print(f"{'network':10} {'seed':>4} {'file':>9} {'bytes':>9} {'of int8':>8} {'accuracy':>9}")
    for build in (small_cnn, lenet_5):
        for seed in range(options.seeds):
            keras.utils.set_random_seed(seed)
            model = build()
            model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(x, y, batch_size=128, epochs=options.epochs, verbose=0)
            before = ACCURACY.score(held_y, model.predict(held, verbose=0))
            prepared = prepare(model, Export(mode="int8"), x[:200])

            def kept(content):
                return ACCURACY.score(held_y, next(iter(Runner(content)(held).values())))

            outcome = AccuracySearch(
                prepared, kept, lambda after, before=before: before - after, options.max_drop
            ).smallest()
            files = {mode: tfopt.convert(model, mode, x[:200]) for mode in ("int8", "int4")}
            files["smallest"] = outcome.conversion.content
            for name, content in files.items():
                accuracy = ACCURACY.score(y_test, next(iter(Runner(content)(x_test).values())))
                share = len(content) / len(files["int8"])
                row = f"{build.__name__:10} {seed:4} {name:>9} {len(content):9,} {share:8.3f} {accuracy:9.4f}"
                print(row, flush=True)


if __name__ == "__main__":
    main()
