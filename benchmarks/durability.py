"""What it costs that results survive a power cut: the digits run with fsync against without, as a ratio.

Each run is a whole command in a new folder. Without: `os.fsync` does nothing, and all else is the same. The two take
turns, and the first to go changes with each pair; a ratio, with over without, is the median of the paired ones. There
are as many as fit into the time, and three at least. Beside it the medians of either, the number of syncs, the time
that they took in all, and what one checkpoint of a larger model costs.

    python benchmarks/durability.py [--minutes 3] [--folder ON_THE_DISK_TO_MEASURE]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[1]
LEAST_PAIRS = 3
# Runs the command with syncs that are timed, or that do nothing, and writes what they took into a file.
COMMAND = """
import json, os, sys, time
file, off = sys.argv[1], sys.argv[2] == "without"
real, taken = os.fsync, []

def fsync(descriptor):
    start = time.perf_counter()
    off or real(descriptor)
    taken.append(time.perf_counter() - start)

os.fsync = fsync
sys.argv = ["tfopt", *sys.argv[3:]]
from tfopt.cli import main
try:
    main()
finally:
    with open(file, "w") as told:
        json.dump([len(taken), sum(taken)], told)
"""


def measured(kind, folder):
    """Seconds of one run, the number of its syncs and the seconds that they took."""
    told, out = folder / "told.json", folder / "out"
    command = [sys.executable, "-c", COMMAND, str(told), kind, "run", str(HERE / "pipelines" / "digits.yaml"), "-q"]
    start = time.perf_counter()
    subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    shutil.rmtree(out)
    return seconds, *json.loads(told.read_text())


def checkpoint(folder):
    """Megabytes of a checkpoint of MobileNetV2 with Adam, and the seconds to write it with and without fsync."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    from tfopt.training.checkpoint import EpochBackup, State

    model = keras.applications.MobileNetV2(weights=None, input_shape=(96, 96, 3))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    real, found = os.fsync, {}
    for kind in ("with", "without"):
        os.fsync = real if kind == "with" else lambda descriptor: None
        backup = EpochBackup(folder / kind, State(), ())
        backup.set_model(model)
        times = []
        for epoch in range(4):
            start = time.perf_counter()
            backup.on_epoch_end(epoch, {})
            times.append(time.perf_counter() - start)
        found[kind] = statistics.median(times[1:])
    os.fsync = real
    size = sum(file.stat().st_size for file in (folder / "with").iterdir())
    return size / 1e6, found["with"], found["without"]


def pairs_of_runs(folder, seconds):
    """As many pairs of runs as fit into the time; those of a pair by kind."""
    end, pairs, longest = time.perf_counter() + seconds, [], 0.0
    measured("with", folder)  # the first finds nothing in the caches
    while len(pairs) < LEAST_PAIRS or time.perf_counter() + longest < end:
        order = ("with", "without") if len(pairs) % 2 else ("without", "with")
        pair = {kind: measured(kind, folder) for kind in order}
        pairs.append(pair)
        longest = max(longest, sum(seconds for seconds, _, _ in pair.values()))
        print(f"with {pair['with'][0]:6.2f} s   without {pair['without'][0]:6.2f} s", flush=True)
    return pairs


def report(pairs):
    """Prints what the pairs tell."""
    ratios = sorted(pair["with"][0] / pair["without"][0] for pair in pairs)
    with_sync, without = (statistics.median(pair[kind][0] for pair in pairs) for kind in ("with", "without"))
    count, taken = (statistics.median(pair["with"][index] for pair in pairs) for index in (1, 2))
    print(f"digits run, medians of {len(pairs)} pairs: {with_sync:.2f} s with fsync, {without:.2f} s without")
    print(f"with over without: {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}); ", end="")
    print(f"{count:.0f} syncs, {taken:.3f} s in all: {taken / with_sync:.2%} of the run")


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="about how long it takes")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        report(pairs_of_runs(folder, chosen.minutes * 60))
        size, with_sync, without = checkpoint(folder)
        print(f"a checkpoint of {size:.0f} MB: {with_sync:.2f} s with fsync, {without:.2f} s without")


if __name__ == "__main__":
    main()
