"""What a training step of each optimizer takes, against Keras's Adam.

The models take turns, a few steps each, all on the same batch; tracing is left out. A figure is the median over the
rounds of the ratio to Adam within a round, and the whole is repeated.

    python benchmarks/optimizers.py [--repeats 3] [--only digits]
"""

import argparse
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

from tfopt.callbacks import ClosureStep
from tfopt.optimizers import SAM, AdaHessian, NewtonCG, ProximalAdam

OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(),
    "adam again": lambda: keras.optimizers.Adam(),
    "proximal adam, l1": lambda: ProximalAdam(l1=1e-5),
    "proximal adam, group lasso": lambda: ProximalAdam(group_lasso=1e-5),
    "sam": lambda: SAM(keras.optimizers.Adam()),
    "adahessian": lambda: AdaHessian(),
    "newton_cg, 10 iterations": lambda: NewtonCG(iterations=10),
}
BATCH, STEPS, ROUNDS = 32, 10, 9


def digits():
    return keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


def lenet_300_100():
    units = [keras.layers.Dense(300, activation="relu"), keras.layers.Dense(100, activation="relu")]
    return keras.Sequential([keras.layers.Input((784,)), *units, keras.layers.Dense(10)])


def mobilenet_v2():
    return keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=10, classifier_activation=None)


NETS = {"digits": digits, "lenet_300_100": lenet_300_100, "mobilenet_v2": mobilenet_v2}


def stepper(net, make):
    """A function that runs the inner loop of `fit` for some steps."""
    keras.utils.set_random_seed(0)
    model = NETS[net]()
    model.compile(make(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(BATCH, *model.input_shape[1:])).astype(np.float32)
    batches = iter(tf.data.Dataset.from_tensors((x, generator.integers(0, 10, BATCH))).repeat())
    closure = ClosureStep()
    closure.set_model(model)
    model.make_train_function()
    closure.on_train_begin()

    def run(steps):
        for _ in range(steps):
            logs = model.train_function(batches)
        keras.tree.map_structure(float, logs)

    run(2)
    return run


def seconds(run):
    start = time.perf_counter()
    run(STEPS)
    return (time.perf_counter() - start) / STEPS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=NETS, help="one net; all if not given")
    arguments = parser.parse_args()
    for net in [arguments.only] if arguments.only else NETS:
        names = [name for name in OPTIMIZERS if not (net == "mobilenet_v2" and name.startswith("newton"))]
        runs = {name: stepper(net, OPTIMIZERS[name]) for name in names}
        found = {name: [] for name in names}
        adam = []
        for _ in range(arguments.repeats):
            rounds = [{name: seconds(run) for name, run in runs.items()} for _ in range(ROUNDS)]
            adam.append(statistics.median(times["adam"] for times in rounds))
            for name in names:
                found[name].append(statistics.median(times[name] / times["adam"] for times in rounds))
        print(f"{net}: a step of Adam takes {1e3 * statistics.median(adam):.2f} ms", flush=True)
        for name in names[1:]:
            low, middle, high = min(found[name]), statistics.median(found[name]), max(found[name])
            print(f"  {name:<28} {middle:6.3f}x  ({low:.3f}-{high:.3f})", flush=True)


if __name__ == "__main__":
    main()
