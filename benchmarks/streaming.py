"""Data larger than memory through every stage: how much memory the process takes beyond TensorFlow's own.

`python benchmarks/streaming.py [--gigabytes 8]` generates images on the fly, never holds more than a few batches, and
runs train, prune, prune_channels, remove_dead, cluster, quantize, verify and benchmark on them.
"""

import argparse
import resource
import tempfile

import numpy as np

SIDE, CLASSES, BATCH = 64, 10, 256
BYTES = SIDE * SIDE * 3 * 4  # of a sample, in float32


def batches(start, samples):
    """Images whose class is where they are bright, batch by batch."""
    for first in range(start, start + samples, BATCH):
        count = min(BATCH, start + samples - first)
        generator = np.random.default_rng(first)
        y = generator.integers(0, CLASSES, count)
        x = generator.normal(0, 1, (count, SIDE, SIDE, 3)).astype(np.float32)
        for image, label in zip(x, y, strict=True):
            image[6 * label : 6 * label + 6] += 1
        yield x, y


def build():
    """A small CNN."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 3)),
            layers.Conv2D(16, 5, strides=4, activation="relu"),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def peak():
    """The most memory that the process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=8.0)
    samples = int(parser.parse_args().gigabytes * 1e9 / BYTES)

    import tfopt

    model = build()
    model(np.zeros((1, SIDE, SIDE, 3), np.float32))
    tfopt.convert(model, "int8", calibration=next(batches(0, 8))[0])
    before = peak()
    held = samples // 20
    parts = {"train": (0, samples - 2 * held), "validation": (samples, held), "test": (2 * samples, held)}
    data = tfopt.Data(
        **{name: tfopt.Stream(lambda start=start, n=n: batches(start, n), n) for name, (start, n) in parts.items()}
    )
    stages = [
        tfopt.Train(epochs=1, batch_size=BATCH),
        tfopt.Prune(epochs=1, batch_size=BATCH, sparsity=0.5),
        tfopt.PruneChannels(epochs=1, batch_size=BATCH, keep=0.5, after="train"),
        tfopt.RemoveDead(),
        tfopt.Cluster(epochs=1, batch_size=BATCH, clusters=16),
        tfopt.Quantize(max_drop=0.02),
        tfopt.Verify(),
        tfopt.Benchmark(),
    ]
    recipe = tfopt.Recipe(
        name="streaming",
        model=build,
        data=data,
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        stages=stages,
    )
    with tempfile.TemporaryDirectory() as out:
        result = tfopt.run(recipe, out)
        for artifact in result.artifacts.values():
            print(f"{artifact.name:16} {artifact.seconds:7.1f} s  {artifact.metrics.get('accuracy', float('nan')):.4f}")
    print(f"{samples:,} samples, {samples * BYTES / 1e9:.1f} GB an epoch")
    print(f"memory: {before:,.0f} MB before the run, {peak():,.0f} MB at most, {peak() - before:,.0f} MB more")


if __name__ == "__main__":
    main()
