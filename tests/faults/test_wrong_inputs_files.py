"""Models, data, records and `.tflite` files with something wrong in them: a line or an answer, at once.

Only those that were refused count: some of what is bent harms nothing, and is answered.
"""

import random
import time
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tests.faults.mutations import bent, bent_archive, bent_record
from tests.faults.spread import spread
from tfopt.data import sources
from tfopt.errors import InputError
from tfopt.recipe.artifact import RECORD, Artifact
from tfopt.recipe.details.quantization import ConversionNotes
from tfopt.recipe.workspace import Workspace
from tfopt.report import summary

SECONDS = 5.0
BATCH = 10


@pytest.fixture(scope="module")
def network():
    model = keras.Sequential(
        [
            layers.Input((6, 6, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(name="flat"),
            layers.Dense(4, activation="softmax", name="classes"),
        ],
        name="net",
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def whole(network, tmp_path_factory):
    """The bytes of a whole file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    for ending in ("keras", "h5"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras would rather have no .h5
            network.save(folder / f"model.{ending}")
    x = np.random.default_rng(0).normal(size=(16, 6, 6, 1)).astype(np.float32)
    y = np.arange(16) % 4
    np.savez(folder / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    (folder / "model.tflite").write_bytes(tfopt.convert(network, "int8", calibration=x))
    artifact = Artifact("a", "quantize", folder, "model.tflite", "tflite", "k" * 64, ("source",), {"accuracy": 0.5})
    notes = ConversionNotes(("a note",))
    Artifact(**{**vars(artifact), "scores": ("accuracy",), "details": [notes], "seconds": 1.5}).write()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def look(file):
    tfopt.inspect(file)


def load(file):
    sources.load(file).check()


def report(file):
    """What is made of the records of a folder; a record that is none is no result."""
    folder = file.parent
    (folder / "model.tflite").write_bytes(b"TFL3" * 8)
    Workspace(folder.parent).find("a", "k" * 64)
    summary.write(summary.collect(folder.parent), folder.parent)


# How each file is bent and used, and in how many batches: a `.h5` is read twice, by Keras 3 and as one of Keras 2.
FILES = {
    "model.tflite": (bent, look, 30),
    "model.keras": (bent_archive, look, 30),
    "model.h5": (bent, look, 6),
    "data.npz": (bent_archive, load, 30),
    RECORD: (bent_record, report, 30),
}


@pytest.mark.parametrize(
    ("name", "batch"),
    [case for name, (_, _, count) in FILES.items() for case in spread([(name, batch) for batch in range(count)], 1, 2)],
)
def test_a_file_with_something_wrong_in_it_is_a_line_or_an_answer(name, batch, whole, tmp_path, evidence):
    bend, use, _ = FILES[name]
    lines, problems = [], []
    for number in range(batch * BATCH, (batch + 1) * BATCH):
        folder = tmp_path / str(number) / "a"
        folder.mkdir(parents=True)
        file = folder / name
        file.write_bytes(bend(whole[name], random.Random(f"{name} {number}")))
        problems += [f"{number}: {problem}" for problem in tried(use, file, lines)]
    evidence.add(f"wrong {name}", f"batch {batch}", problems, len(lines), code=InputError.exit_code, lines=lines)
    assert not problems, "\n".join(problems)


def tried(use, file, lines):
    """What is wrong with how a file is answered; the line that refuses it is added to `lines`."""
    start = time.monotonic()
    try:
        use(file)
    except InputError as error:
        message = str(error)
        lines.append(message)
        if error.exit_code != InputError.exit_code:
            yield f"exit code {error.exit_code}: {message}"
        if len(message.splitlines()) != 1 or "Traceback" in message or len(message) > 1500:
            yield f"not a line: {message[:300]}"
    except Exception as error:
        yield f"{type(error).__name__}: {error}"[:300]
    if (seconds := time.monotonic() - start) > SECONDS:
        yield f"it took {seconds:.1f} s"
