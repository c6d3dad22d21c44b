"""The command `tfopt` in forks of a process that has imported everything: a start costs milliseconds."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import multiprocessing
import os
import pkgutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.faults import Fault

ROOT = Path(__file__).parents[2]
# Native code that is asked to stop at a limit may hang instead: no run of these models takes so long.
LONGEST_SECONDS = 120.0


@dataclass(frozen=True)
class Finished:
    """A process that has ended.

    Args:
        code: Its exit code; the number of the signal that ended it, negative.
        out: What it printed.
        errors: What it printed on the error stream.
        seconds: How long it ran.
    """

    code: int
    out: str
    errors: str
    seconds: float


class Started:
    """A process that was started, in a session of its own."""

    def __init__(self, process: multiprocessing.process.BaseProcess, streams: Path):
        self._process, self._streams, self._start = process, streams, time.monotonic()

    def wait(self, seconds: float) -> None:
        """Waits so long, or until it ends."""
        self._process.join(seconds)

    def signal(self, number: int) -> None:
        """Sends it a signal, as `kill` and a terminal do."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def kill(self, after: float = 0.0) -> bool:
        """Kills it with all that it started, unless it ends within so many seconds; returns whether it was killed."""
        self._process.join(after)
        if not self._process.is_alive():
            return False
        self._end()
        return True

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)

    def finish(self, seconds: float = LONGEST_SECONDS) -> Finished:
        """Waits for its end; one that takes longer than that is killed and has no exit code but that of SIGALRM."""
        self._process.join(seconds)
        late = self._process.is_alive()
        if late:
            self._end()
            self._process.join()
        out, errors = (self._streams.with_suffix(end).read_text(errors="replace") for end in (".out", ".err"))
        code = -signal.SIGALRM if late else self._process.exitcode
        return Finished(code, out, errors, time.monotonic() - self._start)


class ForkServer:
    """Forks a process for each command.

    Args:
        folder: Folder for the streams of the processes.
        preload: A shared library that all of them are linked with before others.
    """

    def __init__(self, folder: Path, preload: Path | None = None):
        self._folder, self._count = folder, 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([f"{__package__ or 'tests.faults'}.everything"])
        added = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        if preload:
            added["LD_PRELOAD"] = str(preload)
        before = {name: os.environ.get(name) for name in added}
        os.environ.update(added)
        try:
            self.run(["--version"], folder)  # starts the server
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def start(self, arguments: Sequence[str], folder: Path, *faults: Fault, **environment: str) -> Started:
        """Starts `tfopt` with such arguments in a folder, with faults set up before it begins."""
        self._count += 1
        streams = self._folder / f"{self._count:06d}"
        process = self._context.Process(
            target=_run, args=([*map(str, arguments)], folder, streams, faults, environment), daemon=False
        )
        process.start()
        return Started(process, streams)

    def run(self, arguments: Sequence[str], folder: Path, *faults: Fault, **environment: str) -> Finished:
        """Starts `tfopt` and waits for its end."""
        return self.start(arguments, folder, *faults, **environment).finish()


def _run(
    arguments: list[str], folder: Path, streams: Path, faults: Sequence[Fault], environment: dict[str, str]
) -> None:
    os.setsid()
    for descriptor, end in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(streams.with_suffix(end), os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(fd, mode) for fd, mode in ((0, "r"), (1, "w"), (2, "w")))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
    os.chdir(folder)
    os.environ.update(environment)
    faulthandler.dump_traceback_later(LONGEST_SECONDS - 10, file=sys.stderr)  # where it hangs
    sys.argv = ["tfopt", *arguments]
    code = 1
    try:
        with contextlib.ExitStack() as stack:
            for fault in faults:
                stack.enter_context(fault.armed())
            code = _exit_code()
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _exit_code() -> int:
    from tfopt.cli import main

    try:
        main()
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else 0 if exit.code is None else 1
    return 0


def import_everything() -> None:
    """Imports all of tfopt and what it needs at run time; executes nothing of TensorFlow, as a fork of that hangs."""
    import tfopt

    for name in ("tensorflow", "keras_tuner", "optuna", "sklearn", "scipy.stats", "ai_edge_litert.interpreter"):
        importlib.import_module(name)
    for module in pkgutil.walk_packages(tfopt.__path__, "tfopt."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
