"""Recurrent nets as int8 files with a loop, unrolled and as one op: bytes, arena, time on three runtimes, fidelity.

    lstm_32        LSTM(32) over 50 steps of 8 values, Dense(10)
    lstm_64        LSTM(64) over 100 steps
    two            LSTM(32) over 50 steps, twice
    bidirectional  Bidirectional(LSTM(32)) over 50 steps
    spoken_digits  Conv1D(32, 5) and LSTM(32) over 57 steps of log-mel spectrograms of spoken digits, their mean

The first four are trained for a few epochs on generated waves (tasks.waves), so that ranges and states are those of a
net that does something. The loop is in floating point in an int8 file, and so it is none for an Ethos-U; TFLM does not
come to an end where it gives the output of every step, and is not asked then. Accuracies are of the test split, SNR is
against the Keras model's logits on it; figures of Ethos-U are Vela's estimates.

    TFOPT_DATA=/folder/with/fsdd.npz python benchmarks/recurrent.py [--net lstm_32] [--work FOLDER] [--train-only]

Trained nets stay in the work folder: running again measures anew without training.
"""

import argparse
from pathlib import Path

import costs
import keras
import numpy as np
import tasks
from keras import layers

import tfopt
from tfopt.errors import TfoptError
from tfopt.tflite.interpreter import Runner

CALIBRATED = 200
ETHOS_U = "ethos-u55-128"


def classifier(shape, *inner):
    """A net of a few layers and the logits of ten classes."""
    return keras.Sequential([layers.Input(shape), *inner, layers.Dense(10)])


def spoken_net():
    """A convolution over time, an LSTM over what it finds, and the mean over time: the sound may end early."""
    return classifier(
        (61, 40),
        layers.Conv1D(32, 5, activation="relu"),
        layers.LSTM(32, return_sequences=True),
        layers.GlobalAveragePooling1D(),
        layers.Dropout(0.2),
    )


# The model, its data, and the epochs and the learning rate of its training.
NETS = {
    "lstm_32": (lambda: classifier((50, 8), layers.LSTM(32)), lambda: tasks.waves(50), 10, 5e-3),
    "lstm_64": (lambda: classifier((100, 8), layers.LSTM(64)), lambda: tasks.waves(100), 6, 5e-3),
    "two": (
        lambda: classifier((50, 8), layers.LSTM(32, return_sequences=True), layers.LSTM(32)),
        lambda: tasks.waves(50),
        10,
        5e-3,
    ),
    "bidirectional": (
        lambda: classifier((50, 8), layers.Bidirectional(layers.LSTM(32))),
        lambda: tasks.waves(50),
        10,
        5e-3,
    ),
    "spoken_digits": (spoken_net, tasks.spoken_sequences, 30, 4e-3),
}
RATIOS = ("bytes", "TFLM arena", "LiteRT us", "TFLM us", "U55-128 compiled", "U55-128 ms")
# The nets with a loop that gives the output of every step, with which TFLM does not come to an end.
ENDLESS = ("two", "spoken_digits")
WAYS = ("loop", "unrolled", "fused")


def trained(name, work):
    """The trained model of a net and its data."""
    build, data, epochs, rate = NETS[name]
    adam = {"adam": {"learning_rate": {"cosine": {"initial_learning_rate": rate}}}}
    recipe = tfopt.Recipe(
        name=name,
        model=build,
        data=data,
        loss={"sparse_categorical_crossentropy": {"from_logits": True}},
        metrics=["accuracy"],
        stages=[tfopt.Train(epochs=epochs, optimizer=adam)],
    )
    return keras.saving.load_model(tfopt.run(recipe, out=work).path), data()


def snr_db(outputs, reference):
    """Power of the reference over that of the difference, in decibels."""
    return 10 * np.log10((reference**2).sum() / ((outputs - reference) ** 2).sum())


def figures(content, reference, x, y, on_tflm=True):
    """What a file is worth, and what it costs on each runtime; what a runtime refuses is not there."""
    outputs = next(iter(Runner(content)(x).values()))
    found = {"accuracy": tasks.accuracy(outputs, x, y), "SNR dB": snr_db(outputs, reference), "bytes": len(content)}
    found |= costs.litert(content)
    measures = [lambda: costs.tflm(content, x)] if on_tflm else []
    for measure in (*measures, lambda: costs.ethos_u(content, ETHOS_U)):
        try:
            found |= measure()
        except TfoptError as error:
            print(f"    {error}")
    return found


def ratios(file, other):
    """The figures of a file over those of another, as far as both have them."""
    return ", ".join(f"{name} {file[name] / other[name]:.3f}" for name in RATIOS if name in file and name in other)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=NETS, help="one net; all if not given")
    parser.add_argument("--work", type=Path, default=Path("saved_models/recurrent"))
    parser.add_argument("--train-only", action="store_true")
    arguments = parser.parse_args()
    for name in [arguments.net] if arguments.net else NETS:
        model, data = trained(name, arguments.work)
        if arguments.train_only:
            continue
        x, y, samples = data["x_test"], data["y_test"], data["x_train"][:CALIBRATED]
        reference = model.predict(x, verbose=0)
        print(f"{name}: the Keras model has {tasks.accuracy(reference, x, y):.4f}", flush=True)
        rows = {}
        for way in WAYS:
            content = tfopt.convert(model, "int8", samples, recurrent=way)
            rows[way] = figures(content, reference, x, y, on_tflm=way != "loop" or name not in ENDLESS)
        rows["fused, float32"] = figures(tfopt.convert(model, "float32", recurrent="fused"), reference, x, y)
        costs.show(rows)
        print(f"fused to unrolled: {ratios(rows['fused'], rows['unrolled'])}", end="\n\n", flush=True)


if __name__ == "__main__":
    main()
