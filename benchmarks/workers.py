"""Two worker processes on one machine: whether they come to the weights of one, and what a killed worker costs.

The recipe trains and prunes a small CNN on scikit-learn's digits, in batches that divide evenly. It is run by one
process, by two, and by two of which the second is killed in the middle of an epoch. Seconds lost are those from the
kill to the end of the first epoch after it, less what an epoch takes.

    python benchmarks/workers.py [--epochs 8]
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

NET = """
import keras
from keras import layers


def build():
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
"""
RECIPE = """
name: workers
model: net.py:build
data: npz:digits.npz
loss: sparse_categorical_crossentropy
metrics: [accuracy]
stages:
  - train: {{epochs: {epochs}, batch_size: 64, optimizer: {{momentum: {{learning_rate: 0.02}}}}}}
  - prune: {{epochs: {epochs}, batch_size: 64, sparsity: 0.8, optimizer: {{momentum: {{learning_rate: 0.02}}}}}}
"""


def write(folder, epochs):
    """The network, the recipe, and 1,280 digits to train on: 20 batches of 64."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    parts = {"train": slice(0, 1280), "validation": slice(1280, 1536), "test": slice(1536, 1792)}
    arrays = {f"x_{name}": x[rows] for name, rows in parts.items()}
    np.savez(folder / "digits.npz", **arrays, **{f"y_{name}": labels[rows] for name, rows in parts.items()})
    (folder / "net.py").write_text(NET)
    (folder / "recipe.yaml").write_text(RECIPE.format(epochs=epochs))


def run(folder, out, *more, kill_after=None):
    """Runs the recipe: the seconds it took, those of each epoch's end, and that of the kill."""
    command = [sys.executable, "-m", "tfopt", "run", folder / "recipe.yaml", "--out", folder / out, *more]
    start, ends, killed = time.monotonic(), [], None
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if re.match(r"  epoch \d+/", line):
            ends.append(time.monotonic() - start)
        if len(ends) == kill_after and killed is None:
            usual = statistics.median(np.diff(ends)) if len(ends) > 1 else 0.0
            time.sleep(usual / 2)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(children[1]), 9)
            killed = time.monotonic() - start
    if process.wait():
        raise SystemExit(f"the run ended with exit code {process.returncode}")
    return time.monotonic() - start, ends, killed


def compare(folder, one, other):
    """The largest difference of the weights, and how many of the zeros differ, of both stages."""
    import keras

    for stage in ("train", "prune"):
        weights = [
            keras.models.load_model(folder / out / "workers" / stage / "model.keras").get_weights()
            for out in (one, other)
        ]
        largest = max(float(np.abs(a - b).max()) for a, b in zip(*weights, strict=True))
        zeros = sum(int(((a == 0) != (b == 0)).sum()) for a, b in zip(*weights, strict=True))
        print(f"{one} against {other}, {stage}: largest difference of a weight {largest:.2g}, {zeros} zeros differ")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    epochs = parser.parse_args().epochs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, epochs)
        for out, more in (("one", ()), ("two", ("--workers", "2"))):
            seconds, ends, _ = run(folder, out, *more)
            print(f"{out}: {seconds:.1f} s, an epoch {statistics.median(np.diff(ends)):.2f} s", flush=True)
        usual = statistics.median(np.diff(ends))
        seconds, ends, killed = run(folder, "killed", "--workers", "2", kill_after=epochs // 2)
        after = min(end for end in ends if end > killed)
        print(f"killed: {seconds:.1f} s, {after - killed - usual:.1f} s lost", flush=True)
        compare(folder, "one", "two")
        compare(folder, "two", "killed")


if __name__ == "__main__":
    main()
