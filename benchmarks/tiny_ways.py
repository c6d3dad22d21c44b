"""The files that tiny.py makes of a trained net: by the book, and by each of tfopt's ways.

Every way that trains has as many epochs for itself; shared values come after zeros, so that this file has had them
twice. Settings that are not here are tfopt's defaults; a noisy int4 file is one more figure and no error.
"""

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import provenance
from devices import falling
from tiny_nets import NETS, dense, run

import tfopt
from tfopt import durable_files
from tfopt.recipe.artifact import Artifact
from tfopt.tflite.benchmark import sizes

SPARSITY, VALUES, CALIBRATED = 0.8, 16, 200
TWIN = Path(__file__).parent / "tiny_twin.py"
# Candidates of the search, and the share that trains as long as the other ways.
TRIALS, PROMOTED = 6, 1 / 3


@dataclass(frozen=True)
class Way:
    """Stages that make a file of a Keras model.

    Args:
        stages: Makes them from how a net is trained on, `{"epochs": ..., ...}`; the last gives the file.
        after: The way whose model they go on from; the dense net if not given.
        model: The stage whose model others go on from.
    """

    stages: Callable[[dict], list]
    after: str = ""
    model: str = ""


WAYS = {
    "float": Way(lambda training: [tfopt.Quantize(mode="float32")]),
    "int8": Way(lambda training: [tfopt.Quantize()]),
    "fewest": Way(lambda training: [tfopt.Quantize(scales="fewest")]),
    "zeros": Way(lambda training: [tfopt.Prune(sparsity=SPARSITY, **training), tfopt.Quantize()], model="prune"),
    "both": Way(lambda training: [tfopt.Cluster(clusters=VALUES, **training), tfopt.Quantize()], after="zeros"),
    "half": Way(lambda training: [tfopt.PruneChannels(keep=0.5, **training), tfopt.Quantize()]),
    "int4": Way(lambda training: [tfopt.Quantize(mode="int4", rounding="auto", least_snr_db=-100)]),
    "aware": Way(lambda training: [tfopt.Qat(**training)]),
}


def made(name: str, way: str, work: Path) -> dict[str, Artifact]:
    """The artifacts of a way, the file being that of the last."""
    net, own = NETS[name], WAYS[way]
    model = made(name, own.after, work)[WAYS[own.after].model].path if own.after else dense(name, work)
    training = {"epochs": net.epochs[1], "batch_size": net.batch_size, "optimizer": falling(net.rate[1])}
    return run(name, way, str(model), own.stages(training), work)


def file_of(name: str, way: str, work: Path) -> Path:
    """The `.tflite` of a way."""
    others = {"book": book, "twin": twin, "search": searched}
    return others[way](name, work) if way in others else list(made(name, way, work).values())[-1].path


def kept(start: Path, name: str, way: str, work: Path) -> Path:
    """The file of another tool, whose name has a digest of what it is made from: the dense net and the settings.

    Args:
        start: The dense net's `.keras` file, whose bytes are those of its layers, epochs and images.
        name: The net.
        way: What the file is called.
        work: The folder for what is trained.
    """
    net = NETS[name]
    settings = (net.epochs, net.rate, net.batch_size, SPARSITY, CALIBRATED)
    of = provenance.short(f"{durable_files.sha256_of(start)} {settings}".encode())
    return work / "tiny" / f"{name}-{way}-{of}.tflite"


def book(name: str, work: Path) -> Path:
    """The dense net's int8 file by TFLiteConverter."""
    import keras

    start = dense(name, work)
    path = kept(start, name, "book", work)
    if not path.exists():
        model = keras.saving.load_model(start, compile=False)
        durable_files.write(path, by_the_book(model, NETS[name].data()["x_train"]))
    return path


def by_the_book(model, x: np.ndarray) -> bytes:
    """The int8 file of a model by TFLiteConverter as its guide has it, inputs and outputs in integers too."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in x[:CALIBRATED])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def twin(name: str, work: Path) -> Path:
    """The int8 file of the dense net pruned by TF-MOT, in a process of its own."""
    import keras

    start = dense(name, work)
    path = kept(start, name, "twin", work)
    if not path.exists():
        model = keras.saving.load_model(start, compile=False)
        weights, content = path.with_suffix(".npz"), io.BytesIO()
        outputs = model.predict(NETS[name].data()["x_test"][:16], verbose=0)
        np.savez(content, *model.get_weights(), outputs=outputs)
        durable_files.write(weights, content.getvalue())
        command = [sys.executable, str(TWIN), name, "--weights", str(weights), "--out", str(path)]
        subprocess.run(command, check=True)
    return path


def searched(name: str, work: Path) -> Path:
    """The file of a search within half of the bytes, after gzip, of the dense int8 file by TFLiteConverter."""
    net = NETS[name]
    search = tfopt.Search(
        within={"gzip_bytes": round(sizes(book(name, work))["gzip_bytes"] / 2)},
        trials=TRIALS,
        epochs=(1, net.epochs[1] + 1),
        promoted=PROMOTED,
        training={"batch_size": net.batch_size, "optimizer": falling(net.rate[1])},
    )
    return run(name, "search", str(dense(name, work)), [search], work)["search"].path
