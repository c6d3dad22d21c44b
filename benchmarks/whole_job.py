"""A whole job, tfopt against TF-MOT by the book: from a model and data to a scored int8 file.

By the book is what the guides of TF-MOT and of LiteRT say, with tf_keras: `fit`, `prune_low_magnitude`, `fit` with
`UpdatePruningStep`, `strip_pruning`, `TFLiteConverter` with a representative data set, and a loop over the test samples
on `tf.lite.Interpreter`; the Keras models are evaluated before and after pruning. tfopt runs the recipe of the same
steps, with everything else that a run of it does: its checks, checkpoints, comparison with the Keras model, and report.
Both sides begin with the same weights and have the same data, optimizer, batches and epochs.

    lenet_5        20,000 images of MNIST, 3 epochs, 3 more of pruning to 80%, int8, 10,000 test images
    mobilenet_96   MobileNetV2, alpha 0.35, at 96 x 96: 512 images, one epoch, one of pruning, int8, 500 test images
    mobilenet_224  a finished MobileNetV2 at 224 x 224: evaluated, int8 with 100 samples, 500 test images

Each job is a process of its own, from its start, imports included, to its end; the sides take turns. The labels of
`mobilenet_224` are what its float model says, so that its accuracy is the share of samples on which the file agrees.

    TFOPT_DATA=/folder/with/mnist.npz python benchmarks/whole_job.py [--only lenet_5] [--repeats 3]
"""

import argparse
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CALIBRATED = 100
SPARSITY = 0.8


@dataclass(frozen=True)
class Job:
    """What both sides do.

    Args:
        size: Side of the images in pixels.
        channels: Channels of the images.
        train, validation, test: Numbers of samples.
        epochs: Epochs of training, and again of pruning; 0 where the model is finished.
        batch_size: Samples of a step.
    """

    size: int
    channels: int
    train: int
    validation: int
    test: int
    epochs: int
    batch_size: int


JOBS = {
    "lenet_5": Job(28, 1, 20_000, 2_000, 10_000, 3, 128),
    "mobilenet_96": Job(96, 3, 512, 64, 500, 1, 32),
    "mobilenet_224": Job(224, 3, CALIBRATED, 10, 500, 0, 32),
}


def build(name, keras):
    """The net of a job, in Keras 3 or tf_keras."""
    if name == "lenet_5":
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(20, 5),
                layers.MaxPooling2D(),
                layers.Conv2D(50, 5),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(500, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
    job = JOBS[name]
    alpha = 0.35 if name == "mobilenet_96" else 1.0
    shape = (job.size, job.size, job.channels)
    return keras.applications.MobileNetV2(shape, alpha=alpha, weights=None, classes=10)


def images(job):
    """MNIST in the size of a job, of 0-1: `{"train": (x, y), "validation": ..., "test": ...}`."""
    if folder := os.environ.get("TFOPT_DATA"):
        with np.load(Path(folder) / "mnist.npz") as file:
            x, y = file["x_train"], file["y_train"]
            x_test, y_test = file["x_test"][: job.test], file["y_test"][: job.test]
    else:
        import keras

        (x, y), (x_test, y_test) = keras.datasets.mnist.load_data()
        x_test, y_test = x_test[: job.test], y_test[: job.test]
    held = job.train + job.validation
    parts = {
        "train": (x[: job.train], y[: job.train]),
        "validation": (x[job.train : held], y[job.train : held]),
        "test": (x_test, y_test),
    }
    return {split: (_resized(x, job), y.astype(np.int32)) for split, (x, y) in parts.items()}


def _resized(x, job):
    """Images of 28 x 28 in the size of a job by repeating pixels."""
    at = np.arange(job.size) * 28 // job.size
    scaled = (x[:, at][:, :, at, None] / np.float32(255)).astype(np.float32)
    return np.repeat(scaled, job.channels, axis=-1) if job.channels > 1 else scaled


def prepare(name, folder):
    """The weights that both sides begin with, the data, and for a finished model its files and its own labels."""
    import keras

    keras.utils.set_random_seed(0)
    model, data = build(name, keras), images(JOBS[name])
    if name != "lenet_5":
        from networks import settle

        settle(model, data["train"][0][:64])
    if not JOBS[name].epochs:
        data = {split: (x, model.predict(x, verbose=0).argmax(-1).astype(np.int32)) for split, (x, _) in data.items()}
        model.save(folder / "model.keras")
    layers = [layer.get_weights() for layer in model.layers]
    np.savez(folder / "weights.npz", **{f"{i}_{j}": w for i, all in enumerate(layers) for j, w in enumerate(all)})
    np.savez(
        folder / "data.npz", **{f"{kind}_{s}": a for s, xy in data.items() for kind, a in zip("xy", xy, strict=True)}
    )


def started(model, folder):
    """A model with the weights that both sides begin with."""
    with np.load(folder / "weights.npz") as file:
        for index, layer in enumerate(model.layers):
            layer.set_weights([file[f"{index}_{place}"] for place in range(len(layer.get_weights()))])
    return model


def with_tfopt(name, folder):
    """The recipe of the job; the bytes and the accuracy of its file, and the accuracy of the Keras model before it."""
    import tfopt

    job = JOBS[name]
    model, training = folder / "model.keras", []
    if job.epochs:
        fitted = {"epochs": job.epochs, "batch_size": job.batch_size, "optimizer": "adam"}
        training = [tfopt.Train(**fitted), tfopt.Prune(sparsity=SPARSITY, **fitted)]

        def model():
            import keras

            return started(build(name, keras), folder)

    recipe = tfopt.Recipe(
        name="job",
        model=model,
        data=f"npz:{folder}/data.npz",
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        stages=[
            *training,
            tfopt.Quantize(mode="int8", samples=CALIBRATED, least_snr_db=0),
            tfopt.Verify(),
        ],
    )
    made = tfopt.run(recipe, out=folder / "out").artifacts
    scored = made["verify"].files["quantize"]
    before = made["prune"].metrics["accuracy"] if job.epochs else None
    return made["quantize"].path.read_bytes(), scored["accuracy"], before


def by_the_book(name, folder):
    """The same with tf_keras, TF-MOT and TFLiteConverter."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf

    job = JOBS[name]
    with np.load(folder / "data.npz") as file:
        x, y, x_test, y_test = (file[key] for key in ("x_train", "y_train", "x_test", "y_test"))
        held = file["x_validation"], file["y_validation"]
    before = None
    model = started(build(name, tf.keras), folder)
    if job.epochs:
        import tensorflow_model_optimization as tfmot

        compiled = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
        fitted = {"epochs": job.epochs, "batch_size": job.batch_size, "validation_data": held, "verbose": 0}
        model.compile("adam", **compiled)
        model.fit(x, y, **fitted)
        model.evaluate(x_test, y_test, verbose=0)
        steps = -(-len(x) // job.batch_size) * job.epochs
        every = max(steps // 10, 1)  # the last update, a multiple of it, reaches the sparsity
        schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, SPARSITY, 0, steps // every * every, frequency=every)
        model = tfmot.sparsity.keras.prune_low_magnitude(model, pruning_schedule=schedule)
        model.compile("adam", **compiled)
        model.fit(x, y, callbacks=[tfmot.sparsity.keras.UpdatePruningStep()], **fitted)
        before = model.evaluate(x_test, y_test, verbose=0)[1]
        model = tfmot.sparsity.keras.strip_pruning(model)
    else:
        model.compile(metrics=["accuracy"])
        before = model.evaluate(x_test, y_test, verbose=0)[1]
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in x[:CALIBRATED])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    content = converter.convert()
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    [entry], [answer] = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = entry["quantization"]
    right = 0
    for sample, label in zip(x_test, y_test, strict=True):
        fed = np.clip(np.round(sample[None] / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(entry["index"], fed)
        interpreter.invoke()
        right += int(interpreter.get_tensor(answer["index"])[0].argmax() == label)
    return content, right / len(x_test), before


SIDES = {"tfopt": with_tfopt, "by the book": by_the_book}


def child(side, name, folder):
    """One side of a job; what it took besides the time of its process, as the last line of standard output."""
    content, accuracy, before = SIDES[side](name, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sizes = {"bytes": len(content), "gzip": len(gzip.compress(content, 9, mtime=0))}
    print(json.dumps({"peak": peak, **sizes, "accuracy": accuracy, "before": before}))


def process(name, side, folder):
    """A job's side in a process of its own, with the seconds that it took."""
    command = [sys.executable, __file__, "--child", side, "--only", name, "--folder", str(folder)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{name}, {side}:\n{done.stderr[-3000:]}")
    return {"seconds": seconds, **json.loads(done.stdout.splitlines()[-1])} if side in SIDES else {}


def compared(name, repeats):
    """Prints each repeat of a job and the medians of its ratios."""
    taken = {side: [] for side in SIDES}
    for repeat in range(repeats):
        for side in SIDES if repeat % 2 == 0 else reversed(SIDES):
            with tempfile.TemporaryDirectory() as folder:
                process(name, "prepare", folder)
                taken[side].append(process(name, side, folder))
            print(name, side, json.dumps(taken[side][-1]), flush=True)
    for label, unit in (("seconds", "s"), ("peak", "MB"), ("bytes", "B"), ("gzip", "B"), ("accuracy", "")):
        ours, theirs = ([one[label] for one in taken[side]] for side in SIDES)
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        medians = [statistics.median(side) for side in (ours, theirs)]
        digits = 4 if label == "accuracy" else 1
        print(
            f"{name:14} {label:9} tfopt {medians[0]:12,.{digits}f} {unit:2} by the book {medians[1]:12,.{digits}f} "
            f"{unit:2} ratio {ratio:.3f}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=JOBS, help="one job; all if not given")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=["prepare", *SIDES], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child == "prepare":
        prepare(arguments.only, arguments.folder)
    elif arguments.child:
        child(arguments.child, arguments.only, arguments.folder)
    else:
        for name in [arguments.only] if arguments.only else JOBS:
            compared(name, arguments.repeats)


if __name__ == "__main__":
    main()
