"""Samples through a `.tflite`: tfopt's scoring against the loop over single samples that people write.

`python benchmarks/scoring.py [file.tflite ...]`; without files it converts some networks first. The ways are run one
after the other in each of the repeats, and ratios are medians over them. All quantize their inputs in the same way.
What comes out is compared with the loop's: to the bit of a file in integers. The ways are

- loop: `set_tensor`, `invoke`, `get_tensor` for each sample, on one thread; what the others are measured by;
- threads: that loop with LiteRT's own threads, one for each core;
- batch: one interpreter on one thread, in tfopt's batches: what batching gives alone;
- tfopt: such an interpreter on each core.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tfopt.tflite.batch_interpreter import BatchInterpreter
from tfopt.tflite.interpreter import Runner, dequantize, quantize_samples

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def loop(content, x, runner, threads=1):
    """One sample at a time, quantized and dequantized, as in LiteRT's own examples."""
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    collected = {name: [] for name in runner.outputs}
    for index in range(len(next(iter(x.values())))):
        feeds = quantize_samples({key: v[index : index + 1] for key, v in x.items()}, runner.inputs)
        for name, feed in feeds.items():
            interpreter.set_tensor(runner.inputs[name]["index"], feed)
        interpreter.invoke()
        for name, detail in runner.outputs.items():
            collected[name].append(dequantize(interpreter.get_tensor(detail["index"]), detail))
    return {name: np.concatenate(values) for name, values in collected.items()}


WAYS = {
    "loop": loop,
    "threads": lambda content, x, runner: loop(content, x, runner, CORES),
    "batch": lambda content, x, _: BatchInterpreter(content, workers=1)(x),
    "tfopt": lambda content, x, _: BatchInterpreter(content)(x),
}


def networks():
    """Networks with random weights, in int8 and float32."""
    import keras
    from keras import layers

    import tfopt

    def net(shape, *parts):
        keras.utils.set_random_seed(0)
        return keras.Sequential([layers.Input(shape), *parts, layers.Dense(10, activation="softmax")])

    def transformer():
        x = tokens = layers.Input((16, 32))
        for _ in range(2):
            x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 8)(x, x))
            x = layers.LayerNormalization()(x + layers.Dense(32)(layers.Dense(64, activation="relu")(x)))
        return keras.Model(tokens, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling1D()(x)))

    image = (28, 28, 1)
    nets = {
        "perceptron": net(image, layers.Flatten(), layers.Dense(300, activation="relu")),
        "small CNN": net(image, layers.Conv2D(8, 3, strides=2), layers.MaxPooling2D(), layers.Flatten()),
        "LeNet-5": net(
            image, layers.Conv2D(20, 5), layers.MaxPooling2D(), layers.Conv2D(50, 5), layers.MaxPooling2D(),
            layers.Flatten(), layers.Dense(500, activation="relu"),
        ),
        "MobileNetV2-96": keras.applications.MobileNetV2((96, 96, 3), 0.35, weights=None, classes=10),
        "LSTM": net((20, 12), layers.LSTM(32)),
        "GRU": net((20, 12), layers.GRU(32)),
        "transformer": transformer(),
    }  # fmt: skip
    for name, model in nets.items():
        x = np.random.default_rng(0).random((100, *model.inputs[0].shape[1:])).astype(np.float32)
        for mode in ("int8", "float32"):
            yield f"{name}, {mode}", tfopt.convert(model, mode, calibration=x)


def measure(name, content, count, repeats):
    """Prints the rates of all ways on one file, and their ratios to the loop."""
    runner, generator = Runner(content), np.random.default_rng(0)
    x = {
        key: generator.random((count, *detail["shape"][1:])).astype(np.float32) for key, detail in runner.inputs.items()
    }
    seconds = {way: [] for way in WAYS}
    found = {}
    for _ in range(repeats):
        for way, run in WAYS.items():
            start = time.perf_counter()
            found[way] = run(content, x, runner)
            seconds[way].append(time.perf_counter() - start)
    ratios = {w: statistics.median(a / b for a, b in zip(seconds["loop"], s, strict=True)) for w, s in seconds.items()}
    rates = "  ".join(f"{w} {count / statistics.median(s):9,.0f}/s {ratios[w]:5.2f}x" for w, s in seconds.items())
    strayed = max(float(np.abs(found["tfopt"][key] - values).max()) for key, values in found["loop"].items())
    print(f"{name:24} {rates}  largest difference {strayed:.2g}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for name, content in [(path.name, path.read_bytes()) for path in options.files] or networks():
        measure(name, content, options.samples, options.repeats)


if __name__ == "__main__":
    main()
