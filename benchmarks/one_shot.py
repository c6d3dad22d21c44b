"""What pruning without any training keeps of an accuracy: SparseGPT on samples without labels, against magnitude.

LeNet-5 on MNIST and ResNet-8 on JPEG CIFAR-10, trained once into --work. Then 50, 60, 70 and 80% of the zeros in one
shot, then int8, and the accuracy of the files on the 10,000 test images on LiteRT. The last lines train on, from
either start, with the zeros held: how many epochs a better start saves.

    TFOPT_DATA=folder-with-the-data python benchmarks/one_shot.py [--work FOLDER] [--samples 500] [--epochs 1 2]
"""

import argparse
import os
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from networks import lenet_5, resnet_8

import tfopt
from tfopt.tflite.interpreter import Runner

SHARES = (0.5, 0.6, 0.7, 0.8)
BATCH = 128


def digits(folder):
    with np.load(folder / "mnist.npz") as file:
        x, x_test = ((file[name][..., None] / 255).astype(np.float32) for name in ("x_train", "x_test"))
        return x, file["y_train"], x_test, file["y_test"]


def images(folder):
    found = []
    with np.load(folder / "cifar10_jpeg.npz") as file:
        for split in ("train", "test"):
            ends, content = file[f"end_{split}"], file[f"jpeg_{split}"].tobytes()
            files = (content[start:end] for start, end in zip((0, *ends), ends, strict=False))
            found.append(np.stack([tf.io.decode_jpeg(one).numpy() for one in files]).astype(np.float32) / 255)
            found.append(file[f"y_{split}"])
    return found


def falling(epochs, rate=2e-3, samples=50_000):
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, epochs * -(-samples // BATCH)))


def trained(name, build, data, epochs, work):
    """The trained net, from an earlier run where there was one."""
    path = work / f"{name}.keras"
    if not path.exists():
        keras.utils.set_random_seed(0)
        model = build()
        model.compile(falling(epochs, samples=len(data[0])), "sparse_categorical_crossentropy")
        model.fit(*data[:2], batch_size=BATCH, epochs=epochs, verbose=0)
        work.mkdir(parents=True, exist_ok=True)
        model.save(path)
    return keras.saving.load_model(path, compile=False)


def accuracy(model, data):
    return float((model.predict(data[2], batch_size=500, verbose=0).argmax(-1) == data[3]).mean())


def of_file(model, data, samples):
    content = tfopt.convert(model, "int8", samples[:200])
    return float((next(iter(Runner(content)(data[2]).values())).argmax(-1) == data[3]).mean())


def without_training(model, data, samples):
    dense = model.get_weights()
    print(f"  dense: float {accuracy(model, data):.4f}, int8 {of_file(model, data, samples):.4f}", flush=True)
    for share in SHARES:
        for method in ("magnitude", "sparsegpt"):
            model.set_weights(dense)
            start = time.process_time()
            tfopt.sparsity.prune_once(model, share, samples, method=method)
            seconds = time.process_time() - start
            scores = f"float {accuracy(model, data):.4f}, int8 {of_file(model, data, samples):.4f}"
            print(f"  {share:.0%} {method:10} {scores}, {seconds:.1f} s of processor", flush=True)
    model.set_weights(dense)


def trained_on(model, data, samples, epochs, share=0.8):
    dense = model.get_weights()
    for method in ("magnitude", "sparsegpt"):
        model.set_weights(dense)
        tfopt.sparsity.prune_once(model, share, samples, method=method)
        start = model.get_weights()
        for count in epochs:
            model.set_weights(start)
            keras.utils.set_random_seed(0)
            model.compile(falling(count, 5e-4, len(data[0])), "sparse_categorical_crossentropy")
            held = tfopt.callbacks.MagnitudePruning(share, schedule="one_shot", begin=1, start_step=1)
            model.fit(*data[:2], batch_size=BATCH, epochs=count, verbose=0, callbacks=[held])
            print(f"  {share:.0%} {method:10} and {count} epochs of training: {accuracy(model, data):.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("saved_models/one_shot"))
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--epochs", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--nets", nargs="*", default=["lenet_5", "resnet_8"])
    options = parser.parse_args()
    folder = Path(os.environ["TFOPT_DATA"])
    jobs = {"lenet_5": (lenet_5, digits, 4), "resnet_8": (resnet_8, images, 5)}
    for name in options.nets:
        build, load, epochs = jobs[name]
        data = load(folder)
        model = trained(name, build, data, epochs, options.work)
        samples = data[0][np.random.default_rng(0).permutation(len(data[0]))[: options.samples]]
        print(f"{name}, {epochs} epochs", flush=True)
        without_training(model, data, samples)
        trained_on(model, data, samples, options.epochs)


if __name__ == "__main__":
    main()
