"""The search against a grid made by hand on an Ethos-U: LeNet-5 on MNIST within 0.25 ms on ethos-u55-128, by Vela.

The grid is what one would write down: two sparsities, the same in each layer and allocated by LAMP, each with and
without shared values; of its files within the time the most accurate on the validation split is taken. The search may
train no more epochs in all. Accuracy is that of the 10,000 test images on LiteRT, times are Vela's estimates.

    TFOPT_DATA=/folder/with/mnist.npz python benchmarks/search_devices.py [--seeds 1] [--images 10000] [--out FOLDER]
"""

import argparse
import itertools
import json
import statistics
import sys
from pathlib import Path

import tfopt

PIPELINES = Path(__file__).parents[1] / "pipelines"
TARGET, LIMIT = "ethos-u55-128", 0.25
TRAINING = {"batch_size": 128, "optimizer": {"adam": {"learning_rate": {"cosine": {"initial_learning_rate": 2e-3}}}}}
BASE = 6
SPARSITIES, ALLOCATIONS = (0.85, 0.93), ("uniform", "lamp")
# Every point of the grid is pruned for four epochs, and those with shared values go on for two more: 24 in all.
PRUNED, CLUSTERED, CLUSTERS = 4, 2, 16
# So many candidates for an epoch to each of their stages, up to three, and two of them for five.
TRIALS, EPOCHS, PROMOTED = 5, (1, 5), 2 / 5


def grid():
    """The stages of the grid, a chain each, the epochs that they train, and the names of its files."""
    stages, names = [], []
    for sparsity, allocation in itertools.product(SPARSITIES, ALLOCATIONS):
        name = f"{allocation}-{sparsity:g}".replace(".", "_")
        pruned = tfopt.Prune(
            name=f"pruned-{name}",
            after="train",
            sparsity=sparsity,
            allocation=allocation,
            end=0.5,
            epochs=PRUNED,
            **TRAINING,
        )
        shared = tfopt.Cluster(name=f"shared-{name}", clusters=CLUSTERS, epochs=CLUSTERED, **TRAINING)
        stages += [pruned, shared]
        for before in (pruned, shared):
            names.append(f"int8-{before.name}")
            stages.append(tfopt.Quantize(name=names[-1], after=before.name, target=TARGET))
    return stages, sum(stage.epochs for stage in stages if hasattr(stage, "epochs")), names


def load(images):
    """MNIST as pipelines/lenet.py has it, with fewer training images."""
    sys.path.insert(0, str(PIPELINES))
    import lenet

    return {name: v[:images] if name.endswith("_train") else v for name, v in lenet.images().items()}


def best_of_grid(artifacts, names, data):
    """The most accurate file within the time on the validation split: its name, test accuracy, and time."""
    from tfopt import metrics
    from tfopt.data.splits import Split
    from tfopt.metrics import score_split
    from tfopt.tflite import batch_interpreter

    accuracy = metrics.find("accuracy")

    def score(artifact, part):
        split = Split(data[f"x_{part}"], data[f"y_{part}"])
        return score_split(accuracy, split, batch_interpreter.file_outputs(artifact.path, split))

    fitting = [artifacts[name] for name in names if artifacts[name].metrics["npu_milliseconds"] <= LIMIT]
    if not fitting:
        return None
    best = max(fitting, key=lambda artifact: score(artifact, "validation"))
    return best.name, score(best, "test"), best.metrics["npu_milliseconds"], len(fitting)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--out", default="saved_models/search_devices")
    arguments = parser.parse_args()
    data = load(arguments.images)
    own = tfopt.Recipe.load(PIPELINES / "lenet_5.yaml")
    base = {"model": own.model, "loss": own.loss, "metrics": own.metrics, "data": lambda: data}
    stages, epochs, names = grid()
    train = tfopt.Train(epochs=BASE, **TRAINING)
    found = []
    for seed in range(arguments.seeds):
        shared = {**base, "name": f"seed-{seed}-{arguments.images}", "seed": seed}
        made = tfopt.run(_recipe(own, shared, [train, *stages]), arguments.out).artifacts
        gridded = sum(a.seconds for name, a in made.items() if name not in ("source", "train"))
        name, by_hand, time, fitting = best_of_grid(made, names, data) or ("none fits", 0.0, 0.0, 0)
        search = tfopt.Search(
            target=TARGET,
            within={"npu_milliseconds": LIMIT},
            trials=TRIALS,
            epochs=EPOCHS,
            promoted=PROMOTED,
            training=TRAINING,
        )
        record = tfopt.run(_recipe(own, shared, [train, search]), arguments.out).artifacts["search"]
        tried = record.details["search"]["tried"]
        within = sum(one["device"]["npu_milliseconds"] <= LIMIT for one in tried)
        dense = made["train"].metrics["accuracy"]
        print(f"seed {seed}: dense {dense:.4f}, limit {LIMIT} ms on {TARGET} (Vela's estimate)")
        print(f"  grid    {by_hand:.4f} {time:.3f} ms, {name}; {epochs} epochs, {gridded:.0f} s")
        print(f"          {fitting} of {len(names)} files are within the limit")
        spent = sum(one["epochs"] for one in tried)
        chosen = record.metrics
        accuracy = chosen["accuracy"]
        print(f"  search  {accuracy:.4f} {chosen['npu_milliseconds']:.3f} ms; {spent} epochs, {record.seconds:.0f} s")
        print(f"          {within} of {len(tried)} files are within the limit", flush=True)
        found.append((by_hand, accuracy))
    by_hand, by_search = (statistics.mean(column) for column in zip(*found, strict=True))
    print(f"mean: grid {by_hand:.4f}, search {by_search:.4f}, {100 * (by_search - by_hand):+.2f} points")
    Path(arguments.out, "summary.json").write_text(json.dumps(found))


def _recipe(own, changes, stages):
    return own.model_copy(update={**changes, "stages": stages})


if __name__ == "__main__":
    main()
