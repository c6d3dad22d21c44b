"""The nets of MLPerf Tiny, trained here: float, int8 by the book, pruned by TF-MOT by the book, and tfopt's files.

    ds_cnn        keyword spotting on the Free Spoken Digit Dataset, as ten cepstral coefficients
    autoencoder   anomaly detection on a generated task of known structure (tasks.manifold); its metric is the area
                  under the ROC curve
    resnet_8      image classification on 10,000 images of JPEG CIFAR-10
    wake_word     streaming wake word, one spoken digit among the others and none; its metric is the mean share of each
                  class that is found
    mobilenet_v1  a quarter of the channels at 96 x 96, for vehicle or animal on 3,000 enlarged images of JPEG CIFAR-10

The metric is LiteRT's on the test split. Ratios are to TFLiteConverter's int8 file of the same net, and those of time
are of both files in turns. Figures of Ethos-U are Vela's estimates, those of TFLM are from the tflite-micro package.

    TFOPT_DATA=folder-with-the-data python benchmarks/tiny.py --list
    TFOPT_DATA=folder-with-the-data python benchmarks/tiny.py --row 'ds_cnn int8' [--work FOLDER] [--json FILE]
"""

from functools import partial

from table import Row, main

# What the ways of tiny_ways.py are called.
WORDS = {
    "float": "float",
    "book": "int8 by TFLiteConverter",
    "int8": "int8",
    "fewest": "int8, fewest scales",
    "twin": "80% zeros by TF-MOT",
    "zeros": "80% zeros",
    "both": "80% zeros, 16 values",
    "half": "half the channels",
    "int4": "int4",
    "aware": "quantization-aware",
    "search": "search, half the bytes",
}
# Minutes of a net on two cores: what its first row takes to train it, and about what a row takes.
NETS = {"ds_cnn": (2, 1), "autoencoder": (1, 1), "resnet_8": (5, 5), "mobilenet_v1": (3, 2), "wake_word": (2, 1)}
# Rows that train take as many times the minutes of the others.
SHARES = {"float": 0.3, "book": 0.3, "int8": 0.3, "fewest": 0.4, "int4": 0.5, "search": 4}
ACCELERATOR = "ethos-u55-128"


def measured(name, way, work):
    """The figures of a file of a net."""
    import costs
    from tiny_nets import NETS
    from tiny_ways import file_of

    from tfopt.tflite.interpreter import Runner

    net, path, reference = NETS[name], file_of(name, way, work), file_of(name, "book", work)
    data = net.data()
    x, y = data["x_test"], data["y_test"]
    own, other = (net.metric(next(iter(Runner(file)(x).values())), x, y) for file in (path, reference))
    accelerators = [] if way in ("float", "int4") else [ACCELERATOR]
    figures, notes = costs.everywhere(path, reference, x, accelerators)
    return {"metric": own, "metric difference": own - other, **figures}, notes


ROWS = [
    Row(
        f"{name} {words}",
        partial(measured, name, way),
        minutes * SHARES.get(way, 1) + (training if way == "float" else 0),
        quick=name == "autoencoder" and way == "int8",
    )
    for name, (training, minutes) in NETS.items()
    for way, words in WORDS.items()
]

if __name__ == "__main__":
    main(ROWS, __doc__)
