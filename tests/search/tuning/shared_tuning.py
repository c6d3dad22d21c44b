"""One process of a search for hyperparameters: `python shared_tuning.py FOLDER TRIALS SECONDS PROCESSES`."""

import json
import os
import sys
import time
from pathlib import Path

from tests.gathering import gather
from tfopt.search import heartbeat
from tfopt.search.tuning.tuners import Tuning


def main():
    heartbeat.SECONDS = 0.3
    folder, trials, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    (folder / "made").mkdir(exist_ok=True)

    def run(trial):
        mark = folder / "made" / f"{trial.number}-{os.getpid()}"
        mark.write_text("")
        time.sleep(seconds)
        mark.write_text("done")
        return trial.values["x"]

    def declare(hyperparameters):
        hyperparameters.Float("x", 0.0, 1.0)

    gather(folder, int(sys.argv[4]))
    own = Tuning("random", declare, run, False, folder, trials, 1, 0, lost_after=3.0)
    print(json.dumps([(one.number, one.status) for one in own.search()]))


main()
