"""Every main road of the command, timed against an older checkout of tfopt: seconds, CPU seconds and peak memory.

Each road is a whole command, from the start of its process to its end, imports included. The two checkouts take turns,
in the same environment; a ratio, this checkout over the older one, is the median of the paired ones.

    git worktree add /tmp/older COMMIT
    TFOPT_DATA=/folder/with/mnist.npz python benchmarks/roads.py --older /tmp/older [--only demo] [--repeats 3]

Without TFOPT_DATA the roads through MNIST are left out.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parents[1]
COMMAND = "import sys; sys.argv[0] = 'tfopt'; from tfopt.cli import main; main()"
FIT = "epochs: 3, batch_size: 128"
DIGITS = "name: job\nmodel: digits.py:build\ndata: digits\nstages:\n"
MNIST = """name: job
model: mnist.py:lenet5
data: npz:{folder}/small.npz
loss: sparse_categorical_crossentropy
metrics: [accuracy]
stages:
  - train: {{{fit}}}
  - prune: {{sparsity: 0.8, {fit}}}
  - quantize: {{mode: int8}}
  - verify: {{}}
"""
RECURRENT = """name: job
model: {net}.keras
data: npz:{net}.npz
loss: sparse_categorical_crossentropy
stages:
  - qat: {{epochs: 1}}
"""
SEARCH = """name: job
model: digits.py:build
data: digits
stages:
  - train: {epochs: 2}
  - search:
      within: {raw_bytes: 100 KB}
      trials: 6
      epochs: [2, 4]
"""


@dataclass(frozen=True)
class Road:
    """One command.

    Args:
        arguments: The words after `tfopt`; `{out}` is a folder of the checkout's own, empty unless `again`.
        code: The exit code.
        again: The same command has run before, and its results are there.
    """

    arguments: str
    code: int = 0
    again: bool = False


ROADS = {
    "demo": Road("run digits.yaml --out {out}"),
    "demo, all reused": Road("run digits.yaml --out {out}", again=True),
    "LeNet-5 on MNIST": Road("run lenet.yaml --out {out}"),
    "convert MobileNetV2-224": Road("convert mobilenet.keras --data images.npz --out {out}.tflite -f"),
    "convert EfficientNetV2B0": Road("convert efficientnet.keras --data images.npz --out {out}.tflite -f"),
    "search of six candidates": Road("run search.yaml --out {out}"),
    "qat of a GRU": Road("run gru.yaml --out {out}"),
    "qat of an attention": Road("run attention.yaml --out {out}"),
    "inspect a model": Road("inspect gru.keras"),
    "inspect a file": Road("inspect file.tflite"),
    "a missing model": Road("convert nothing.keras", 2),
    "a missing recipe": Road("run nothing.yaml --out {out}", 2),
    "a model cut off": Road("convert cut.keras --mode float32", 2),
    "an unknown stage": Road("run stage.yaml --out {out}", 2),
    "an unknown function": Road("run function.yaml --out {out}", 2),
    "max_drop: 1": Road("run drop.yaml --out {out}", 2),
    "max_drop: one point": Road("run words.yaml --out {out}", 2),
}


def prepare(folder):
    """Writes the models, the data and the recipes of all roads into a folder."""
    import keras
    from keras import layers
    from networks import settle

    keras.utils.set_random_seed(0)
    for name in ("digits.py", "mnist.py", "digits.yaml"):
        shutil.copy(HERE / "pipelines" / name, folder)
    recipe = (folder / "digits.yaml").read_text()
    for name, old, new in (
        ("stage", "- verify:", "- verfy:"),
        ("function", "digits.py:build", "digits.py:bild"),
        ("drop", "max_drop: 0.01", "max_drop: 1"),
        ("words", "max_drop: 0.01", "max_drop: one point"),
    ):
        (folder / f"{name}.yaml").write_text(recipe.replace(old, new))
    (folder / "search.yaml").write_text(SEARCH)
    generator = np.random.default_rng(0)
    steps = keras.Input((20, 8))
    attended = layers.MultiHeadAttention(2, 8)(steps, steps)
    for name, x in (("gru", layers.GRU(16)(steps)), ("attention", layers.GlobalAveragePooling1D()(attended))):
        model = keras.Model(steps, layers.Dense(4, activation="softmax")(x))
        model.compile("adam", "sparse_categorical_crossentropy")
        model.save(folder / f"{name}.keras")
        data = {
            f"{kind}_{split}": values
            for split, count in (("train", 400), ("test", 100))
            for kind, values in (
                ("x", generator.random((count, 20, 8), np.float32)),
                ("y", generator.integers(0, 4, count)),
            )
        }
        np.savez(folder / f"{name}.npz", **data)
        (folder / f"{name}.yaml").write_text(RECURRENT.format(net=name))
    (folder / "cut.keras").write_bytes((folder / "gru.keras").read_bytes()[:3000])
    import tfopt

    (folder / "file.tflite").write_bytes(tfopt.convert(model, "float32"))
    images = generator.uniform(-1, 1, (64, 224, 224, 3)).astype(np.float32)
    np.savez(folder / "images.npz", x=images)
    large = {"weights": None, "classifier_activation": None}
    for name, net in (
        ("mobilenet", keras.applications.MobileNetV2(**large)),
        ("efficientnet", keras.applications.EfficientNetV2B0(**large, include_preprocessing=False)),
    ):
        settle(net, images[:16]).save(folder / f"{name}.keras")
    if source := os.environ.get("TFOPT_DATA"):
        with np.load(Path(source) / "mnist.npz") as file:
            small = {name: file[name][:20_000] for name in file}
        np.savez(folder / "small.npz", **small)
        (folder / "lenet.yaml").write_text(MNIST.format(folder=folder, fit=FIT))


def timed(road, checkout, folder):
    """Seconds, CPU seconds and peak megabytes of a road's command."""
    out = folder / f"out-{checkout.name}"
    if not road.again:
        shutil.rmtree(out, ignore_errors=True)
    words = [word.format(out=out) for word in road.arguments.split()]
    log = folder / "log.txt"
    start = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != road.code:
        sys.exit(f"{road.arguments} gave {process.returncode} in {checkout}:\n{log.read_text()[-2000:]}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def compared(name, checkouts, folder, repeats):
    """Times a road in turns and prints its medians and ratios."""
    road, taken = ROADS[name], {checkout: [] for checkout in checkouts}
    for repeat in range(repeats):
        for checkout in checkouts if repeat % 2 == 0 else reversed(checkouts):
            taken[checkout].append(timed(road, checkout, folder))
    older, newer = (list(zip(*taken[checkout], strict=True)) for checkout in checkouts)
    words = [f"{name:26}"]
    for before, after, form in zip(older, newer, ("7.2f", "7.2f", "7,.0f"), strict=True):
        ratio = statistics.median(b / a for a, b in zip(before, after, strict=True))
        words.append(f"{statistics.median(before):{form}} {statistics.median(after):{form}} {ratio:6.2f}")
    print(" | ".join(words), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--older", type=Path, help="the checkout to compare with")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=ROADS, action="append", help="a road; all if not given")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.prepare)
        return
    if not arguments.older:
        parser.error("--older is the checkout to compare with")
    checkouts = (arguments.older.resolve(), HERE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Not here: the peak memory of a process is at least that of the one which starts it.
        subprocess.run([sys.executable, __file__, "--prepare", name], check=True)
        groups = [f"{what:>22}" for what in ("seconds", "CPU seconds", "peak MB")]
        print(" | ".join([f"{'older, this, ratio':26}", *groups]), flush=True)
        for road in arguments.only or ROADS:
            if road != "LeNet-5 on MNIST" or (folder / "lenet.yaml").exists():
                compared(road, checkouts, folder, arguments.repeats)


if __name__ == "__main__":
    main()
