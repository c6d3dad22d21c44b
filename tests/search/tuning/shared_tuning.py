"""One process of a search for hyperparameters, forked where keras-tuner has been imported already."""

import json
import os
import time

import keras_tuner  # noqa: F401 (imported once, where the processes are forked)

from tests.gathering import gather
from tfopt.search import heartbeat
from tfopt.search.tuning.tuners import Tuning


def search(environment, folder, trials, seconds, processes):
    """Searches in a role of keras-tuner's environment; a file of its process has what became of the trials."""
    os.environ.update(environment)
    heartbeat.SECONDS = 0.3
    (folder / "made").mkdir(exist_ok=True)

    def run(trial):
        mark = folder / "made" / f"{trial.number}-{os.getpid()}"
        mark.write_text("")
        time.sleep(seconds)
        mark.write_text("done")
        return trial.values["x"]

    def declare(hyperparameters):
        hyperparameters.Float("x", 0.0, 1.0)

    gather(folder, processes)
    own = Tuning("random", declare, run, False, folder, trials, 1, 0, lost_after=3.0)
    outcomes = [(one.number, one.status) for one in own.search()]
    (folder / f"outcomes-{os.getpid()}.json").write_text(json.dumps(outcomes))
