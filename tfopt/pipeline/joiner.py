"""Processes that run the same recipe in the same folder: one holds it and runs the stages, the others share their work.

There is no chief: whichever holds the folder leads, and when it dies the operating system gives the folder to another.
keras-tuner has one: where its environment variables are set, the process that they name chief leads, and no other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from tfopt.errors import InUseError, TrainingError
from tfopt.pipeline.plan import Plan
from tfopt.recipe.artifact import LOCK, Artifact

POLL_SECONDS = 0.5


def share(plan: Plan, keys: Mapping[str, str]) -> None:
    """Takes part in the shared stage that another process has begun, or waits a moment where there is none.

    Args:
        plan: The plan of the recipe.
        keys: Content key of every result, by the name of its stage.

    Raises:
        TfoptError: The stage fails in this process.
    """
    for step in plan.steps:
        if step.stage.shared and plan.workspace.begun(step.name, keys[step.name]):
            found = {name: plan.workspace.find(name, keys[name]) for name in (*step.parents, *step.stage.needs())}
            plan.share(step, keys[step.name], {name: artifact for name, artifact in found.items() if artifact})
    time.sleep(POLL_SECONDS)


def wait_to_lead(plan: Plan, keys: Mapping[str, str]) -> None:
    """Returns on a worker of keras-tuner once the chief has made all results; until then the folder is the chief's.

    Args:
        plan: The plan of the recipe.
        keys: Content key of every result, by the name of its stage.

    Raises:
        InUseError: The chief holds the folder: the worker can share its work meanwhile.
        TrainingError: No chief has held the folder for `start_timeout` seconds.
    """
    from filelock import FileLock, Timeout

    seconds = plan.recipe.runtime.start_timeout
    end = time.monotonic() + seconds
    while True:
        made = (Artifact.read(plan.workspace.root / name) for name in keys)
        if [artifact and artifact.key for artifact in made] == list(keys.values()):
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
