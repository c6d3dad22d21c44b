"""Processes that run the same recipe in the same folder: one holds it and runs the stages, the others share their work.

There is no chief: whichever holds the folder leads, and when it dies the operating system gives the folder to another.
"""

from __future__ import annotations

import time

from tfopt.artifact import Artifact
from tfopt.plan import Plan

POLL_SECONDS = 0.5


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
            return
        break
    time.sleep(POLL_SECONDS)
