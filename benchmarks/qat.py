"""Quantization-aware training against TF-MOT's, against post-training quantization, and what it costs.

    TFOPT_DATA=folder-with-the-data python benchmarks/qat.py tfmot [--seeds 5] [--images 20000]
    TFOPT_DATA=... python benchmarks/qat.py int4 [--seeds 5] [--images 20000] [--nets NAME ...]
    TFOPT_DATA=... python benchmarks/qat.py kept

tfmot: a CNN with BatchNormalization and a depthwise block on MNIST, trained in floating point, then for three epochs by
TF-MOT (on tf_keras) and by tfopt from the same weights, each in a process of its own; accuracy of both files on LiteRT,
and the time of a step against a plain one of the same framework. int4: LeNet-5 on MNIST and a net like MobileNet on
spoken digits, after training, with integers chosen together, and trained. kept: LeNet-5, 90% pruned, in 16 shared
values, after training and trained.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TUNING_EPOCHS, BATCH = 3, 32


def load(images):
    file = np.load(Path(os.environ["TFOPT_DATA"]) / "mnist.npz")
    arrays = [file[key] for key in ("x_train", "y_train", "x_test", "y_test")]
    x, y, x_test, y_test = [(v[..., None] / 255).astype(np.float32) if v.ndim == 3 else v for v in arrays]
    return x[:images], y[:images], x_test, y_test


def net(keras):
    layers = keras.layers
    x = inputs = layers.Input((28, 28, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, strides=2, use_bias=False)(x)))
    for filters in (32, 48):
        x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, use_bias=False)(x)))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, 1, use_bias=False)(x)))
    x = layers.Dense(10)(layers.Flatten()(layers.MaxPooling2D()(x)))
    return keras.Model(inputs, layers.Softmax()(x))


def compile_model(keras, model, rate):
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def timed(keras, model, x, y, epochs, callbacks=()):
    """Trains; seconds of a step in the fastest epoch: the first, and that of a freeze, build graphs."""
    ends = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    model.fit(x, y, epochs=epochs, batch_size=BATCH, verbose=0, callbacks=[*callbacks, watch])
    steps = -(-len(x) // BATCH)
    return float(np.min(np.diff(ends))) / steps


def copy_of(keras, model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def side(who, folder, seed, images):
    """One side of a comparison, in a process of its own: prints a line of JSON."""
    x, y, _, _ = load(images)
    if who == "tfmot":
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        import tf_keras as keras
    else:
        import keras
    keras.utils.set_random_seed(seed)
    model = net(keras)
    with np.load(folder / "weights.npz") as weights:
        model.set_weights([weights[name] for name in weights.files])
    plain = timed(keras, compile_for_tuning(keras, copy_of(keras, model), len(x)), x, y, TUNING_EPOCHS)
    keras.utils.set_random_seed(seed)
    if who == "tfmot":
        import tensorflow as tf
        import tensorflow_model_optimization as tfmot

        aware = compile_for_tuning(keras, tfmot.quantization.keras.quantize_model(model), len(x))
        seconds = timed(keras, aware, x, y, TUNING_EPOCHS)
        converter = tf.lite.TFLiteConverter.from_keras_model(aware)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        content = converter.convert()
    else:
        import tfopt

        callback = tfopt.callbacks.QuantizationAware(x[:200])
        seconds = timed(keras, compile_for_tuning(keras, model, len(x)), x, y, TUNING_EPOCHS, [callback])
        content = callback.convert().content
    (folder / f"{who}.tflite").write_bytes(content)
    print(json.dumps({"plain": plain, "aware": seconds}))


def compile_for_tuning(keras, model, samples):
    """With a learning rate that falls to nothing, so that the last steps do not decide."""
    steps = TUNING_EPOCHS * -(-samples // BATCH)
    return compile_model(keras, model, keras.optimizers.schedules.PolynomialDecay(3e-4, steps, 0.0))


def accuracy(content, x, y):
    from tfopt.tflite.interpreter import Runner

    outputs = next(iter(Runner(content)(x).values()))
    return float((outputs.argmax(-1) == y).mean())


def against_tfmot(seeds, images):
    import keras

    import tfopt

    x, y, x_test, y_test = load(images)
    print("seed  float   after   TF-MOT  tfopt   step: TF-MOT / plain    tfopt / plain   tfopt / TF-MOT")
    rows = []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        model = compile_model(keras, net(keras), 1e-3)
        model.fit(x, y, epochs=4, batch_size=BATCH, verbose=0)
        before = model.evaluate(x_test, y_test, verbose=0)[1]
        after = accuracy(tfopt.convert(model, "int8", x[:200]), x_test, y_test)
        seconds, scores = {}, {}
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            np.savez(folder / "weights.npz", *model.get_weights())
            for who in ("tfmot", "tfopt") if seed % 2 else ("tfopt", "tfmot"):
                arguments = [sys.executable, __file__, "side", who, str(folder), str(seed), str(images)]
                done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
                seconds[who] = json.loads(done.stdout.splitlines()[-1])
                scores[who] = accuracy((folder / f"{who}.tflite").read_bytes(), x_test, y_test)
        theirs, ours = seconds["tfmot"], seconds["tfopt"]
        overheads = [one["aware"] / one["plain"] for one in (theirs, ours)]
        rows.append([before, after, scores["tfmot"], scores["tfopt"], *overheads, ours["aware"] / theirs["aware"]])
        print(
            f"{seed:4}  {before:.4f}  {after:.4f}  {scores['tfmot']:.4f}  {scores['tfopt']:.4f}  "
            f"{theirs['aware'] * 1e3:.2f} / {theirs['plain'] * 1e3:.2f} ms = {overheads[0]:.2f}x  "
            f"{ours['aware'] * 1e3:.2f} / {ours['plain'] * 1e3:.2f} ms = {overheads[1]:.2f}x  {rows[-1][-1]:.2f}x",
            flush=True,
        )
    means, medians = np.mean(rows, axis=0)[:4], np.median(rows, axis=0)[4:]
    print("mean  " + "  ".join(f"{value:.4f}" for value in means), end="  ")
    print("medians: TF-MOT {:.2f}x, tfopt {:.2f}x, tfopt / TF-MOT {:.2f}x".format(*medians))


def falling(keras, rate, epochs):
    """A learning rate that goes down in a straight line to its share of the last epoch."""
    return keras.callbacks.LearningRateScheduler(lambda epoch: rate * (1 - epoch / epochs))


def mobile_net(shape, classes):
    """Depthwise and pointwise blocks, as in MobileNet."""
    from keras import Model, layers

    x = inputs = layers.Input(shape)
    x = layers.ReLU(6)(layers.BatchNormalization()(layers.Conv2D(16, 3, 2, padding="same", use_bias=False)(x)))
    for filters, strides in ((24, 1), (32, 2), (48, 1), (64, 2)):
        x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
        x = layers.ReLU(6)(layers.BatchNormalization()(x))
        x = layers.ReLU(6)(layers.BatchNormalization()(layers.Conv2D(filters, 1, use_bias=False)(x)))
    x = layers.GlobalAveragePooling2D()(x)
    return Model(inputs, layers.Dense(classes, activation="softmax")(x))


def four_bits(seeds, images, nets):
    from networks import lenet_5

    sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
    import speech

    sounds = speech.load(str(Path(os.environ["TFOPT_DATA"]) / "fsdd.npz"))
    spoken = [
        sounds[name] / (4.0 if name.startswith("x") else 1) for name in ("x_train", "y_train", "x_test", "y_test")
    ]
    jobs = {
        "lenet_5": ("LeNet-5, MNIST", lenet_5, load(images), 5, 4),
        "mobile_net": ("MobileNet-like, spoken digits", lambda: mobile_net(spoken[0].shape[1:], 10), spoken, 30, 20),
    }
    for title, build, data, epochs, more in (jobs[name] for name in nets):
        print(title, flush=True)
        rows = [files_of(build, data, epochs, more, seed) for seed in range(seeds)]
        for file in rows[0]:
            scores, size = [row[file][0] for row in rows], int(np.median([row[file][1] for row in rows]))
            every = " ".join(f"{score:.4f}" for score in scores)
            print(f"  {file:21} median {np.median(scores):.4f}, {size:,} B, seeds {every}", flush=True)


def files_of(build, data, epochs, more, seed):
    """The accuracy and the bytes of each file of a net that is trained with a seed, by the file's name."""
    import keras

    import tfopt

    x, y, x_test, y_test = data
    samples = x[np.random.default_rng(seed).permutation(len(x))[:200]]  # the sounds are in the order of their classes
    keras.utils.set_random_seed(seed)
    model = compile_model(keras, build(), 1e-3)
    model.fit(x, y, epochs=epochs, batch_size=BATCH, verbose=0, callbacks=[falling(keras, 1e-3, epochs)])
    files = {"float": tfopt.convert(model, "float32", samples)}
    for title, mode, rounding in (
        ("int8 after training", "int8", "nearest"),
        ("int4 after training", "int4", "nearest"),
        ("int4, rounding: auto", "int4", "auto"),
    ):
        files[title] = tfopt.convert(model, mode, samples, rounding=rounding, least_snr_db=-100.0)
    for mode, ranges in (("int8", "moving_average"), ("int4", "learned")):
        trained = compile_model(keras, copy_of(keras, model), 5e-4)
        aware = tfopt.callbacks.QuantizationAware(samples, mode, ranges=ranges)
        trained.fit(x, y, epochs=more, batch_size=BATCH, verbose=0, callbacks=[falling(keras, 5e-4, more), aware])
        files[f"{mode} trained"] = aware.convert().content
    found = {title: (accuracy(content, x_test, y_test), len(content)) for title, content in files.items()}
    print(f"  seed {seed}: " + ", ".join(f"{title} {score:.4f}" for title, (score, _) in found.items()), flush=True)
    return found


def kept(images):
    import keras
    from networks import lenet_5

    import tfopt
    from tfopt.tflite.file import read

    x, y, x_test, y_test = load(images)
    keras.utils.set_random_seed(0)
    model = compile_model(keras, lenet_5(), 1e-3)
    model.fit(x, y, epochs=6, batch_size=BATCH, verbose=0)

    def tell(name, content):
        kernels = [t for t in read(content).tensors if t.parameter and len(t.shape) > 1]
        zeros = sum(t.zeros for t in kernels) / sum(t.size for t in kernels)
        values = max(t.distinct or 999 for t in kernels)
        print(
            f"{name:34} {accuracy(content, x_test, y_test):.4f}  {len(content):,} B, "
            f"{len(gzip.compress(content, 9)):,} B gzip, {zeros:.1%} zeros, at most {values} values to a kernel",
            flush=True,
        )

    tell("float32, dense", tfopt.convert(model, "float32", x[:200]))
    tell("int8, dense", tfopt.convert(model, "int8", x[:200]))
    fit = {"epochs": 4, "batch_size": BATCH, "verbose": 0}
    model.fit(x, y, callbacks=[tfopt.callbacks.MagnitudePruning(0.9)], **fit)
    model.fit(x, y, callbacks=[tfopt.callbacks.Clustering(16)], **{**fit, "epochs": 2})
    for mode in ("int8", "int4"):
        tell(f"90%, 16 values, {mode} after training", tfopt.convert(model, mode, x[:200]))
        trained = compile_model(keras, copy_of(keras, model), 3e-4)
        aware = tfopt.callbacks.QuantizationAware(
            x[:200], mode, ranges="learned" if mode == "int4" else "moving_average"
        )
        trained.fit(x, y, callbacks=[aware], **{**fit, "epochs": 3})
        tell(f"90%, 16 values, {mode} trained", aware.convert().content)


def main():
    if sys.argv[1:2] == ["side"]:
        side(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tfmot", "int4", "kept"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--nets", nargs="*", choices=("lenet_5", "mobile_net"), default=["lenet_5", "mobile_net"])
    arguments = parser.parse_args()
    if arguments.what == "tfmot":
        against_tfmot(arguments.seeds, arguments.images)
    elif arguments.what == "int4":
        four_bits(arguments.seeds, arguments.images, arguments.nets)
    else:
        kept(arguments.images)


if __name__ == "__main__":
    main()
