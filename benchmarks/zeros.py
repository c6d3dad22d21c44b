"""What zeros, shared values and fewer channels buy: LeNet-5 on MNIST in int8, a file for each.

The net of the Deep Compression paper is trained on 10,000 images, and from there in each way for three epochs; 16
values after 80% zeros have three more. Kernels with zeros alone have one scale each, which is what their codings need.
Accuracy is LiteRT's on the 10,000 test images; Ethos-U is Vela's estimate, TFLM is the tflite-micro package on this
machine, plain and with kernels decoded at every run; ratios are to the dense int8 file, those of time of both in turns.

    TFOPT_DATA=/folder/with/mnist.npz python benchmarks/zeros.py --list
    TFOPT_DATA=/folder/with/mnist.npz python benchmarks/zeros.py --row '80% zeros' [--work FOLDER] [--json FILE]
"""

from functools import partial

from table import Row, main

IMAGES, EPOCHS, RATE, BATCH, SEED = 10_000, (5, 3), 2e-3, 64, 0
ACCELERATORS = ("ethos-u55-128", "ethos-u85-256")
SHARES = (0.5, 0.8, 0.95)
VALUES = 16


def training(epochs):
    """How the net is trained, with a rate that falls to nothing."""
    return {
        "epochs": epochs,
        "batch_size": BATCH,
        "optimizer": {"adam": {"learning_rate": {"cosine": {"initial_learning_rate": RATE}}}},
    }


def stages_of(way):
    """The stages of a way after the training."""
    import tfopt

    after, values = training(EPOCHS[1]), {"clusters": VALUES}
    zeros = {f"{share:.0%} zeros": tfopt.Prune(sparsity=share, **after) for share in SHARES}
    if way in zeros:
        return [zeros[way], tfopt.Quantize(scales="tensor")]
    return {
        "dense": [tfopt.Quantize()],
        "2 of 4": [tfopt.Prune(keep=(2, 4), **after), tfopt.Quantize(scales="tensor")],
        "16 values": [tfopt.Cluster(**values, **after), tfopt.Quantize()],
        "80% zeros, 16 values": [zeros["80% zeros"], tfopt.Cluster(**values, **after), tfopt.Quantize()],
        "half the channels": [tfopt.PruneChannels(keep=0.5, **after), tfopt.Quantize()],
    }[way]


def made(way, work):
    """The `.tflite` of a way, with what an earlier run has left."""
    import tasks

    import tfopt

    recipe = {
        "data": partial(tasks.mnist, IMAGES),
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
        "seed": SEED,
    }
    start = tfopt.Recipe(
        name="lenet_5", model=tasks.pipeline("lenet").lenet_5, stages=[tfopt.Train(**training(EPOCHS[0]))], **recipe
    )
    model = tfopt.run(start, work / "zeros").artifacts["train"].path
    name = "".join(letter if letter.isalnum() else "-" for letter in way)
    run = tfopt.run(tfopt.Recipe(name=name, model=str(model), stages=stages_of(way), **recipe), work / "zeros")
    return list(run.artifacts.values())[-1].path


def measured(way, work):
    """The figures of a way's file."""
    import costs
    import tasks

    from tfopt.tflite.interpreter import Runner

    path, dense, data = made(way, work), made("dense", work), tasks.mnist(IMAGES)
    accuracy = tasks.accuracy(next(iter(Runner(path)(data["x_test"]).values())), data["x_test"], data["y_test"])
    figures, notes = costs.everywhere(path, dense, data["x_test"], ACCELERATORS)
    return {"accuracy": accuracy, **figures}, notes


WAYS = ("dense", *(f"{share:.0%} zeros" for share in SHARES), "2 of 4", "16 values", "80% zeros, 16 values")
ROWS = [
    Row(way, partial(measured, way), 2 if way == "dense" else 1.5, quick=way == "80% zeros")
    for way in (*WAYS, "half the channels")
]

if __name__ == "__main__":
    main(ROWS, __doc__)
