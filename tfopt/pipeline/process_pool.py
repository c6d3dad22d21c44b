"""A pool of processes that run one command: started, their output passed on, started again when they are killed."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from tfopt.subprocesses import end, ended_at_exit, environment_of_child, killing_signal, tied_to_this_process

POLL_SECONDS = 0.1
RESTARTS = 3
# Time for the other processes to end by themselves once one has failed.
GRACE_SECONDS = 3.0


class ProcessPool:
    """A command in several processes.

    Args:
        command: The program and its arguments.
        environments: Additional environment variables of each process; one mapping a process.
        notify: Called with every line that a process prints.
        restarts: How often each process is started again.
    """

    def __init__(
        self,
        command: Sequence[str],
        environments: Sequence[Mapping[str, str]],
        notify: Callable[[str], None],
        restarts: int = RESTARTS,
    ):
        self._command, self._environments, self._notify, self._restarts = list(command), environments, notify, restarts
        self._count = len(environments)
        self._errors: list[list[str]] = [[] for _ in environments]
        self._threads: list[threading.Thread] = []

    def run(self) -> int:
        """Starts all processes and waits until they are done.

        Returns:
            0 where all succeed. Where one fails, the others are ended, and the highest exit code counts: a wrong input
            fails all of them, but some only by what another left undone. 1 where one was killed once too often.
        """
        processes: list[subprocess.Popen[str]] = []
        left = [self._restarts] * self._count
        with ended_at_exit(processes):
            for index in range(self._count):
                processes.append(self._start(index))
            while any(process.poll() is None for process in processes) or any(p.returncode for p in processes):
                for index, process in enumerate(processes):
                    code = process.poll()
                    if not code:
                        continue
                    killed = killing_signal(code)
                    if not killed or not left[index]:
                        return self._failed(processes, index, killed)
                    left[index] -= 1
                    self._notify(f"process {index + 1} of {self._count} was ended by {killed}: it is started again")
                    processes[index] = self._start(index)
                time.sleep(POLL_SECONDS)
        self._join()
        return 0

    def _start(self, index: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            tied_to_this_process(self._command),
            env={**environment_of_child(), **self._environments[index]},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._errors[index] = []
        self._listen(process.stdout, self._notify)
        self._listen(process.stderr, self._errors[index].append)
        return process

    def _listen(self, stream: IO[str] | None, notify: Callable[[str], None]) -> None:
        def listen() -> None:
            for line in stream or ():
                notify(line.rstrip("\n"))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _failed(self, processes: Sequence[subprocess.Popen[str]], index: int, killed: str | None) -> int:
        """Ends all processes, passes on the errors of the one that failed, and returns the exit code."""
        late = time.monotonic() + GRACE_SECONDS
        while any(process.poll() is None for process in processes) and time.monotonic() < late:
            time.sleep(POLL_SECONDS)
        codes = [process.poll() or 0 for process in processes]
        end(processes)
        self._join()
        if not killed:
            index = max(range(len(codes)), key=codes.__getitem__)
        for line in self._errors[index]:
            self._notify(line)
        if killed:
            self._notify(f"process {index + 1} of {self._count} was ended by {killed} once too often")
        return 1 if killed else codes[index]

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(timeout=5)
