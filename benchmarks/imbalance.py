"""Digits of which five are rare: balanced accuracy without and with each way to balance.

`TFOPT_DATA=... python benchmarks/imbalance.py` trains LeNet-5 on MNIST with every second digit kept to one in fifty,
three seeds for each way, all else the same.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

import tfopt

ROOT = Path(__file__).parents[1]
RARE, SHARE = (1, 3, 5, 7, 9), 50
WAYS = {
    "nothing": {},
    "class_weight": {"class_weight": "balanced"},
    "oversample": {"oversample": True},
    "focal": {"loss": "focal"},
    "focal, alpha by class": {"loss": "weighted"},
}


def imbalanced():
    """MNIST with few samples of some digits in training; the test split is whole."""
    with np.load(Path(os.environ["TFOPT_DATA"]) / "mnist.npz") as file:
        x, y, x_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    kept = np.ones(len(y), bool)
    for digit in RARE:
        of_digit = np.flatnonzero(y == digit)
        kept[of_digit[len(of_digit) // SHARE :]] = False
    return (x[kept], y[kept]), (x_test, y_test)


def loss_of(way, y):
    """The loss of a way to balance."""
    if way.get("loss") is None:
        return "sparse_categorical_crossentropy"
    counts = np.bincount(y)
    alpha = (counts.sum() / (len(counts) * counts)).tolist() if way["loss"] == "weighted" else 1.0
    return {"sparse_categorical_focal_crossentropy": {"alpha": alpha, "gamma": 2.0}}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    data = imbalanced()
    y = data[0][1]
    print(f"{len(y):,} training images; " + ", ".join(f"{d}: {n}" for d, n in enumerate(np.bincount(y))))
    for name, way in WAYS.items():
        found = []
        for seed in range(options.seeds):
            fields = {key: value for key, value in way.items() if key != "loss"}
            train = tfopt.Train(epochs=options.epochs, batch_size=128, **fields)
            recipe = tfopt.Recipe(
                name="imbalance",
                model=f"{ROOT}/pipelines/mnist.py:lenet5",
                data=data,
                loss=loss_of(way, y),
                metrics=["balanced_accuracy", "accuracy"],
                seed=seed,
                stages=[train],
            )
            with tempfile.TemporaryDirectory() as out:
                found.append(tfopt.run(recipe, out).metrics)
        scores = [each["balanced_accuracy"] for each in found]
        print(f"{name:24} balanced accuracy {np.mean(scores):.4f}  ({', '.join(f'{s:.4f}' for s in scores)})")


if __name__ == "__main__":
    main()
