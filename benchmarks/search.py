"""The search against a grid made by hand: LeNet-5 on MNIST in 20 KB after gzip, the same epochs for both, three seeds.

The grid is what one would write down: uniform sparsities, with and without shared values, with and without int4 in the
two dense layers; of its files within 20 KB the most accurate on the validation split is taken. The search has as many
epochs of training in all. Accuracy is that of the 10,000 test images on LiteRT. `--images` takes that many training
images, for a machine with few cores.

    TFOPT_DATA=/folder/with/mnist.npz python benchmarks/search.py [--seeds 3] [--images 58000] [--out FOLDER]
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path

import tfopt

PIPELINES = Path(__file__).parents[1] / "pipelines"
LIMIT = 20_000
TRAINING = {"batch_size": 128, "optimizer": {"adam": {"learning_rate": {"cosine": {"initial_learning_rate": 2e-3}}}}}
SPARSITIES, CLUSTERS, DENSE_BITS = (0.95, 0.96, 0.97, 0.98), (0, 16), ("int8", "int4")
# Every point of the grid is pruned for four epochs, and clustered for two more.
PRUNED, CLUSTERED = 4, 2


def grid():
    """The stages of the grid, a chain each, and the epochs they take together."""
    stages, epochs, names = [], 0, []
    for sparsity, clusters in itertools.product(SPARSITIES, CLUSTERS):
        name = f"{sparsity:g}-{clusters}".replace(".", "_")
        stages.append(
            tfopt.Prune(name=f"p-{name}", after="train", sparsity=sparsity, end=0.5, epochs=PRUNED, **TRAINING)
        )
        epochs += PRUNED
        if clusters:
            stages.append(tfopt.Cluster(name=f"c-{name}", clusters=clusters, epochs=CLUSTERED, **TRAINING))
            epochs += CLUSTERED
        last = stages[-1].name
        for bits in DENSE_BITS:
            rules = [{"layers": "Dense", "to": "int4"}] if bits == "int4" else []
            stages.append(tfopt.Quantize(name=f"{bits}-{name}", after=last, mode="int8", rules=rules))
            names.append(f"{bits}-{name}")
    return stages, epochs, names


def load(images):
    """MNIST as pipelines/lenet.py has it, with fewer training images."""
    sys.path.insert(0, str(PIPELINES))
    import lenet

    data = lenet.images()
    return {name: v[:images] if name.endswith("_train") else v for name, v in data.items()}


def best_of_grid(artifacts, names, data):
    """The most accurate file within the limit on the validation split, with its test accuracy."""
    from tfopt import evaluate, metrics
    from tfopt.data import Split

    accuracy = metrics.find("accuracy")

    def score(path, part):
        split = Split(data[f"x_{part}"], data[f"y_{part}"])
        return evaluate.score(accuracy, split, evaluate.file_outputs(path, split))

    fitting = [artifacts[name] for name in names if artifacts[name].metrics["gzip_bytes"] <= LIMIT]
    if not fitting:
        return None
    best = max(fitting, key=lambda artifact: score(artifact.path, "validation"))
    return best.name, score(best.path, "validation"), score(best.path, "test"), best.metrics["gzip_bytes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=58_000)
    parser.add_argument("--out", default="saved_models/search")
    arguments = parser.parse_args()
    data = load(arguments.images)
    own = tfopt.Recipe.load(PIPELINES / "lenet_5.yaml")
    base = {"model": own.model, "loss": own.loss, "metrics": own.metrics, "data": lambda: data}
    stages, epochs, names = grid()
    train = tfopt.Train(epochs=10, **TRAINING)
    # A third of the epochs for long trainings: t short ones of 1 epoch, and t / 10 long ones of 5.
    trials = round(epochs / 1.5)
    found = []
    for seed in range(arguments.seeds):
        shared = {**base, "name": f"seed-{seed}-{arguments.images}", "seed": seed}
        start = time.monotonic()
        result = tfopt.run(_recipe(own, shared, [train, *stages]), arguments.out)
        gridded = time.monotonic() - start
        by_hand = best_of_grid(result.artifacts, names, data)
        start = time.monotonic()
        search = tfopt.Search(
            within={"gzip_bytes": LIMIT}, trials=trials, epochs=(1, 5), promoted=0.1, training=TRAINING
        )
        result = tfopt.run(_recipe(own, shared, [train, search]), arguments.out)
        searched = time.monotonic() - start
        record = result.artifacts["search"]
        spent = sum(one["epochs"] for one in record.details["search"]["tried"])
        chosen = record.metrics
        print(f"seed {seed}: dense {result.artifacts['train'].metrics['accuracy']:.4f}")
        name, _, test, size = by_hand or ("none fits", 0, 0, 0)
        print(f"  grid    {test:.4f} {size:,.0f} B, {name}; {epochs} epochs, {gridded:.0f} s")
        print(f"  search  {chosen['accuracy']:.4f} {chosen['gzip_bytes']:,.0f} B; {spent} epochs, {searched:.0f} s")
        print(f"  {record.details['search']['dropped']} candidates over budget thrown away", flush=True)
        found.append((test, chosen["accuracy"]))
    by_hand, by_search = (statistics.mean(column) for column in zip(*found, strict=True))
    print(f"mean: grid {by_hand:.4f}, search {by_search:.4f}, {100 * (by_search - by_hand):+.2f} points")
    Path(arguments.out, "summary.json").write_text(json.dumps(found))


def _recipe(own, changes, stages):
    return own.model_copy(update={**changes, "stages": stages})


if __name__ == "__main__":
    main()
