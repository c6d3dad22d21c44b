"""LeNet-300-100 and LeNet-5 on MNIST with the bytes of the code in the objective, beside the recipes that count zeros.

    zeros  pipelines/NET.yaml: pruned to a sparsity, clustered by k-means
    coded  pipelines/NET_coded.yaml: values and zeros chosen for the bytes that gzip makes of them (`coded_bytes`)

The recipes differ in more than that: coded ones cluster for twice the epochs (20 and 10, where the others have 10 and
5) and have 4 values for the biases instead of 16; LeNet-300-100's is pruned with distillation, to 96.5% zeros instead
of 97%, and LeNet-5's to 98.5% instead of 98%, with 9 values to a kernel instead of 7 and twice the epochs of training
and pruning. What a coded file is smaller by is owed to all of these.

Their settings were chosen by the error on 10,000 images held out of the training split; rows `held out` have that of
the ones that were chosen.

A ratio is the bytes of the dense float32 parameters over those of `gzip -9` of the whole `.tflite`; an error is that
file's on LiteRT, of the 10,000 test images.

    TFOPT_DATA=folder-with-the-data python benchmarks/coded.py --list
    TFOPT_DATA=folder-with-the-data python benchmarks/coded.py --row 'lenet_5 coded seed 0' [--work FOLDER]
"""

from functools import partial
from pathlib import Path

from table import Row, main

PIPELINES = Path(__file__).parents[1] / "pipelines"
SEEDS = range(3)
# Parameters, by net, and about how many minutes each way takes.
PARAMETERS = {"lenet_300_100": 266_610, "lenet_5": 431_080}
MINUTES = {
    "lenet_300_100": {"coded": 4, "zeros": 4, "held out": 4},
    "lenet_5": {"coded": 10, "zeros": 9, "held out": 10},
}
# Where the training images are cut: into those to train on, to validate, and to take the error of.
HELD_OUT = (48_000, 50_000)


def held_out(net):
    """The training images alone: 48,000 to train on, 2,000 to validate, and as the test split the other 10,000."""
    import sys

    import numpy as np

    sys.path.insert(0, str(PIPELINES))
    import lenet

    data = lenet.images() if net == "lenet_5" else lenet.vectors()
    x, y = (np.concatenate([data[f"{name}_{part}"] for part in ("train", "validation")]) for name in "xy")
    parts = zip(("train", "validation", "test"), np.split(x, HELD_OUT), np.split(y, HELD_OUT), strict=True)
    splits = {f"{name}_{part}": array for part, *both in parts for name, array in zip("xy", both, strict=True)}
    return splits | {"augment": data["augment"]}


def compressed(net, way, seed, work):
    """The file of a recipe: its bytes, its ratio and its error."""
    import tfopt

    file = PIPELINES / (f"{net}.yaml" if way == "zeros" else f"{net}_coded.yaml")
    own = {"data": partial(held_out, net)} if way == "held out" else {}
    recipe = tfopt.Recipe.load(file, seed=seed, name=f"{net}-{way}-{seed}".replace(" ", "_"), **own)
    made = tfopt.run(recipe, work / "coded").artifacts
    [measured] = made["verify"].files.values()
    content = made["quantize"].metrics
    dense = 4 * PARAMETERS[net]
    figures = {
        "gzip bytes": content["gzip_bytes"],
        "ratio": dense / content["gzip_bytes"],
        "error": 1 - measured["accuracy"],
        "dense error": 1 - made["train"].metrics["accuracy"],
        "zeros": made["cluster"].metrics["sparsity"],
    }
    return figures, []


ROWS = [
    Row(
        f"{net} {way} seed {seed}",
        partial(compressed, net, way, seed),
        MINUTES[net][way],
        quick=(net, way, seed) == ("lenet_300_100", "coded", 0),
    )
    for net in PARAMETERS
    for way in MINUTES[net]
    for seed in SEEDS
    if way == "coded" or not seed
]

if __name__ == "__main__":
    main(ROWS, __doc__)
