"""What an int8 conversion costs: tfopt against `TFLiteConverter.from_keras_model` by the book.

Each conversion runs in a process of its own, in turns. Model and samples are loaded first; what is timed is the call,
from the Keras model and its samples to the bytes of the int8 file, by the clock and in seconds of all cores. Peak
memory is that of the whole process, and what the call added to it. Both files are then run on LiteRT on fresh samples
against the Keras model.

    python benchmarks/convert.py [--model MobileNetV2] [--size 224] [--samples 100] [--repeats 3]
"""

import argparse
import json
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKED = 16


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def build(name, size):
    """A network with random weights whose BatchNormalization fits them, so that outputs depend on inputs."""
    import keras
    from networks import settle

    keras.utils.set_random_seed(0)
    network = getattr(keras.applications, name)
    model = network(input_shape=(size, size, 3), weights=None, classifier_activation=None)
    return settle(model, samples(size, 16, 0))


def samples(size, count, seed):
    import numpy as np

    return np.random.default_rng(seed).uniform(-1, 1, (count, size, size, 3)).astype("float32")


def with_tfopt(model, x):
    import tfopt

    # Random weights may be noisy in integers, which is said of one side alone.
    return tfopt.convert(model, "int8", calibration=x, io="float32", least_snr_db=-100)


def by_the_book(model, x):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in x)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


WAYS = {"tfopt": with_tfopt, "TFLiteConverter": by_the_book}


def child(way, name, size, count, folder):
    """One conversion; what it took, to standard output."""
    import keras

    if way == "build":
        model = build(name, size)
        model.save(folder / "model.keras")
        (folder / "expected.pkl").write_bytes(pickle.dumps(model.predict(samples(size, CHECKED, 2), verbose=0)))
        return
    model, x = keras.models.load_model(folder / "model.keras"), samples(size, count, 1)
    model(x[:1])
    convert = WAYS[way]
    if way == "tfopt":
        import tfopt.quantization  # noqa: F401  the import is not the conversion
    before = peak_megabytes()
    start, used = time.perf_counter(), time.process_time()
    content = convert(model, x)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    peak = peak_megabytes()
    (folder / f"{way}.tflite").write_bytes(content)
    print(json.dumps({"seconds": seconds, "cpu": used, "peak": peak, "base": before, "bytes": len(content)}))


def error(folder, way, size):
    """Mean absolute difference from the Keras model, as a share of the mean absolute output."""
    import numpy as np

    from tfopt.tflite.interpreter import Runner

    expected = pickle.loads((folder / "expected.pkl").read_bytes())
    [got] = Runner(folder / f"{way}.tflite")(samples(size, CHECKED, 2)).values()
    return float(np.abs(got - expected).mean() / np.abs(expected).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="MobileNetV2", help="A name in keras.applications.")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=["build", *WAYS])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.model, options.size, options.samples, options.folder)
        return
    taken = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = ["--model", options.model, "--size", str(options.size), "--samples", str(options.samples)]
        settings += ["--folder", name]
        order = [way for repeat in range(options.repeats) for way in (WAYS if repeat % 2 == 0 else reversed(WAYS))]
        for way in ["build", *order]:
            command = [sys.executable, __file__, "--child", way, *settings]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            if way in WAYS:
                taken[way].append(json.loads(result.stdout.splitlines()[-1]))
                print(way, taken[way][-1], flush=True)
        errors = {way: error(folder, way, options.size) for way in WAYS}
    ours, theirs = taken["tfopt"], taken["TFLiteConverter"]

    def ratio(key):
        return statistics.median(key(a) / key(b) for a, b in zip(ours, theirs, strict=True))

    print(f"{options.model} at {options.size}x{options.size}, int8, {options.samples} samples; tfopt / TFLiteConverter")
    for label, key, unit in (
        ("wall time", lambda m: m["seconds"], "s"),
        ("time of all cores", lambda m: m["cpu"], "s"),
        ("peak memory of the process", lambda m: m["peak"], "MB"),
        ("memory that the call added", lambda m: m["peak"] - m["base"], "MB"),
        ("size of the file", lambda m: m["bytes"], "B"),
    ):
        medians = [statistics.median(key(m) for m in side) for side in (ours, theirs)]
        print(f"{label:28} {medians[0]:12,.1f} {unit:3} {medians[1]:12,.1f} {unit:3} ratio {ratio(key):.2f}")
    print(
        f"output error, relative       {errors['tfopt']:12.5f}     {errors['TFLiteConverter']:12.5f}     "
        f"ratio {errors['tfopt'] / errors['TFLiteConverter']:.2f}"
    )


if __name__ == "__main__":
    main()
