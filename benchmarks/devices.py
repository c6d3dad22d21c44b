"""What zeros and shared values buy on microcontrollers and on Ethos-U: accuracy, bytes, arena and time of int8 files.

    digits       the demo's net on scikit-learn's digits
    lenet_5      LeNet-5 as Caffe has it, on 20,000 images of MNIST
    ds_cnn       MLPerf Tiny's DS-CNN on spoken digits (ten cepstral coefficients)
    autoencoder  640-128-128-128-128-8-128-128-128-128-640, without BatchNormalization, on a generated task of known
                 structure (tasks.manifold); its metric is the area under the ROC curve of anomalies

Each net is trained once, and from there in each way for as many epochs: dense, zeros, 16 values to a kernel, both, half
of the channels, and two of every four weights. Kernels with zeros alone have one scale each, the others what
`scales: auto` gives them. Metrics are of LiteRT's outputs on the test split; figures of Ethos-U are Vela's estimates,
those of TFLM are from the tflite-micro package: plain, with decoded kernels, and with those of at most 16 KB decoded.
Ratios are to the dense int8 file.

    TFOPT_DATA=/folder/with/the/data python benchmarks/devices.py [--net lenet_5] [--work FOLDER] [--train-only]

Trained nets stay in the work folder: running again measures anew without training.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import costs
import keras
import tasks
from keras import layers
from networks import ds_cnn

import tfopt
from tfopt.recipe.decode import Decode
from tfopt.tflite.benchmark import sizes
from tfopt.tflite.interpreter import Runner

VALUES = 16
# All kernels that a coding makes smaller, or those that take little RAM.
DECODINGS = {"decoded": Decode(), "small decoded": Decode(ram=16 * 1024)}


@dataclass(frozen=True)
class Net:
    """A net, its task, and how it is trained.

    Args:
        about: What it is trained for, and its metric, in a few words.
        build: Makes the untrained model.
        data: Makes the task's data.
        metric: Scores outputs on the test samples.
        epochs: Epochs of training, and of each way to compress from there.
        rate: Learning rates of both, each falling to nothing.
        batch_size: Samples of a step.
        loss: The Keras loss.
        sparsity: The fraction of zeros.
        training: More settings of the training.
        pruning: More settings of the pruning to that sparsity.
    """

    about: str
    build: object
    data: object
    metric: object = tasks.accuracy
    epochs: tuple[int, int] = (20, 20)
    rate: tuple[float, float] = (2e-3, 2e-3)
    batch_size: int = 32
    loss: str = "sparse_categorical_crossentropy"
    sparsity: float = 0.8
    training: dict = field(default_factory=dict)
    pruning: dict = field(default_factory=dict)


def autoencoder():
    """MLPerf Tiny's layers without its BatchNormalizations, and a bottleneck that is linear."""
    x = inputs = layers.Input((640,))
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = layers.Dense(units, activation=None if units == 8 else "relu")(x)
    return keras.Model(inputs, layers.Dense(640)(x))


NETS = {
    "digits": Net(
        "accuracy on 360 digits of 8 x 8", tasks.pipeline("digits").build, tasks.digits, training={"l2": 1e-5}
    ),
    "lenet_5": Net(
        "accuracy on 10,000 images of MNIST",
        tasks.pipeline("lenet").lenet_5,
        tasks.mnist,
        epochs=(4, 4),
        batch_size=128,
    ),
    "ds_cnn": Net(
        "accuracy on 300 spoken digits",
        lambda: ds_cnn((61, 10, 1), 10),
        tasks.spoken_coefficients,
        epochs=(30, 15),
        rate=(3e-3, 1e-3),
    ),
    "autoencoder": Net(
        "area under the ROC curve of anomalies, on 4,000 generated samples",
        autoencoder,
        tasks.manifold,
        tasks.detection,
        epochs=(80, 80),
        batch_size=64,
        loss="mse",
        sparsity=0.77,
        pruning={"allocation": "erk", "end": 0.5},
    ),
}
RATIOS = (
    "gzip",
    "TFLM flash",
    "decoded flash",
    "small decoded flash",
    "decoded us",
    "U55-128 compiled",
    "U55-128 ms",
    "U85-256 compiled",
    "U85-256 ms",
    "LiteRT us",
)
# The files by name, and what the table calls them.
WAYS = {
    "dense": "dense int8",
    "zeros": "{sparsity:.0%} zeros",
    "values": "16 values",
    "both": "{sparsity:.0%} zeros, 16 values",
    "half": "half the channels",
    "two-of-four": "2 of 4",
}


def recipe(name, net):
    """Trains the net, and from there makes a file in each way."""
    first = {"epochs": net.epochs[0], "batch_size": net.batch_size, "optimizer": falling(net.rate[0])}
    shared = {"epochs": net.epochs[1], "batch_size": net.batch_size, "optimizer": falling(net.rate[1])}
    zeros = tfopt.Prune(name="k-zeros", after="train", sparsity=net.sparsity, **net.pruning, **shared)
    values = {"clusters": VALUES, **shared}
    return tfopt.Recipe(
        name=name,
        model=net.build,
        data=net.data,
        loss=net.loss,
        metrics=["mse" if net.loss == "mse" else "accuracy"],
        stages=[
            tfopt.Train(**first, **net.training),
            tfopt.Quantize(name="dense"),
            zeros,
            tfopt.Quantize(name="zeros", scales="tensor"),
            tfopt.Cluster(name="k-values", after="train", **values),
            tfopt.Quantize(name="values"),
            tfopt.Cluster(name="k-both", after="k-zeros", **values),
            tfopt.Quantize(name="both"),
            tfopt.PruneChannels(name="k-half", after="train", keep=0.5, **shared),
            tfopt.Quantize(name="half"),
            tfopt.Prune(name="k-two-of-four", after="train", keep=(2, 4), **shared),
            tfopt.Quantize(name="two-of-four", scales="tensor"),
        ],
    )


def falling(rate):
    """Adam with a learning rate that falls to nothing."""
    return {"adam": {"learning_rate": {"cosine": {"initial_learning_rate": rate}}}}


def measured(files, net, test):
    """The figures of each file: the metric on the test split, sizes, and costs."""
    x, y = test
    rows = {}
    for way, words in WAYS.items():
        content = files[way].read_bytes()
        outputs = next(iter(Runner(content)(x).values()))
        rows[words.format(sparsity=net.sparsity)] = (
            {"metric": net.metric(outputs, x, y), "raw": len(content), "gzip": sizes(files[way])["gzip_bytes"]}
            | costs.tflm(content, x, DECODINGS)
            | costs.ethos_u(content, "ethos-u55-128")
            | costs.ethos_u(content, "ethos-u85-256")
            | costs.litert(content)
        )
    return rows


def against_dense(rows):
    """What the files lose of the metric, and the ratios that a device's project asks about, to the dense int8 file."""
    dense = rows[WAYS["dense"]]
    plain = {f"{words}decoded {what}": dense[f"TFLM {what}"] for words in ("", "small ") for what in ("flash", "us")}
    whole = dense | plain
    return {
        words: {"loss": dense["metric"] - row["metric"]} | {name: row[name] / whole[name] for name in RATIOS}
        for words, row in rows.items()
        if row is not dense
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=NETS, help="one net; all if not given")
    parser.add_argument("--work", type=Path, default=Path("saved_models/devices"))
    parser.add_argument("--train-only", action="store_true")
    arguments = parser.parse_args()
    ratios = {}
    for name in [arguments.net] if arguments.net else NETS:
        net = NETS[name]
        artifacts = tfopt.run(recipe(name, net), out=arguments.work).artifacts
        if arguments.train_only:
            continue
        data = net.data()
        rows = measured({way: artifacts[way].path for way in WAYS}, net, (data["x_test"], data["y_test"]))
        print(f"{name}: {net.about}")
        costs.show(rows)
        ratios |= {f"{name}: {words}": row for words, row in against_dense(rows).items()}
    if ratios:
        print("ratios to the dense int8 file, decoded ones to its plain flash; loss is of the metric")
        costs.print_table(["loss", *RATIOS], {n: [f"{v:.3f}" for v in row.values()] for n, row in ratios.items()})


if __name__ == "__main__":
    main()
