"""What a search costs besides its trainings, and what a second process brings.

The first part takes LeNet-5 and a search that has made 60 candidates, and times the next ones that are over budget:
drawn by the sampler, forecast, thrown away. The second runs pipelines/search.yaml with one process, with two, and with
two of which each is killed once, and counts candidates by the minute, and those that were lost or made twice.

    python benchmarks/search_speed.py [--trials 20] [--out FOLDER]
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tfopt.recipe.artifact import Artifact
from tfopt.search.model_profile import ModelProfile, SearchBounds
from tfopt.search.pareto import Objective, Point
from tfopt.search.sampler import Sampler
from tfopt.search.trial_store import silenced_optuna

PIPELINES = Path(__file__).parents[1] / "pipelines"
MADE, TIMED = 60, 200


def over_budget():
    """The median and the largest milliseconds of a candidate that is thrown away."""
    sys.path.insert(0, str(PIPELINES))
    import lenet

    generator = np.random.default_rng(0)
    x = generator.random((64, 28, 28, 1)).astype(np.float32)
    profile = ModelProfile(lenet.lenet_5(), SearchBounds((0.01, 1.0), (8, 4), (0, 8, 16, 32), (0.4, 1.0)), x)
    objective = Objective("smallest", "gzip", gzip_bytes=20_000, max_drop=0.01)
    sampler = Sampler(profile.space, profile.forecast, objective, [], 0)
    points = []
    for number in range(MADE):
        candidate = sampler.next(points, [p.candidate for p in points], "").candidate
        drop = float(generator.uniform(0, 0.05))
        points.append(Point(number, candidate, 1, 1 - drop, drop, profile.forecast(candidate)))
    tight = Sampler(profile.space, profile.forecast, Objective("smallest", "gzip", gzip_bytes=1), [], 0)
    taken, last = [], time.perf_counter()
    for candidate, tell in tight._drawn(points, MADE, ""):
        over = tight._objective.over(profile.forecast(candidate))["gzip_bytes"]
        tell(over)
        taken.append(1000 * (time.perf_counter() - last))
        last = time.perf_counter()
        if len(taken) == TIMED:
            break
    return statistics.median(taken[1:]), max(taken[1:])


def run(recipe, out, workers, kills=0):
    """Seconds of the search, and its artifact, with so many processes, each of the first `kills` killed once."""
    command = [sys.executable, "-m", "tfopt", "search", str(recipe), "--out", str(out), "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    folder = out / "search" / "search.partial" / "candidates"
    for number in range(kills):
        while len(list(folder.glob("*.tflite"))) < 3 + 4 * number and process.poll() is None:
            time.sleep(0.1)
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        os.kill(int(children[number]), signal.SIGKILL)
    if process.wait():
        raise SystemExit(f"the search ended with {process.returncode}")
    return Artifact.read(out / "search" / "search")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("saved_models/search_speed"))
    arguments = parser.parse_args()
    with silenced_optuna():
        median, largest = over_budget()
    print(f"a candidate over budget: median {median:.1f} ms, largest {largest:.1f} ms", flush=True)
    text = (PIPELINES / "search.yaml").read_text().replace("trials: 20", f"trials: {arguments.trials}")
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    recipe = arguments.out / "search.yaml"
    recipe.write_text(text.replace("digits.py:build", f"{PIPELINES}/digits.py:build"))
    # The training before the search is the same for all: it is done once.
    run(recipe, arguments.out / "first", 1)
    rates = {}
    for name, workers, kills in (("one", 1, 0), ("two", 2, 0), ("two, each killed once", 2, 2)):
        own = arguments.out / name.replace(", ", "-").replace(" ", "-")
        for part in ("source", "train"):
            shutil.copytree(arguments.out / "first" / "search" / part, own / "search" / part)
        artifact = run(recipe, own, workers, kills)
        found = artifact.details["search"]
        count = len(found["tried"])
        rates[name] = 60 * count / artifact.seconds
        doubled = count - len({one["number"] for one in found["tried"]})
        print(
            f"{name:22} {artifact.seconds:5.0f} s, {rates[name]:.1f} candidates a minute; {count} finished, "
            f"{found['lost']} begun again, {doubled} doubled, {found['dropped']} over budget",
            flush=True,
        )
    print(f"two against one: {rates['two'] / rates['one']:.2f}x")


if __name__ == "__main__":
    main()
