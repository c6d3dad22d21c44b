"""What tfopt adds to a training beside its steps, each part against the least that it could cost.

    teacher      a step of distillation, against a plain step and an inference of the teacher on the same batch
    validation   `ValidationScores` at the end of an epoch, against Keras's own validation on the same samples
    tracing      the first epoch of a `fit` of one step, with tfopt's step functions and with Keras's own
    executions   steps_per_execution of 1 to 20 with and without XLA: time, and whether weights are the same bits

What callbacks that prune and cluster add to a step is in `pruning_step.py` (`--only layers_1`, `layers_10`,
`layers_100`). All turns alternate; a figure is the median of the turns or of their ratios.

    python benchmarks/training_costs.py [--only teacher] [--rounds 20]
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from networks import lenet_5

from tfopt.callbacks import Distillation, ValidationScores
from tfopt.data.splits import Data, Split
from tfopt.recipe.runtime import Runtime
from tfopt.training.devices import Devices
from tfopt.training.fit_settings import FitSettings
from tfopt.training.step_functions import direct_steps
from tfopt.training.trainer import fit


def digits():
    """The net of the digits demo."""
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def wide():
    """A teacher for LeNet-5."""
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


@dataclass(frozen=True)
class Net:
    """A student, its teacher, and the batch that they are trained with."""

    student: object
    teacher: object
    shape: tuple[int, ...]
    batch: int


NETS = {"digits": Net(digits, digits, (8, 8, 1), 32), "LeNet-5": Net(lenet_5, wide, (28, 28, 1), 128)}


def samples(shape, count):
    """Random samples of ten classes."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, *shape)).astype(np.float32), generator.integers(0, 10, count)


def batches(shape, size):
    """Batches without an end."""
    return tf.data.Dataset.from_tensor_slices(samples(shape, 8 * size)).batch(size).cache().repeat().prefetch(2)


def compiled(model):
    """A model with a loss and an optimizer."""
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def seconds_of(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(calls, rounds):
    """Seconds of each call in each round, two rounds to warm up left out."""
    taken = {name: [] for name in calls}
    for number in range(rounds + 2):
        for name in calls if number % 2 else reversed(calls):
            seconds = seconds_of(calls[name])
            if number >= 2:
                taken[name].append(seconds)
    return taken


def median_ms(seconds, over=1):
    return 1000 * statistics.median(seconds) / over


def asked(model, iterator, steps):
    """Inference of a model on so many batches."""
    ask = tf.function(lambda x: model(x, training=False))
    return lambda: [ask(next(iterator)[0]) for _ in range(steps)]


def teacher(rounds, steps=20):
    """A step of distillation against its parts."""
    print(f"{'teacher':12} {'plain step':>12} {'teacher':>12} {'distilling':>12}   distilling / (plain + teacher)")
    for name, net in NETS.items():
        keras.utils.set_random_seed(0)
        master, data = net.teacher(), batches(net.shape, net.batch)
        running, calls = [], {}
        for what, callbacks in (("plain", []), ("distilling", [Distillation(master)])):
            model = compiled(net.student())
            model.make_train_function()
            called = keras.callbacks.CallbackList(callbacks, model=model, epochs=1, steps=10**6)
            called.on_train_begin()
            running.append((model, called))
            iterator = iter(data)
            calls[what] = lambda model=model, iterator=iterator: [model.train_function(iterator) for _ in range(steps)]
        calls["teacher"] = asked(master, iter(data), steps)
        taken = in_turns(calls, rounds)
        parts = zip(*(taken[what] for what in ("distilling", "plain", "teacher")), strict=True)
        ratio = statistics.median(all_of / (plain + alone) for all_of, plain, alone in parts)
        figures = [median_ms(taken[what], steps) for what in ("plain", "teacher", "distilling")]
        print(f"{name:12} {' '.join(f'{figure:9.2f} ms' for figure in figures)}   {ratio:.2f}", flush=True)


def validation(rounds):
    """The scores of an epoch against Keras's own validation."""
    print(f"{'validation':12} {'samples':>8} {'Keras':>12} {'scores':>12}   scores / Keras")
    for name, net in NETS.items():
        for count in (360, 5000):
            model, (x, y) = compiled(net.student()), samples(net.shape, count)
            scores = ValidationScores((x, y), ["f1"])
            scores.set_model(model)
            scores.on_train_begin()
            held = Split(x, y).batches(net.batch)
            calls = {
                "Keras": lambda model=model, held=held: model.evaluate(held, verbose=0),
                "scores": lambda scores=scores: scores.on_epoch_end(0, {}),
            }
            taken = in_turns(calls, rounds)
            ratio = statistics.median(a / b for a, b in zip(taken["scores"], taken["Keras"], strict=True))
            figures = f"{median_ms(taken['Keras']):9.1f} ms {median_ms(taken['scores']):9.1f} ms"
            print(f"{name:12} {count:>8} {figures}   {ratio:.2f}", flush=True)


def first_step(model, data):
    """Seconds of a `fit` of one step."""
    return seconds_of(lambda: model.fit(data, steps_per_epoch=1, verbose=0))


def tracing(rounds):
    """Seconds of a `fit` of one step of a fresh model, which is tracing for the most part."""
    print(f"{'tracing':12} {'Keras':>12} {'tfopt':>12}   tfopt / Keras")
    for name, net in NETS.items():
        data = batches(net.shape, net.batch)
        taken = {"Keras": [], "tfopt": []}
        for _ in range(max(rounds // 5, 2)):
            for what, found in taken.items():
                keras.utils.set_random_seed(0)
                model = compiled(net.student())
                steps = direct_steps(model, data) if what == "tfopt" else nullcontext()
                with steps:
                    found.append(first_step(model, data))
        ratio = statistics.median(a / b for a, b in zip(taken["tfopt"], taken["Keras"], strict=True))
        figures = [statistics.median(found) for found in taken.values()]
        print(f"{name:12} {' '.join(f'{figure:10.2f} s' for figure in figures)}   {ratio:.2f}", flush=True)


class _Epochs(keras.callbacks.Callback):
    """The seconds of each epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)


def executions(rounds):
    """Several steps in one execution against one by one, by `trainer.fit`."""
    print(f"{'executions':12} {'XLA':>6} {'steps':>6} {'an epoch':>12}   ratio   same bits")
    epochs = max(rounds // 3, 3)
    for name, net in NETS.items():
        x, y = samples(net.shape, 40 * net.batch)
        held = Split(x[: net.batch], y[: net.batch])
        for jit in (False, True):
            first = None
            for steps in (1, 2, 5, 10, 20):
                keras.utils.set_random_seed(0)
                model, timed = net.student(), _Epochs()
                runtime = Runtime(jit=jit, steps_per_execution=steps, tensorboard=False)
                settings = FitSettings(
                    epochs,
                    net.batch,
                    optimizer="adam",
                    loss="sparse_categorical_crossentropy",
                    devices=Devices(runtime),
                )
                with tempfile.TemporaryDirectory() as folder:
                    fit(model, Data(Split(x, y), held, held), settings, Path(folder), [timed])
                epoch = statistics.median(timed.seconds[1:])
                bits = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
                first = first or (epoch, bits)
                told = f"{1000 * epoch:9.1f} ms   {epoch / first[0]:.2f}    {'yes' if bits == first[1] else 'NO'}"
                print(f"{name:12} {jit!s:>6} {steps:>6} {told}", flush=True)


PARTS = {"teacher": teacher, "validation": validation, "tracing": tracing, "executions": executions}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="one part; all if not given")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    for part in [arguments.only] if arguments.only else PARTS:
        PARTS[part](arguments.rounds)


if __name__ == "__main__":
    main()
