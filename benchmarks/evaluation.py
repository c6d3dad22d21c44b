"""10,000 samples through a `.tflite`: tfopt's evaluation against the loop over single samples that people write.

`python benchmarks/evaluation.py [file.tflite ...]`; without files it converts three small networks first. Both sides
quantize the inputs in the same way, and their outputs are compared.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tfopt.tflite.batch_interpreter import BatchInterpreter
from tfopt.tflite.interpreter import Runner, dequantize, quantize_samples

SAMPLES = 10_000


def loop(content, x, inputs, details):
    """One sample at a time, quantized and dequantized, as in LiteRT's own examples."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    collected = {name: [] for name in details}
    for index in range(SAMPLES):
        for name, feed in quantize_samples({key: v[index : index + 1] for key, v in x.items()}, inputs).items():
            interpreter.set_tensor(inputs[name]["index"], feed)
        interpreter.invoke()
        for name, detail in details.items():
            collected[name].append(dequantize(interpreter.get_tensor(detail["index"]), detail))
    return {name: np.concatenate(values) for name, values in collected.items()}


def networks():
    """Small networks with random weights, in int8 and float32."""
    import keras
    from keras import layers

    import tfopt

    def net(*parts):
        keras.utils.set_random_seed(0)
        return keras.Sequential([layers.Input((28, 28, 1)), *parts, layers.Dense(10, activation="softmax")])

    nets = {
        "perceptron": net(layers.Flatten(), layers.Dense(32, activation="relu")),
        "small CNN": net(layers.Conv2D(8, 3, strides=2, activation="relu"), layers.MaxPooling2D(), layers.Flatten()),
        "LeNet-5": net(
            layers.Conv2D(20, 5), layers.MaxPooling2D(), layers.Conv2D(50, 5), layers.MaxPooling2D(), layers.Flatten(),
            layers.Dense(500, activation="relu"),
        ),
    }  # fmt: skip
    x = np.random.default_rng(0).random((100, 28, 28, 1)).astype(np.float32)
    return {
        f"{name}, {mode}": tfopt.convert(model, mode, calibration=x)
        for name, model in nets.items()
        for mode in ("int8", "float32")
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    contents = {path.name: path.read_bytes() for path in options.files} or networks()
    for name, content in contents.items():
        runner = Runner(content)
        generator = np.random.default_rng(0)
        x = {
            key: generator.random((SAMPLES, *detail["shape"][1:])).astype(np.float32)
            for key, detail in runner.inputs.items()
        }
        slow, fast = [], []
        for _ in range(options.repeats):
            start = time.perf_counter()
            expected = loop(content, x, runner.inputs, runner.outputs)
            middle = time.perf_counter()
            found = BatchInterpreter(content)(x)
            slow.append(middle - start)
            fast.append(time.perf_counter() - middle)
        ratio = statistics.median(a / b for a, b in zip(slow, fast, strict=True))
        error = max(float(np.abs(found[key] - expected[key]).max()) for key in expected)
        print(
            f"{name:24} loop {SAMPLES / statistics.median(slow):9,.0f}/s  tfopt "
            f"{SAMPLES / statistics.median(fast):9,.0f}/s  {ratio:5.2f}x  largest difference {error:.2g}"
        )


if __name__ == "__main__":
    main()
