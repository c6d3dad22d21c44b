"""A net of MLPerf Tiny pruned by TF-MOT and converted by TFLiteConverter, as their guides have it, on tf_keras.

    TFOPT_DATA=folder-with-the-data python benchmarks/tiny_twin.py NET --weights DENSE.npz --out FILE.tflite

tiny.py runs it in a process of its own, since TF-MOT chooses the Keras of a whole process. It begins with the weights
of the dense net and trains with the optimizer, the batches and the epochs of tfopt's own pruning.
"""

import argparse
import importlib.util
import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tf_keras
from tiny_nets import NETS, SEED, built
from tiny_ways import SPARSITY, by_the_book

from tfopt import durable_files


def twin(name):
    """The net of networks.py in tf_keras, untrained: the file is written for either Keras."""
    keras = sys.modules["keras"]
    sys.modules["keras"] = tf_keras
    try:
        spec = importlib.util.find_spec("networks")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return built(name, module)
    finally:
        sys.modules["keras"] = keras


def batches(net, data):
    """Training batches, shuffled and augmented as the task has it."""
    x, y, augment = data["x_train"], data["y_train"], data.get("augment")
    found = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), SEED).batch(net.batch_size)
    if augment:
        numbered = tf.data.Dataset.zip((tf.data.Dataset.random(SEED), found))
        found = numbered.map(lambda number, batch: augment(*batch, tf.stack([tf.cast(number, tf.int32), SEED])))
    return found.prefetch(2)


def pruned(model, net, data):
    """The model after pruning by the book, with as many zeros as tfopt's."""
    import tensorflow_model_optimization as tfmot

    steps = -(-len(data["x_train"]) // net.batch_size) * net.epochs[1]
    every = max(steps // 20, 1)  # the last update, a multiple of it, reaches the sparsity
    schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, SPARSITY, 0, steps // every * every, frequency=every)
    model = tfmot.sparsity.keras.prune_low_magnitude(model, pruning_schedule=schedule)
    rate = tf_keras.optimizers.schedules.CosineDecay(net.rate[1], steps)
    model.compile(tf_keras.optimizers.Adam(rate), net.loss)
    callbacks = [tfmot.sparsity.keras.UpdatePruningStep()]
    model.fit(batches(net, data), epochs=net.epochs[1], verbose=0, callbacks=callbacks)
    return tfmot.sparsity.keras.strip_pruning(model)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", choices=NETS)
    parser.add_argument("--weights", type=Path, required=True, help="the dense net's weights and some outputs")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    net = NETS[arguments.net]
    tf_keras.utils.set_random_seed(SEED)
    data, model = net.data(), twin(arguments.net)
    with np.load(arguments.weights) as file:
        expected = file["outputs"]
        model.set_weights([file[name] for name in file.files if name != "outputs"])
    got = model.predict(data["x_test"][: len(expected)], verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)
    durable_files.write(arguments.out, by_the_book(pruned(model, net, data), data["x_train"]))


if __name__ == "__main__":
    main()
