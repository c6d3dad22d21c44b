"""The workers of a multi-worker training, as TF_CONFIG names them."""

from __future__ import annotations

import json
import os

from tfopt.errors import InputError


def cluster() -> tuple[list[str], int]:
    """The addresses of all workers, `host:port`, and the index of this process among them, from TF_CONFIG.

    Raises:
        InputError: TF_CONFIG is not set, or does not describe a cluster of workers.
    """
    text = os.environ.get("TF_CONFIG", "")
    example = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        if set(jobs) - {"chief", "worker"}:
            raise ValueError("jobs other than chief and worker")
        addresses = [*jobs.get("chief", []), *jobs.get("worker", [])]
        index = int(task["index"]) + (len(jobs.get("chief", [])) if task["type"] == "worker" else 0)
        return addresses, range(len(addresses))[index]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        said = f"Received: {text[:120]!r}." if text else "It is not set."
        raise InputError(
            f"strategy: multi_worker reads TF_CONFIG, such as {example}. {said} On one machine: tfopt run --workers 2.",
            ("runtime", "strategy"),
        ) from error
