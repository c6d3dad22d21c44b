"""The role of this process in a search that keras-tuner distributes: chief, worker, or none."""

from __future__ import annotations

import os

from tfopt.errors import InputError

# The folder, in that of a stage, with the trials and the state of its tuner.
PROJECT = "tuner"


def role_here() -> str | None:
    """The role of this process where keras-tuner distributes trials: `chief`, `worker`, or None where it is alone.

    Raises:
        InputError: Some of keras-tuner's environment variables are set, and others are not.
    """
    names = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
    there = [name for name in names if os.environ.get(name)]
    if not there:
        return None
    if missing := [name for name in names if name not in there]:
        raise InputError(f"{there[0]} is set and {missing[0]} is not: keras-tuner takes {', '.join(names)}.")
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"
