"""Channels of ResNet-8 removed on JPEG CIFAR-10, after the protocol that is published for ResNet-56 on CIFAR-10.

From a dense net channels are removed to 2.1 and 2.55 times fewer operations by each score, all layers ranked together,
and what is left is trained for six epochs. Sparse learning takes six more epochs, before the removal: `group_norm`
grows with the norm of the group as DepGraph has it and is followed by the score l2, `batchnorm slimmed` by the score
batchnorm. What these rows owe to the epochs alone, `l1 as long` shows, which trains for twelve epochs after its
removal, and `dense, trained on`, the dense net after six epochs more with no channel removed.

The published protocol trains ResNet-56 on all 50,000 images, for 100 epochs after the removal and 100 of sparse
learning before it; here are 10,000 images and six epochs of each. Sparse learning first had three of the six epochs and
none besides, at a weight of 3e-3: its difference at 2.1 times fewer operations was -.0524 for the first seed, on which
the epochs were changed to what the published protocol has. The weight of `group_norm` was chosen by the
validation accuracy of the first seed, of which there are rows with the others; that of `batchnorm slimmed` was set from
the number of steps and the learning rates, and there is a row with another.

    TFOPT_DATA=folder-with-the-data python benchmarks/channel_protocol.py --list
    TFOPT_DATA=folder-with-the-data python benchmarks/channel_protocol.py --row 'l1 2.1x seed 0' [--work FOLDER]

References:
    Fang et al., DepGraph: towards any structural pruning, arXiv:2301.12900.
    He et al., Deep residual learning for image recognition, arXiv:1512.03385 (the nets for CIFAR-10, flips and shifts).
"""

from functools import partial

from table import Row, main

SEEDS = range(3)
IMAGES, BATCH = 10_000, 64
# Epochs of the dense net, after a removal, and of sparse learning before it. Learning rates of the dense net and of all
# that follows, each falling to nothing.
DENSE, AFTER, LEARNING = 16, 6, 6
RATES = (0.05, 0.02)
L2 = 2.5e-4
SHIFT = 2
SPEEDUPS = (2.1, 2.55)
# The score of each way, its sparse learning, and how many epochs it has besides those after the removal.
WAYS = {
    "l1": ("l1", None, 0),
    "l1 as long": ("l1", None, LEARNING),
    "group_norm": ("l2", {"penalty": "group_norm", "weight": 1e-4}, LEARNING),
    "taylor": ("taylor", None, 0),
    "batchnorm slimmed": ("batchnorm", {"penalty": "batchnorm", "weight": 1e-3}, LEARNING),
    "l2": ("l2", None, 0),
    "batchnorm": ("batchnorm", None, 0),
    "activity": ("activity", None, 0),
    "random": ("random", None, 0),
}
# The ways that all seeds have, and the speedups of each; the others are of the first seed at the lower one.
MAIN = {"l1": SPEEDUPS, "group_norm": SPEEDUPS, "l1 as long": SPEEDUPS[:1]}
# Other weights of sparse learning, for the choice by validation accuracy.
OTHERS = {"group_norm": (1e-3, 3e-3), "batchnorm slimmed": (1e-4,)}
WAYS |= {
    f"{way} weight {weight:g}": (WAYS[way][0], {**WAYS[way][1], "weight": weight}, WAYS[way][2])
    for way, weights in OTHERS.items()
    for weight in weights
}


def training(epochs, rate):
    """Settings of a training with a rate that falls to nothing."""
    optimizer = {"nesterov": {"momentum": 0.9, "learning_rate": {"cosine": {"initial_learning_rate": rate}}}}
    return {"epochs": epochs, "batch_size": BATCH, "optimizer": optimizer, "l2": L2}


def made(name, model, stage, seed, work):
    """The artifact of a stage on a model; what is there from before is not made again."""
    import tasks

    import tfopt

    recipe = tfopt.Recipe(
        name=name,
        model=model,
        data=partial(tasks.augmented_cifar10, IMAGES, SHIFT),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        seed=seed,
        stages=[stage],
    )
    return tfopt.run(recipe, work / "channel_protocol").artifacts[stage.kind]


def dense(seed, work):
    """The dense net of a seed."""
    import networks

    import tfopt

    return made(f"dense-{seed}", networks.resnet_8, tfopt.Train(**training(DENSE, RATES[0])), seed, work)


def dense_row(seed, work):
    """The dense net."""
    return figures_of(dense(seed, work)), []


def trained_on(seed, work):
    """The dense net after as many epochs more as the others have."""
    import tfopt

    start = dense(seed, work)
    stage = tfopt.Train(**training(AFTER, RATES[1]))
    return figures_of(made(f"trained-on-{seed}", str(start.path), stage, seed, work), start), []


def cut(way, speedup, seed, work):
    """The net after channels were removed in one way."""
    import tfopt

    start = dense(seed, work)
    score, learning, longer = WAYS[way]
    stage = tfopt.PruneChannels(
        keep=1 / speedup,
        of="flops",
        score=score,
        ranking="global",
        round_to=1,
        samples=1000,
        sparse_learning={**learning, "share": LEARNING / (LEARNING + AFTER)} if learning else None,
        **training(AFTER + longer, RATES[1]),
    )
    name = f"{way}-{speedup}-{seed}".replace(" ", "_")
    artifact = made(name, str(start.path), stage, seed, work)
    rows = artifact.details["layers"]
    before, after = (sum(row["flops"][side] for row in rows) for side in (0, 1))
    widths = ", ".join(f"{row['path']} {row['channels'][1]} of {row['channels'][0]}" for row in rows if is_cut(row))
    return figures_of(artifact, start) | {"operations before": before, "operations": after}, [f"Left are {widths}."]


def is_cut(row):
    """Whether a layer is a convolution with fewer channels than before."""
    return row["kind"] == "Conv2D" and row["channels"][0] > row["channels"][1]


def figures_of(artifact, start=None):
    """Accuracy on the test and the last one on the validation split, and the difference to the dense net."""
    figures = {
        "accuracy": artifact.metrics["accuracy"],
        "validation accuracy": artifact.details["history"]["val_accuracy"][-1],
    }
    if start is not None:
        figures |= {"dense accuracy": start.metrics["accuracy"]}
        figures |= {"difference": figures["accuracy"] - start.metrics["accuracy"]}
    return figures


def rows_of(seed):
    """The rows of a seed, those that every seed has first."""
    yield Row(f"dense seed {seed}", partial(dense_row, seed), 6)
    for way, speedups in MAIN.items():
        for speedup in speedups:
            quick = way == "group_norm" and speedup == SPEEDUPS[0] and not seed
            yield Row(f"{way} {speedup}x seed {seed}", partial(cut, way, speedup, seed), minutes_of(way), quick)
    yield Row(f"dense, trained on seed {seed}", partial(trained_on, seed), 2)
    for way in WAYS if not seed else ():
        if way not in MAIN:
            yield Row(f"{way} {SPEEDUPS[0]}x seed {seed}", partial(cut, way, SPEEDUPS[0], seed), minutes_of(way))


def minutes_of(way):
    """About how long a way takes on two cores."""
    return 4 if WAYS[way][2] else 2


ROWS = [row for seed in SEEDS for row in rows_of(seed)]

if __name__ == "__main__":
    main(ROWS, __doc__)
