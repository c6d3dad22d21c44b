"""The search against a grid made by hand, within a budget in bytes after gzip.

    resnet_8  MLPerf Tiny's ResNet-8 on 6,000 images of JPEG CIFAR-10, within 40 KB
    ds_cnn    MLPerf Tiny's DS-CNN on the spoken digits, as ten cepstral coefficients, within 25 KB and within 15 KB

Both begin with one dense net. The grid is what one would write down: two sparsities, the same in each layer and
allocated by LAMP, each with and without shared values, each of these in int8 and in int4; of its files within the
budget the most accurate on the validation split is taken. The search chooses on the same split; the epochs that each
side trained are figures of a row. Accuracy is that of the test split on LiteRT.

    TFOPT_DATA=folder-with-the-data python benchmarks/search_rows.py --list
    TFOPT_DATA=folder-with-the-data python benchmarks/search_rows.py --row 'resnet_8 seed 0' [--work FOLDER]
"""

from dataclasses import dataclass
from functools import partial

from table import Row, main

SEEDS = range(3)
# Training images of ResNet-8: few, so that three seeds of both sides take minutes.
IMAGES = 6_000


@dataclass(frozen=True)
class Task:
    """A net, its budget, and how both sides train.

    Args:
        net: The net in networks.py and its data in tasks.py: `network` below.
        limit: The budget in bytes after gzip.
        sparsities: The fractions of zeros of the grid.
        dense: Epochs of the dense net.
        grid: Epochs of pruning, and of those with shared values after it.
        trials: How many candidates the search trains for a short time, and how many of them for longer.
        epochs: Both times, in epochs.
        rate: Learning rates of the dense net and of all that follows, each falling to nothing.
        batch_size: Samples of a step.
        minutes: About how long a seed takes on two cores.
    """

    net: str
    limit: int
    sparsities: tuple[float, float]
    dense: int
    grid: tuple[int, int]
    trials: tuple[int, int]
    epochs: tuple[int, int]
    rate: tuple[float, float]
    batch_size: int
    minutes: float


SPOKEN = {"dense": 16, "grid": (3, 1), "trials": (5, 1), "epochs": (1, 5), "rate": (3e-3, 1e-3), "batch_size": 32}
TASKS = {
    "resnet_8": Task(
        "resnet_8",
        40_000,
        (0.5, 0.7),
        dense=16,
        grid=(2, 1),
        trials=(4, 1),
        epochs=(1, 4),
        rate=(2e-3, 1e-3),
        batch_size=64,
        minutes=5,
    ),
    "ds_cnn": Task("ds_cnn", 25_000, (0.3, 0.5), **SPOKEN, minutes=3),
    "ds_cnn within 15 KB": Task("ds_cnn", 15_000, (0.8, 0.9), **SPOKEN, minutes=3),
}


def network(name):
    """What builds a net, and its data."""
    import networks
    import tasks

    if name == "resnet_8":
        return networks.resnet_8, tasks.jpeg_cifar10(IMAGES)
    return lambda: networks.ds_cnn((61, 10, 1), 10), tasks.spoken_coefficients()


def with_rate(rate, batch_size):
    """Settings of a training with a rate that falls to nothing."""
    return {
        "batch_size": batch_size,
        "optimizer": {"adam": {"learning_rate": {"cosine": {"initial_learning_rate": rate}}}},
    }


def in_both_widths(before):
    """An int8 file of a model, and an int4 file whose integers are chosen as the search does it."""
    import tfopt

    yield tfopt.Quantize(name=f"int8-{before.name}", after=before.name, mode="int8")
    yield tfopt.Quantize(name=f"int4-{before.name}", after=before.name, mode="int4", rounding="descent")


def compared(name, seed, work):
    """The best file of the grid and the file of the search, of one seed."""
    import search

    import tfopt

    task = TASKS[name]
    folder = work / "search_rows"
    build, data = network(task.net)
    shared = {"data": lambda: data, "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    train = tfopt.Train(epochs=task.dense, **with_rate(task.rate[0], task.batch_size))
    recipe = tfopt.Recipe(name=f"{task.net}-dense", model=build, stages=[train, tfopt.Quantize()], **shared)
    dense = tfopt.run(recipe, folder).artifacts
    training = with_rate(task.rate[1], task.batch_size)
    stages, epochs, names = search.grid(task.sparsities, in_both_widths, task.grid, training, "source")
    own = {"model": str(dense["train"].path), "seed": seed, **shared}
    place = name.replace(" ", "_")
    made = tfopt.run(tfopt.Recipe(name=f"{place}-grid-{seed}", stages=stages, **own), folder).artifacts
    [best, *_] = search.best_within(made, names, data, "gzip_bytes", task.limit)
    look = tfopt.Search(
        within={"gzip_bytes": task.limit},
        trials=task.trials[0],
        epochs=task.epochs,
        promoted=task.trials[1] / task.trials[0],
        training=training,
    )
    found = tfopt.run(tfopt.Recipe(name=f"{place}-search-{seed}", stages=[look], **own), folder).artifacts["search"]
    tried = found.details["search"]["tried"]
    by_hand, by_search = search.test_accuracy(best, data), search.test_accuracy(found, data)
    figures = {
        "dense int8 accuracy": search.test_accuracy(dense["quantize"], data),
        "dense int8 gzip bytes": dense["quantize"].metrics["gzip_bytes"],
        "limit bytes": task.limit,
        "grid accuracy": by_hand,
        "grid bytes": best.metrics["gzip_bytes"],
        "grid epochs": epochs,
        "search accuracy": by_search,
        "search bytes": found.metrics["gzip_bytes"],
        "search epochs": sum(one["epochs"] for one in tried),
        "search ahead by": by_search - by_hand,
    }
    return figures, [f"The grid's best is {best.name}."]


ROWS = [
    Row(f"{name} seed {seed}", partial(compared, name, seed), TASKS[name].minutes, quick=name == "ds_cnn" and not seed)
    for seed in SEEDS
    for name in TASKS
]

if __name__ == "__main__":
    main(ROWS, __doc__)
