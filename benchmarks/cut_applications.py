"""Nets of keras.applications, with random weights, cut to half of their channels: sizes, and the seconds it takes.

    python benchmarks/cut_applications.py [--size 224] [--net ResNet50]

The seconds are of `tfopt.sparsity.remove`, which reads the net, ranks its channels, makes the smaller one and takes its
BatchNormalizations' statistics anew on 16 images, and of the conversion of that to int8, which LiteRT then runs.
"""

import argparse
import time

import keras
import numpy as np

from tfopt.quantization import convert
from tfopt.sparsity import remove
from tfopt.sparsity.structured.removal import reestimate
from tfopt.tflite.interpreter import Runner

NETS = ("MobileNetV2", "ResNet50", "EfficientNetV2B0")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", help="one net; three if not given")
    parser.add_argument("--size", type=int, default=224, help="width and height of the images")
    arguments = parser.parse_args()
    x = np.random.default_rng(0).uniform(0, 255, (16, arguments.size, arguments.size, 3)).astype(np.float32)
    for name in [arguments.net] if arguments.net else NETS:
        keras.utils.set_random_seed(0)
        # As they are made, random nets give next to the same for every image, which int8 cannot tell apart.
        model = getattr(keras.applications, name)(weights=None, input_shape=x.shape[1:], classifier_activation=None)
        reestimate(model, x)
        start = time.perf_counter()
        removal = remove(model, 0.5, x=x)
        cut = time.perf_counter() - start
        dense = convert(model, "int8", x)
        start = time.perf_counter()
        content = convert(removal.model, "int8", x)
        converted = time.perf_counter() - start
        [out] = Runner(content)(x[:1]).values()
        assert np.isfinite(out).all()
        parameters, flops = removal.total("parameters"), removal.total("flops")
        print(f"{name}: {parameters[0]:,} -> {parameters[1]:,} parameters,", end=" ")
        print(f"{flops[0] / 1e6:,.0f} -> {flops[1] / 1e6:,.0f} MFLOPs,", end=" ")
        print(
            f"int8 {len(dense):,} -> {len(content):,} B, cut in {cut:.1f} s, converted in {converted:.1f} s;", end=" "
        )
        print(f"left alone: {', '.join(path for path, _ in removal.skipped) or 'nothing'}", flush=True)


if __name__ == "__main__":
    main()
