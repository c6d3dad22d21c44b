"""Faults: a server that forks runs, a project for them, and a count of what was injected and survived."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults.evidence import LOG_VARIABLE, Evidence
from tests.faults.fork_server import ForkServer
from tests.faults.project import write_project
from tests.faults.trial import Bench

# Faults of a test that tries a part of them: all tests together are to be over in less than half an hour on one core.
SOME = 2
EVIDENCE = pytest.StashKey[Evidence]()


@pytest.fixture(scope="session")
def evidence(request, tmp_path_factory):
    """The faults of this session, and their log."""
    named = os.environ.get(LOG_VARIABLE)
    found = Evidence(Path(named) if named else tmp_path_factory.mktemp("faults") / "faults.jsonl")
    request.config.stash[EVIDENCE] = found
    return found


def pytest_addoption(parser):
    """Adds options on how many faults are tried; they are known where this folder is named on the command line."""
    parser.addoption("--all-faults", action="store_true", help="try every fault at every call, which takes hours")
    parser.addoption("--few-faults", type=int, help="try so many faults at most in each test")


def pytest_terminal_summary(terminalreporter, config):
    """Prints the faults of the session by kind."""
    found = config.stash.get(EVIDENCE, None)
    if found is not None and found.injected:
        terminalreporter.section("faults and wrong inputs")
        for line in [*found.table(), f"each with what came of it: {found.log}"]:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def failing_calls(tmp_path_factory):
    """The library of `failing_calls.c`; None without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = tmp_path_factory.mktemp("library") / "failing_calls.so"
    source = Path(__file__).with_name("failing_calls.c")
    subprocess.run([compiler, "-O1", "-fPIC", "-shared", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def library(failing_calls):
    """The library of `failing_calls.c`."""
    if failing_calls is None:
        pytest.skip("there is no C compiler to make calls fail with")
    return failing_calls


@pytest.fixture(scope="session")
def server(tmp_path_factory, failing_calls):
    """Forks processes of the command."""
    return ForkServer(tmp_path_factory.mktemp("streams"), failing_calls)


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """The folder of a project with a recipe for each kind of stage."""
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def each():
    """Calls a function for each of many things, as many at a time as there are processors."""
    count = 1 if os.environ.get("PYTEST_XDIST_WORKER") else len(os.sched_getaffinity(0))

    def run(function: Callable[[Any], Any], things: Iterable[Any]) -> list[Any]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(function, things))

    return run


@pytest.fixture(scope="session")
def bench(server, project, tmp_path_factory, evidence):
    """Runs recipes with faults."""
    return Bench(server, project, tmp_path_factory.mktemp("runs"), evidence)


@pytest.fixture(scope="session")
def all_hold(each, evidence):
    """Tries many faults and fails with all that did not hold, or where none of them came about."""

    def run(function: Callable[..., list[str]], things: Iterable[Any]) -> None:
        before = evidence.injected.total()
        failed = [line for lines in each(function, things) for line in lines]
        assert not failed, f"{len(failed)} faults were not survived:\n" + "\n".join(failed[:20])
        assert evidence.injected.total() > before, "none of the faults came about"

    return run


@pytest.fixture
def some(request):
    """Of many faults so many that all tests are over in minutes; with `--all-faults` all of them.

    They are spread over the whole, and start at another place for each case of a test, so that together they cover it.
    """
    everything = request.config.getoption("--all-faults", default=False)
    most = request.config.getoption("--few-faults", default=None)

    def choose(things: Iterable[Any], count: int = SOME) -> list[Any]:
        found, count = list(things), min(count, most or count)
        if everything or len(found) <= count:
            return found
        shift = random.Random(request.node.name).random()
        return [found[int((index + shift) * len(found) / count)] for index in range(count)]

    return choose
