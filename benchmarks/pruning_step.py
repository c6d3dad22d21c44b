"""What pruning costs a training step: Keras 3 with the callback, against plain Keras 3 and against TF-MOT's wrappers.

Trainings run in turns, a few steps each: plain Keras 3, Keras 3 with `MagnitudePruning` in each pattern and with
`Clustering` (of a model that is 90% zeros), plain tf_keras, and tf_keras with TF-MOT's `prune_low_magnitude` of single
weights. The steps are those of the inner loop of `fit`, its callbacks included; tracing is left out, mask updates are
not. A figure is the median over the rounds of the ratio within a round, and the whole is repeated. Then one mask update
of MobileNetV2: TF-MOT's sort of every kernel against the callback's selection, and that of each pattern.

    python benchmarks/pruning_step.py [--repeats 3] [--only digits] [--quick]
"""

import argparse
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

from tfopt.callbacks import Clustering, MagnitudePruning
from tfopt.sparsity import magnitude_mask, polynomial_decay
from tfopt.sparsity.selection import choose_kernels
from tfopt.sparsity.tfmot import tfmot

tfmot()  # imports TF-MOT without turning tf.keras into Keras 2
import tf_keras  # noqa: E402
from tensorflow_model_optimization.python.core.sparsity.keras import prune, pruning_callbacks  # noqa: E402


def digits(k):
    layers = k.layers
    return k.Sequential(
        [
            layers.Input((8, 8, 1)) if k is keras else layers.InputLayer((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )


def lenet_300_100(k):
    layers = k.layers
    return k.Sequential(
        [
            layers.Input((784,)) if k is keras else layers.InputLayer((784,)),
            layers.Dense(300, activation="relu"),
            layers.Dense(100, activation="relu"),
            layers.Dense(10),
        ]
    )


def mobilenet_v2(k, size=96):
    return k.applications.MobileNetV2((size, size, 3), weights=None, classes=10, classifier_activation=None)


def chain(count):
    """A chain of so many small Dense layers, whose steps cost little beside what is done for each layer."""

    def build(k):
        layers = k.layers
        first = layers.Input((32,)) if k is keras else layers.InputLayer((32,))
        return k.Sequential([first, *(layers.Dense(32, activation="relu") for _ in range(count - 1)), layers.Dense(10)])

    return build


# What `MagnitudePruning` takes besides a sparsity
PATTERNS = {
    "per layer": {},
    "global": {"allocation": "global"},
    "LAMP": {"allocation": "lamp"},
    "ERK": {"allocation": "erk"},
    "blocks 4 x 4": {"block": (4, 4)},
    "2 of 4": {"keep": (2, 4)},
}

# name: build, sample shape, batch, steps to a turn, rounds, steps between mask updates
CASES = {
    "digits": (digits, (8, 8, 1), 32, 20, 40, 100),
    "lenet_300_100": (lenet_300_100, (784,), 64, 20, 40, 100),
    "mobilenet_v2": (mobilenet_v2, (96, 96, 3), 32, 2, 10, 10),
    **{f"layers_{count}": (chain(count), (32,), 32, 20, 40, 100) for count in (1, 10, 100)},
}


def batches(shape, batch):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(batch * 8, *shape)).astype(np.float32)
    y = generator.integers(0, 10, batch * 8)
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch).cache().repeat().prefetch(2)


class Training:
    """A fit() that goes on a few steps at a time."""

    def __init__(self, k, model, data, callbacks):
        model.compile(k.optimizers.Adam(), k.losses.SparseCategoricalCrossentropy(from_logits=True))
        self.model, self.iterator, self.step = model, iter(data), 0
        model.make_train_function()
        self.callbacks = k.callbacks.CallbackList(callbacks, add_history=True, model=model, epochs=1, steps=10**6)
        self.callbacks.on_train_begin()
        self.callbacks.on_epoch_begin(0)

    def seconds(self, steps):
        start = time.perf_counter()
        for _ in range(steps):
            self.callbacks.on_train_batch_begin(self.step)
            logs = self.model.train_function(self.iterator)
            self.callbacks.on_train_batch_end(self.step, logs)
            self.step += 1
        return time.perf_counter() - start


def sparse(model, sparsity=0.9):
    for kernel in choose_kernels(model)[0]:
        kernel.variable.assign(kernel.variable * magnitude_mask(kernel.variable.numpy(), sparsity))
    return model


def trainings(case):
    build, shape, batch, _, _, frequency = CASES[case]
    data = batches(shape, batch)

    def schedule():
        return polynomial_decay(0.1, 0.8, 0, 10**5 // frequency * frequency, frequency=frequency)

    def pruning(pattern):
        return MagnitudePruning(**({} if "keep" in pattern else {"schedule": schedule()}), **pattern)

    wrapped = prune.prune_low_magnitude(build(tf_keras), pruning_schedule=schedule())
    return {
        "keras": Training(keras, build(keras), data, []),
        **{name: Training(keras, build(keras), data, [pruning(pattern)]) for name, pattern in PATTERNS.items()},
        "clustering": Training(keras, sparse(build(keras)), data, [Clustering(16)]),
        "tf_keras": Training(tf_keras, build(tf_keras), data, []),
        "tf_keras + TF-MOT": Training(tf_keras, wrapped, data, [pruning_callbacks.UpdatePruningStep()]),
    }


def step_times(case, running, rounds):
    """Seconds of the steps of each variant's turn in each round."""
    taken = {name: [] for name in running}
    for number in range(rounds):
        for name in list(running) if number % 2 else list(reversed(running)):
            taken[name].append(running[name].seconds(CASES[case][3]))
    return taken


def ratio(taken, over, under):
    pairs = zip(taken[over], taken[under], strict=True)
    return statistics.median(a / b for a, b in pairs)


def attached(model, pattern):
    """The callback on a model, as `fit` would have it."""
    pruning = MagnitudePruning(**({} if "keep" in pattern else {"sparsity": 0.8}), **pattern)
    pruning.set_model(model)
    pruning.set_params({"steps": 10, "epochs": 1})
    pruning.on_train_begin()
    return pruning


def mask_updates(rounds):
    """Seconds of one update of all of MobileNetV2's kernels: TF-MOT's, and the callback's in each pattern."""
    model = mobilenet_v2(keras, 224)
    model.compile("sgd", "mse")
    before = model.get_weights()
    triples = []
    for kernel in choose_kernels(model)[0]:
        raw = kernel.variable.value
        triples.append((raw, tf.Variable(tf.ones_like(raw)), tf.Variable(0.0)))
    step = tf.Variable(100, dtype=tf.int64)
    stock = tfmot().Pruning(lambda: step, triples, polynomial_decay(0.1, 0.8, 0, 100), (1, 1), "AVG")

    @tf.function
    def stock_update():
        stock.conditional_mask_update()
        stock.weight_mask_op()

    updates = {"TF-MOT": stock_update}
    masks = {}
    for name, pattern in PATTERNS.items():
        pruning = attached(model, pattern)
        updates[name] = lambda pruning=pruning: pruning._masking.renew(0.8)
        masks[name] = pruning._masking.masks
        pruning.detach()
    taken = {state: {name: [] for name in updates} for state in ("dense", "80% zeros")}
    for number in range(rounds + 2):
        for name, update in updates.items():
            model.set_weights(before)
            for state in taken:  # the second update finds the zeros of the first
                start = time.perf_counter()
                update()
                if number >= 2:
                    taken[state][name].append(time.perf_counter() - start)
    same = all(np.array_equal(m.numpy(), t[1].numpy()) for m, t in zip(masks["per layer"], triples, strict=True))
    return len(triples), sum(int(np.prod(t[0].shape)) for t in triples), taken, same


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=[*CASES, "mask_update"])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a look")
    arguments = parser.parse_args()
    names = [*PATTERNS, "clustering"]
    print(f"{'model':<14} {'repeat':>6} {'ms/step':>8} {''.join(f'{name:>13}' for name in names)} {'TF-MOT':>9}")
    for case in CASES:
        if arguments.only not in (None, case):
            continue
        lines = []
        running = trainings(case)
        step_times(case, running, 2)  # traces
        for repeat in range(arguments.repeats):
            taken = step_times(case, running, 5 if arguments.quick else CASES[case][4])
            milliseconds = 1000 * statistics.median(taken["keras"]) / CASES[case][3]
            lines.append(
                [ratio(taken, name, "keras") for name in names] + [ratio(taken, "tf_keras + TF-MOT", "tf_keras")]
            )
            print(f"{case:<14} {repeat + 1:>6} {milliseconds:>8.2f} {_line(lines[-1])}", flush=True)
        medians = [statistics.median(column) for column in zip(*lines, strict=True)]
        print(f"{case:<14} median {'':>8} {_line(medians)}", flush=True)
    if arguments.only in (None, "mask_update"):
        count, weights, taken, same = mask_updates(3 if arguments.quick else 15)
        print(f"\none mask update of MobileNetV2: {count} kernels, {weights:,} weights; per layer equal: {same}")
        for state, by_name in taken.items():
            stock = statistics.median(by_name["TF-MOT"])
            print(f"{state:<12} TF-MOT's sort {stock * 1000:8.1f} ms")
            for name in PATTERNS:
                own = statistics.median(by_name[name])
                print(f"{'':<12} {name:<13} {own * 1000:8.1f} ms {stock / own:6.1f}x")


def _line(ratios):
    return "".join(f"{value:>13.3f}" for value in ratios[:-1]) + f" {ratios[-1]:>9.3f}"


if __name__ == "__main__":
    main()
