"""Processes that run the same recipe in the same folder: one holds it and runs the stages, the others share their work.

There is no chief: whichever holds the folder leads, and when it dies the operating system gives the folder to another.
keras-tuner has one: where its environment variables are set, the process that they call chief leads, and no other.
"""

from __future__ import annotations

import os
import time

from tfopt.artifact import LOCK, Artifact
from tfopt.errors import InputError, InUseError, TrainingError
from tfopt.plan import Plan

POLL_SECONDS = 0.5


def role_here() -> str | None:
    """Which part this process has in a search of several: `chief`, `worker`, or None where it is alone.

    Raises:
        InputError: keras-tuner's environment variables are not all there.
    """
    names = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
    there = [name for name in names if os.environ.get(name)]
    if not there:
        return None
    if missing := [name for name in names if name not in there]:
        raise InputError(f"{there[0]} is set and {missing[0]} is not: keras-tuner takes {', '.join(names)}.")
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


def share(plan: Plan) -> None:
    """Takes part in the shared stage that another process has begun, or waits a moment where there is none.

    Raises:
        TfoptError: The stage cannot work here.
    """
    artifacts: dict[str, Artifact] = {}
    keys = plan.keys()
    for index, name in enumerate(keys):
        found = plan.workspace.find(name, keys[name])
        if found is not None:
            artifacts[name] = found
            continue
        step = plan.steps[index - 1] if index else None
        if step and step.stage.shared and plan.workspace.begun(name, keys[name]):
            plan.start()
            plan.share(step, keys[name], artifacts)
        break
    time.sleep(POLL_SECONDS)


def wait_to_lead(plan: Plan) -> None:
    """Lets a worker of keras-tuner by once the chief has made all results; until then the folder is the chief's.

    Raises:
        InUseError: They are not all there: it can share in the work meanwhile.
        TrainingError: No chief has been there for as long as processes are waited for.
    """
    from filelock import FileLock, Timeout

    seconds = plan.recipe.runtime.start_timeout
    end = time.monotonic() + seconds
    while True:
        keys = plan.keys()
        if all(plan.workspace.find(name, key) is not None for name, key in keys.items()):
            return
        try:
            if plan.workspace.root.exists():
                with FileLock(plan.workspace.root / LOCK, timeout=0):
                    pass
        except Timeout:
            raise InUseError(f"{plan.workspace.root} is in use by the chief.") from None
        if time.monotonic() > end:
            raise TrainingError(f"there is no chief in {plan.workspace.root} since {seconds:g} s. Start it again.")
        time.sleep(POLL_SECONDS)
