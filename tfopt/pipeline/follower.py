"""A worker of a cluster that does not lead: it joins every training, and leaves everything else to the leader."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from tfopt.errors import TrainingError
from tfopt.pipeline.plan import Plan
from tfopt.recipe.artifact import OWNER, Artifact
from tfopt.recipe.workspace import Workspace

T = TypeVar("T")
POLL_SECONDS = 0.2
# Refused connections in a row after which the leader counts as gone.
REFUSED = 10


def follow(plan: Plan, leader: str) -> dict[str, Artifact]:
    """Joins every training of the leader, until all results are made.

    Args:
        plan: The plan of the recipe; its `workspace` is the leader's, in a folder that all workers share.
        leader: The leader's address, `host:port`.

    Returns:
        Every result by its stage's name.

    Raises:
        InputError: Something in the recipe, the model or the data cannot work; the leader finds it as well.
        TrainingError: The leader has ended before its work was done.
    """
    artifacts: dict[str, Artifact] = {}
    checked = False
    keys = plan.keys()
    for index, name in enumerate(keys):
        key, step = keys[name], plan.steps[index - 1] if index else None
        if plan.workspace.find(name, key) is None and step and step.stage.trains:
            if not checked:
                plan.check()
                checked = True
            _wait(partial(_begun, plan.workspace, name, key), leader)
            if plan.workspace.find(name, key) is None:
                plan.train_along(step, key, artifacts)
        found = _wait(partial(plan.workspace.find, name, key), leader)
        artifacts |= {name: found} if found else {}
    _wait(lambda: not (plan.workspace.root / OWNER).exists() or None, leader, may_end=True)
    return artifacts


def _begun(workspace: Workspace, name: str, key: str) -> bool | None:
    """True once the leader makes the result, or has made it; None before."""
    return workspace.begun(name, key) or workspace.find(name, key) is not None or None


def _wait(look: Callable[[], T | None], leader: str, may_end: bool = False) -> T | None:
    """Polls `look` until it returns something; None where the leader has ended and `may_end`."""
    refused = 0
    while (found := look()) is None:
        refused = 0 if _listens(leader) else refused + 1
        if refused >= REFUSED:
            if may_end:
                return None
            raise TrainingError(f"the leading worker, {leader}, has ended. Start all workers again: they go on.")
        time.sleep(POLL_SECONDS)
    return found


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return True
    except OSError:
        return False
