"""The search against a grid made by hand on an Ethos-U: LeNet-5 on MNIST within 0.25 ms on ethos-u55-128, by Vela.

The grid is what one would write down: two sparsities, the same in each layer and allocated by LAMP, each with and
without shared values; of its files within the time the most accurate on the validation split is taken. The search may
train no more epochs in all. Accuracy is that of the 10,000 test images on LiteRT, times are Vela's estimates.

    TFOPT_DATA=/folder/with/mnist.npz python benchmarks/search_devices.py [--seeds 1] [--images 10000] [--out FOLDER]
"""

import argparse
import json
import statistics
from pathlib import Path

from search import PIPELINES, TRAINING, best_within, grid, load, recipe_with, test_accuracy

import tfopt

TARGET, LIMIT = "ethos-u55-128", 0.25
BASE = 6
SPARSITIES = (0.85, 0.93)
# So many candidates for an epoch to each of their stages, up to three, and two of them for five.
TRIALS, EPOCHS, PROMOTED = 5, (1, 5), 2 / 5


def for_the_target(before):
    """The int8 file of a model."""
    yield tfopt.Quantize(name=f"int8-{before.name}", after=before.name, target=TARGET)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--out", default="saved_models/search_devices")
    arguments = parser.parse_args()
    data = load(arguments.images)
    own = tfopt.Recipe.load(PIPELINES / "lenet_5.yaml")
    base = {"model": own.model, "loss": own.loss, "metrics": own.metrics, "data": lambda: data}
    stages, epochs, names = grid(SPARSITIES, for_the_target)
    train = tfopt.Train(epochs=BASE, **TRAINING)
    found = []
    for seed in range(arguments.seeds):
        shared = {**base, "name": f"seed-{seed}-{arguments.images}", "seed": seed}
        made = tfopt.run(recipe_with(own, shared, [train, *stages]), arguments.out).artifacts
        gridded = sum(a.seconds for name, a in made.items() if name not in ("source", "train"))
        fitting = best_within(made, names, data, "npu_milliseconds", LIMIT)
        by_hand = test_accuracy(fitting[0], data) if fitting else 0.0
        best = f"{fitting[0].metrics['npu_milliseconds']:.3f} ms, {fitting[0].name}" if fitting else "none fits"
        search = tfopt.Search(
            target=TARGET,
            within={"npu_milliseconds": LIMIT},
            trials=TRIALS,
            epochs=EPOCHS,
            promoted=PROMOTED,
            training=TRAINING,
        )
        record = tfopt.run(recipe_with(own, shared, [train, search]), arguments.out).artifacts["search"]
        tried = record.details["search"]["tried"]
        within = sum(one["device"]["npu_milliseconds"] <= LIMIT for one in tried)
        dense = made["train"].metrics["accuracy"]
        print(f"seed {seed}: dense {dense:.4f}, limit {LIMIT} ms on {TARGET} (Vela's estimate)")
        print(f"  grid    {by_hand:.4f} {best}; {epochs} epochs, {gridded:.0f} s")
        print(f"          {len(fitting)} of {len(names)} files are within the limit")
        spent = sum(one["epochs"] for one in tried)
        chosen = record.metrics
        accuracy = chosen["accuracy"]
        print(f"  search  {accuracy:.4f} {chosen['npu_milliseconds']:.3f} ms; {spent} epochs, {record.seconds:.0f} s")
        print(f"          {within} of {len(tried)} files are within the limit", flush=True)
        found.append((by_hand, accuracy))
    by_hand, by_search = (statistics.mean(column) for column in zip(*found, strict=True))
    print(f"mean: grid {by_hand:.4f}, search {by_search:.4f}, {100 * (by_search - by_hand):+.2f} points")
    Path(arguments.out, "summary.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
