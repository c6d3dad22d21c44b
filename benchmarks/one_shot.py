"""What pruning at once keeps of an accuracy, without any training, and what it saves of a training after it.

LeNet-5 on MNIST and ResNet-8 on JPEG CIFAR-10, trained once into --work; accuracy is that of the 10,000 test images.
alone: 50, 60, 70 and 80% of zeros in one shot, by SparseGPT on samples without labels and by magnitude, then int8 on
LiteRT. start: as many epochs of training from either, with the zeros held, and of pruning step by step: how many epochs
a better start saves. channels: half or a quarter of all channels removed, with the layers behind them compensated by
least squares and without, before training and after.

    TFOPT_DATA=folder-with-the-data python benchmarks/one_shot.py [--only alone start channels] [--nets lenet_5]
        [--work FOLDER] [--samples 500] [--epochs 1 2 4] [--shares 0.8 0.9] [--seeds 2]
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


def falling(epochs, rate=2e-3, samples=50_000, batch=BATCH):
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, epochs * -(-samples // batch)))


def trained(name, build, data, epochs, work, seed=0, batch=BATCH, rate=2e-3):
    """The trained net, from an earlier run where there was one."""
    path = work / f"{name}_{seed}.keras"
    if not path.exists():
        keras.utils.set_random_seed(seed)
        model = build()
        model.compile(falling(epochs, rate, len(data[0]), batch), "sparse_categorical_crossentropy")
        model.fit(*data[:2], batch_size=batch, epochs=epochs, verbose=0)
        work.mkdir(parents=True, exist_ok=True)
        model.save(path)
    return keras.saving.load_model(path, compile=False)


def accuracy(model, data):
    return float((model.predict(data[2], batch_size=500, verbose=0).argmax(-1) == data[3]).mean())


def of_file(model, data, samples):
    content = tfopt.convert(model, "int8", samples[:200])
    return float((next(iter(Runner(content)(data[2]).values())).argmax(-1) == data[3]).mean())


def alone(model, data, samples, options):
    """Zeros without any training."""
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


def fitted(model, data, epochs, seed, *callbacks):
    """The accuracy after some epochs of training at a small rate."""
    keras.utils.set_random_seed(seed)
    model.compile(falling(epochs, 5e-4, len(data[0])), "sparse_categorical_crossentropy")
    model.fit(*data[:2], batch_size=BATCH, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return accuracy(model, data)


def seeds_of(scores):
    return f"{np.mean(scores):.4f} ({', '.join(f'{score:.4f}' for score in scores)})"


def as_a_start(model, data, samples, options):
    """Training from zeros that are all there at the first step, against zeros that come step by step."""
    dense = model.get_weights()
    for share in options.shares:
        for start in ("step by step", "magnitude", "sparsegpt"):
            model.set_weights(dense)
            held = {}
            if start != "step by step":
                tfopt.sparsity.prune_once(model, share, samples, method=start)
                held = {"schedule": "one_shot", "begin": 1, "start_step": 1}
            begun = model.get_weights()
            for count in options.epochs:
                found = []
                for seed in range(options.seeds):
                    model.set_weights(begun)
                    pruning = tfopt.callbacks.MagnitudePruning(share, **held)
                    found.append(fitted(model, data, count, seed, pruning))
                print(f"  {share:.0%} {start:12} {count} epochs: {seeds_of(found)}", flush=True)
    model.set_weights(dense)


def of_channels(model, data, samples, options):
    """Removed channels, before training and after, with the layers that read them compensated and without."""
    for keep in (0.75, 0.5):
        for compensate in (False, True):
            start = time.process_time()
            cut = tfopt.sparsity.remove(model, keep, x=samples, compensate=compensate).model
            seconds, begun = time.process_time() - start, cut.get_weights()
            told = f"  {keep:.0%} of the channels, {'compensated' if compensate else 'as they are'}"
            print(f"{told}: {accuracy(cut, data):.4f}, {seconds:.1f} s of processor", flush=True)
            for count in options.epochs:
                found = []
                for seed in range(options.seeds):
                    cut.set_weights(begun)
                    found.append(fitted(cut, data, count, seed))
                print(f"{told}, {count} epochs: {seeds_of(found)}", flush=True)


PARTS = {"alone": alone, "start": as_a_start, "channels": of_channels}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--nets", nargs="*", default=["lenet_5", "resnet_8"])
    parser.add_argument("--work", type=Path, default=Path("saved_models/one_shot"))
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--epochs", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--shares", type=float, nargs="*", default=[0.8, 0.9])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    folder = Path(os.environ["TFOPT_DATA"])
    jobs = {"lenet_5": (lenet_5, digits, 4), "resnet_8": (resnet_8, images, 5)}
    for name in options.nets:
        build, load, epochs = jobs[name]
        data = load(folder)
        model = trained(name, build, data, epochs, options.work)
        samples = data[0][np.random.default_rng(0).permutation(len(data[0]))[: options.samples]]
        print(f"{name}, {epochs} epochs: {accuracy(model, data):.4f}", flush=True)
        for part in options.only:
            print(f" {part}", flush=True)
            PARTS[part](model, data, samples, options)


if __name__ == "__main__":
    main()
