"""One worker of a search whose candidates are numbers: `python shared_search.py STORAGE FOLDER TRIALS SECONDS WORKERS`.

What it makes it writes into the folder, a file for each making, so that a test can count them.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from tests.gathering import gather
from tfopt.search import heartbeat
from tfopt.search.cost_model import Cost, CostModel
from tfopt.search.pareto import Objective
from tfopt.search.sampler import Sampler
from tfopt.search.space import Space, channel_shares
from tfopt.search.trial_store import open_trial_store
from tfopt.search.worker import Rungs, Worker


def worker(storage, folder, trials, seconds=0.0, lost_after=2.0, make=None, notify=lambda line: None):
    groups = {"a": ("a",), "b": ("b",)}
    space = Space(groups, frozenset({"a"}), (0.01, 1.0), (8, 4), (0,), channel_shares(1.0, 1.0))
    kernels = {name: [np.random.default_rng(0).normal(size=(40, 40))] for name in groups}
    forecast = CostModel(space, kernels, Cost(4000, 3800, 1.0), lambda share: ({}, 1.0))
    objective = Objective("accurate", "gzip", gzip_bytes=2500)

    def made(candidate, epochs, number):
        time.sleep(seconds)
        (folder / f"{number}-{os.getpid()}").write_text(str(epochs))
        drop = (1 - candidate.density["a"]) / epochs
        return 1 - drop, drop, forecast(candidate)

    opened = open_trial_store(
        storage, folder / "search.journal", "test", ["minimize"] * 3, space.distributions(), lost_after
    )
    proposals = Sampler(space, forecast, objective, [], 0)
    return Worker(opened, space, proposals, objective, Rungs(trials, (1, 4), 0.25), make or made, notify), opened


if __name__ == "__main__":
    heartbeat.SECONDS = 0.3
    gather(Path(sys.argv[2]), int(sys.argv[5]))
    # On a busy machine a worker may be silent for seconds; one of this machine that has ended is known by its process.
    own, _ = worker(
        sys.argv[1] if sys.argv[1] != "-" else None,
        Path(sys.argv[2]),
        int(sys.argv[3]),
        float(sys.argv[4]),
        lost_after=10.0,
    )
    for point in own.run():
        print(point.number, point.epochs, point.score)
