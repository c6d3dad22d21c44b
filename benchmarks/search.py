"""The search against a grid made by hand: LeNet-5 on MNIST in 20 KB after gzip, the same epochs for both, three seeds.

The grid is what one would write down: sparsities the same in each layer and allocated by LAMP, each with and without
shared values, each of these with and without int4 in the two dense layers; of its files within 20 KB the most accurate
on the validation split is taken. The search may train no more epochs in all. Accuracy is that of the 10,000 test images
on LiteRT. `--images` takes that many training images, for a machine with few cores.

    TFOPT_DATA=/folder/with/mnist.npz python benchmarks/search.py [--seeds 3] [--images 58000] [--out FOLDER]
"""

import argparse
import itertools
import json
import statistics
import sys
from pathlib import Path

import tfopt

PIPELINES = Path(__file__).parents[1] / "pipelines"
LIMIT = 20_000
TRAINING = {"batch_size": 128, "optimizer": {"adam": {"learning_rate": {"cosine": {"initial_learning_rate": 2e-3}}}}}
SPARSITIES, ALLOCATIONS = (0.96, 0.97, 0.98), ("uniform", "lamp")
# Every point of the grid is pruned for four epochs, and those with shared values go on for two more.
PRUNED, CLUSTERED, CLUSTERS = 4, 2, 16
# The search: so many candidates for an epoch and two of them for ten; of the short ones those that remove channels or
# share values take an epoch more for each, so that together they come to no more than the grid.
TRIALS, EPOCHS, PROMOTED = 8, (1, 10), 2 / 8


def grid(sparsities, files, epochs=(PRUNED, CLUSTERED), training=TRAINING, after="train"):
    """The stages of a grid, a chain each, the epochs that they train, and the names of its files.

    Args:
        sparsities: The fractions of zeros.
        files: Makes the stages `quantize` of a pruned or clustered model from its stage.
        epochs: Epochs of pruning, and of those with shared values after it.
        training: How both train.
        after: The stage that all begin with.
    """
    stages, names = [], []
    for sparsity, allocation in itertools.product(sparsities, ALLOCATIONS):
        name = f"{allocation}-{sparsity:g}".replace(".", "_")
        pruned = tfopt.Prune(
            name=f"pruned-{name}",
            after=after,
            sparsity=sparsity,
            allocation=allocation,
            end=0.5,
            epochs=epochs[0],
            **training,
        )
        shared = tfopt.Cluster(name=f"shared-{name}", clusters=CLUSTERS, epochs=epochs[1], **training)
        made = [*files(pruned), *files(shared)]
        stages += [pruned, shared, *made]
        names += [stage.name for stage in made]
    return stages, sum(stage.epochs for stage in stages if hasattr(stage, "epochs")), names


def with_and_without_int4(before):
    """An int8 file of a model, and one with int4 in its dense layers."""
    for bits in ("int8", "int4"):
        rules = [{"layers": "Dense", "to": "int4"}] if bits == "int4" else []
        yield tfopt.Quantize(name=f"{bits}-{before.name}", after=before.name, mode="int8", rules=rules)


def load(images):
    """MNIST as pipelines/lenet.py has it, with fewer training images."""
    sys.path.insert(0, str(PIPELINES))
    import lenet

    data = lenet.images()
    return {name: v[:images] if name.endswith("_train") else v for name, v in data.items()}


def best_within(artifacts, names, data, figure, limit):
    """Of the files named, those whose figure is within a limit: the most accurate on the validation split first."""
    from tfopt.data.splits import Split

    split = Split(data["x_validation"], data["y_validation"])
    fitting = [artifacts[name] for name in names if artifacts[name].metrics[figure] <= limit]
    return sorted(fitting, key=lambda artifact: accuracy_of(artifact.path, split), reverse=True)


def accuracy_of(path, split):
    """The accuracy of a file on LiteRT."""
    from tfopt import metrics
    from tfopt.metrics import score_split
    from tfopt.tflite import batch_interpreter

    return score_split(metrics.find("accuracy"), split, batch_interpreter.file_outputs(path, split))


def test_accuracy(artifact, data):
    """The accuracy of a result's file on the test split."""
    from tfopt.data.splits import Split

    return accuracy_of(artifact.path, Split(data["x_test"], data["y_test"]))


def recipe_with(own, changes, stages):
    """A recipe with other stages and settings."""
    return own.model_copy(update={**changes, "stages": stages})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=58_000)
    parser.add_argument("--out", default="saved_models/search")
    arguments = parser.parse_args()
    data = load(arguments.images)
    own = tfopt.Recipe.load(PIPELINES / "lenet_5.yaml")
    base = {"model": own.model, "loss": own.loss, "metrics": own.metrics, "data": lambda: data}
    stages, epochs, names = grid(SPARSITIES, with_and_without_int4)
    train = tfopt.Train(epochs=10, **TRAINING)
    found = []
    for seed in range(arguments.seeds):
        shared = {**base, "name": f"seed-{seed}-{arguments.images}", "seed": seed}
        result = tfopt.run(recipe_with(own, shared, [train, *stages]), arguments.out)
        gridded = sum(a.seconds for name, a in result.artifacts.items() if name not in ("source", "train"))
        fitting = best_within(result.artifacts, names, data, "gzip_bytes", LIMIT)
        search = tfopt.Search(
            within={"gzip_bytes": LIMIT}, trials=TRIALS, epochs=EPOCHS, promoted=PROMOTED, training=TRAINING
        )
        result = tfopt.run(recipe_with(own, shared, [train, search]), arguments.out)
        record = result.artifacts["search"]
        spent = sum(one["epochs"] for one in record.details["search"]["tried"])
        chosen = record.metrics
        print(f"seed {seed}: dense {result.artifacts['train'].metrics['accuracy']:.4f}")
        test = test_accuracy(fitting[0], data) if fitting else 0.0
        best = f"{fitting[0].metrics['gzip_bytes']:,.0f} B, {fitting[0].name}" if fitting else "none fits"
        print(f"  grid    {test:.4f} {best}; {epochs} epochs, {gridded:.0f} s")
        print(
            f"  search  {chosen['accuracy']:.4f} {chosen['gzip_bytes']:,.0f} B; {spent} epochs, {record.seconds:.0f} s"
        )
        print(f"  {record.details['search']['dropped']} candidates over budget thrown away", flush=True)
        found.append((test, chosen["accuracy"]))
    by_hand, by_search = (statistics.mean(column) for column in zip(*found, strict=True))
    print(f"mean: grid {by_hand:.4f}, search {by_search:.4f}, {100 * (by_search - by_hand):+.2f} points")
    Path(arguments.out, "summary.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
