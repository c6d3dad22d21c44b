"""The chief and the workers of a tuner, which keras-tuner's environment variables name.

The chief of keras-tuner 1.4.8 waits for ever for a worker that was killed, and its workers an hour for a chief that is
done: this one listens for the workers' heartbeats, and gives the trial of a lost one to another.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfopt.errors import InputError, TrainingError
from tfopt.keras_private import chief_answers_within, serve_oracle
from tfopt.recipe.artifact import KEY, PARTIAL
from tfopt.search import heartbeat
from tfopt.search.heartbeat import Listener, beating
from tfopt.search.tuning.roles import role_here

POLL_SECONDS = 0.5
_BEAT, _DONE = "alive", "done"
_AGAIN = "Start it again: what is finished is kept."


class _Over(Exception):
    """The chief has handed out all trials."""


class Rendezvous:
    """The meeting point of a chief and its workers: an address, and a folder that all of them see.

    Args:
        folder: The tuner's folder.
        lost_after: Seconds without a heartbeat after which a worker counts as lost.
        notify: Called with one line on each lost worker.
    """

    def __init__(self, folder: Path, lost_after: float, notify: Callable[[str], None]):
        self._folder, self._lost_after, self._notify = folder, lost_after, notify

    def work(self, tuner: Any) -> None:
        """Runs trials as a worker, until the chief has no more or is done.

        Raises:
            TrainingError: The chief does not answer.
        """
        import grpc

        if self._is_taken():
            return
        patience = max(self._lost_after, 2 * heartbeat.SECONDS)
        try:
            with chief_answers_within(patience), self._alive(), contextlib.suppress(_Over):
                tuner.search(verbose=0)
        except grpc.RpcError as error:
            if not self._is_over():
                raise TrainingError(f"the chief does not answer: {error.code().name}. {_AGAIN}") from error

    def _is_over(self) -> bool:
        """Whether all trials are done: the chief has written so, or has committed the folder with its result."""
        return self._is_taken() or (self._folder / _DONE).exists()

    def _is_taken(self) -> bool:
        """Whether the chief has committed the folder with its result; a worker may start at that moment."""
        made_in = self._folder.parent
        return made_in.name.endswith(PARTIAL) and not (made_in / KEY).exists()

    def find_chief(self) -> None:
        """Waits on a worker until the chief listens; keras-tuner would wait an hour for one that is done already.

        Raises:
            TrainingError: No chief listens for `lost_after` seconds.
        """
        if role_here() != "worker":
            return
        address = os.environ["KERASTUNER_ORACLE_IP"], int(os.environ["KERASTUNER_ORACLE_PORT"])
        end = time.monotonic() + self._lost_after
        while True:
            if self._is_over():
                raise _Over
            try:
                with socket.create_connection(address, timeout=5):
                    return
            except OSError as error:
                if time.monotonic() > end:
                    raise TrainingError(f"there is no chief at {':'.join(map(str, address))}. {_AGAIN}") from error
            time.sleep(POLL_SECONDS)

    def _alive(self) -> contextlib.AbstractContextManager[None]:
        """Writes heartbeats of this worker to a file while a block runs, for the chief to see."""
        file = self._folder / _BEAT / os.environ["KERASTUNER_TUNER_ID"]
        file.parent.mkdir(parents=True, exist_ok=True)
        return beating(lambda count: file.write_text(f"{os.getpid()} {count}"))

    def serve(self, tuner: Any) -> None:
        """Hands out trials as the chief until all are done, whatever workers are lost on the way.

        Raises:
            InputError: The chief cannot listen on its address.
        """
        from concurrent import futures

        import grpc

        oracle = tuner.oracle
        oracle.verbose = 0
        tuner.save()
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))

        def ongoing(trial_id: str) -> bool:  # not one that was taken for lost, and is done already
            return any(trial.trial_id == trial_id for trial in oracle.ongoing_trials.values())

        servicer = serve_oracle(server, oracle, ongoing)
        address = f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"
        try:
            server.add_insecure_port(address)
        except RuntimeError as error:
            raise InputError(f"the chief cannot listen on {address}: {str(error).splitlines()[0]}") from error
        (self._folder / _DONE).unlink(missing_ok=True)
        server.start()
        listener, with_workers = Listener(self._lost_after), 0
        try:
            while oracle.ongoing_trials or oracle.tuner_ids or not servicer.stop_triggered:
                time.sleep(POLL_SECONDS)
                workers = {*oracle.tuner_ids, *oracle.ongoing_trials}
                with_workers += bool(workers)
                if with_workers and listener.is_lost(None, with_workers):
                    break  # all workers are lost for good: what is left the chief does itself
                for worker in workers:
                    file = self._folder / _BEAT / worker
                    if listener.is_lost(worker, file.read_text() if file.exists() else ""):
                        self._give_up(oracle, worker)
            (self._folder / _DONE).write_text("")
        finally:
            server.stop(grace=5).wait()

    def _give_up(self, oracle: Any, worker: str) -> None:
        if trial := oracle.ongoing_trials.get(worker):
            trial.status, trial.message = "INVALID", f"the worker {worker} is gone"
            self._notify(f"trial {trial.trial_id}: the worker {worker} is gone; another takes it")
            oracle.end_trial(trial)
        oracle.tuner_ids.discard(worker)
