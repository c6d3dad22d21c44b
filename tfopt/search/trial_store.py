"""The trials of a search in a storage that many processes share: their jobs, their results, and lost workers.

There is no chief. Each worker takes the next job from the storage, and sends it heartbeats. A trial whose worker no
longer does is lost: the worker that sees it first gives it up, and it is repeated.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tfopt.durable_files import DAMAGED
from tfopt.errors import NO_PLACE, InputError, StorageError
from tfopt.keras_private import trial_of
from tfopt.search.heartbeat import Listener, beating
from tfopt.search.process_identity import is_alive, runs_here, this_process

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

T = TypeVar("T")
# A process that was killed while it wrote into a journal leaves its lock behind; no other holds it as long as this.
STALE_SECONDS = 10
# A process writes its name into a trial right after it took it; one that has not by then was ended in between.
NAMELESS_SECONDS = 10.0
# Another process may be making the tables of a new database.
_TRIES = 8
# Attempts at a trial whose workers are lost. What ended them is not known: once and twice it may have been a kill or a
# power cut, three times in the same trial it is taken for the trial.
ATTEMPTS = 3


@dataclass(frozen=True)
class Job:
    """What a trial does: train and convert one candidate.

    Args:
        parameters: Parameters of the candidate, by name.
        rung: Rung of successive halving; 0 is the short training.
        of: Number of the trial that was promoted to this rung; None on rung 0.
        attempt: Number of earlier attempts whose worker was lost.
        again: Number of the lost trial that this one repeats; None for a first attempt.
        dropped: Number of candidates rejected before it, as over the limits.
    """

    parameters: Mapping[str, Any]
    rung: int = 0
    of: int | None = None
    attempt: int = 0
    again: int | None = None
    dropped: int = 0

    def attributes(self) -> dict[str, Any]:
        """The fields that the storage keeps beside the parameters."""
        return {name: value for name, value in vars(self).items() if name != "parameters"}


@dataclass(frozen=True)
class Trial:
    """A trial as the storage has it.

    Args:
        number: The trial's number in the storage, from 0.
        state: `waiting`, `running`, `done`, `failed` (the candidate cannot be made), `lost` (its worker is gone) or
            `dropped` (another trial does the same).
        job: The job: a candidate and its rung.
        figures: Measured figures by name: score, drop, epochs, bytes, milliseconds and the target's under
            `device`; empty until it is done.
        error: Why it failed; None if it did not.
        worker: The process that runs or ran it: machine, process id and start time.
        beat: Count of the worker's last heartbeat.
    """

    number: int
    state: str
    job: Job
    figures: Mapping[str, Any]
    error: str | None
    worker: str | None
    beat: int


class TrialStore:
    """The trials of one search.

    Args:
        study: Optuna's study.
        distributions: The varied parameters by name.
        lost_after: Seconds without a heartbeat after which a worker counts as lost.
    """

    def __init__(self, study: optuna.Study, distributions: Mapping[str, BaseDistribution], lost_after: float):
        self._study, self._distributions, self._listener = study, dict(distributions), Listener(lost_after)
        self._nameless = Listener(min(lost_after, NAMELESS_SECONDS))
        self.worker = this_process()

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return [found for one in self._study.get_trials(deepcopy=False) if (found := _read(one)) is not None]

    def add(self, job: Job) -> None:
        """Enqueues a job for the next free worker."""
        self._study.enqueue_trial(dict(job.parameters), user_attrs=job.attributes())

    def take(self) -> Trial | None:
        """Takes the job that has waited longest; None where another worker was faster."""
        import optuna

        taken = self._study.ask(self._distributions)
        attributes = taken.user_attrs
        if "rung" not in attributes:  # Optuna sampled one itself, as nothing waited any more
            self._study.tell(taken, state=optuna.trial.TrialState.FAIL)
            return None
        try:
            taken.set_user_attr("worker", self.worker)
        except optuna.exceptions.UpdateFinishedTrialError:  # it took so long that another took it for lost
            return None
        return next(trial for trial in self.trials() if trial.number == taken.number)

    def alive(self, number: int) -> contextlib.AbstractContextManager[None]:
        """Sends heartbeats for a trial while a block runs."""
        return beating(lambda count: self._set(number, "beat", count))

    def _set(self, number: int, name: str, value: Any) -> None:
        trial_of(self._study, number).set_user_attr(name, value)

    def done(self, number: int, values: Sequence[float], figures: Mapping[str, Any]) -> bool:
        """Records the results of a trial.

        Args:
            number: The trial's number.
            values: One value for each direction of the study.
            figures: Measured figures by name.

        Returns:
            Whether the results count; those of a trial already taken for lost do not.
        """
        if not all(math.isfinite(value) for value in values):
            return self.failed(number, "its metric, size or time is not a number")
        return self._tell(number, values, {"figures": dict(figures)})

    def failed(self, number: int, error: str) -> bool:
        """Records why a candidate cannot be made; returns whether that counts, as `done` does."""
        return self._tell(number, None, {"error": error})

    def give_back(self, trial: Trial, counts: bool = False) -> None:
        """Gives up an interrupted trial, to be repeated, and says whether the attempt counts against its candidate."""
        self._tell(trial.number, None, {"attempt": trial.job.attempt - (not counts)})

    def drop(self, number: int) -> bool:
        """Gives up a trial that does the same as another; returns whether that counts, as `done` does."""
        return self._tell(number, None, {"dropped": True})

    def _tell(self, number: int, values: Sequence[float] | None, attributes: Mapping[str, Any]) -> bool:
        """Writes into the storage, and waits for one that is away as long as this worker does not count as lost."""
        import optuna

        state = optuna.trial.TrialState.FAIL if values is None else None
        end = time.monotonic() + self._listener.lost_after
        while True:
            try:
                for name, value in attributes.items():
                    self._set(number, name, value)
                self._study.tell(number, values, state=state)
                return True
            except (ValueError, optuna.exceptions.UpdateFinishedTrialError):  # another took it for lost
                return False
            except (StorageError, FileNotFoundError):  # a damaged journal, or one that was removed
                raise
            except Exception as error:  # a database that is away for a moment must not cost a training
                if getattr(error, "errno", None) in NO_PLACE or time.monotonic() > end:  # which no waiting mends
                    raise
                time.sleep(1.0)

    def take_back(self) -> None:
        """Gives up what an earlier search of this same process left running, in a notebook for example."""
        for trial in self.trials():
            if trial.state == "running" and trial.worker == self.worker:
                self.give_back(trial)

    @property
    def forgiven(self) -> set[int]:
        """Numbers of the failed trials that do not count any more."""
        return set(self._study.user_attrs.get("forgiven", ()))

    def forgive(self) -> None:
        """Discounts the failures of a search that has no result so far: their cause may have been the machine."""
        trials = self.trials()
        if {trial.state for trial in trials} <= {"failed", "lost", "dropped"}:
            self._study.set_user_attr("forgiven", [t.number for t in trials if t.state == "failed"])

    def sweep(self) -> list[Trial]:
        """Gives up the trials whose workers are lost and returns them; each is returned to one worker alone."""
        found = []
        for trial in self.trials():
            if trial.state == "running" and self._is_lost(trial) and self._tell(trial.number, None, {}):
                found.append(trial)
        return found

    def _is_lost(self, trial: Trial) -> bool:
        if trial.worker == self.worker:
            return False
        if trial.worker is None:
            return self._nameless.is_lost(trial.number, trial.beat)
        if runs_here(trial.worker):
            return not is_alive(trial.worker)
        return self._listener.is_lost(trial.number, trial.beat)


def open_trial_store(
    storage: str | None,
    journal: Path,
    name: str,
    directions: Sequence[Literal["minimize", "maximize"]],
    distributions: Mapping[str, BaseDistribution],
    lost_after: float,
    notify: Callable[[str], None] = lambda line: None,
) -> TrialStore:
    """The trials of a search in a storage, which is made if it is not there.

    Of a journal of the run's own that was damaged the lines before the damage are kept, and the search goes on from
    them; one that was named is not touched.

    Args:
        storage: `postgresql://...`, `mysql://...`, `sqlite:///file.db`, or the path of a journal file on a disk that
            all workers share; `journal` if not given.
        journal: Path of the journal file otherwise.
        name: The name of the search in the storage.
        directions: `minimize` or `maximize` for each value of a trial.
        distributions: The varied parameters by name.
        lost_after: Seconds without a heartbeat after which a worker counts as lost.
        notify: Called with one line on a damaged journal.

    Raises:
        InputError: The storage cannot be opened.
        StorageError: The journal that was named is damaged.
    """
    import optuna

    from tfopt.search.journal import DamagedJournalError, Journal

    where = storage or str(journal)

    def begun() -> TrialStore:
        study = optuna.create_study(
            study_name=name, storage=_storage(where), directions=list(directions), load_if_exists=True
        )
        return TrialStore(study, distributions, lost_after)

    try:
        return _opened(where, begun)
    except DamagedJournalError:
        if storage is not None:
            raise
        if (kept := _opened(where, Journal(journal, STALE_SECONDS).mend)) is not None:
            notify(
                f"the journal {journal.name} is damaged: the search goes on from its first {kept} lines. The damaged "
                f"one is {journal.name}{DAMAGED}."
            )
        return _opened(where, begun)


def check_storage(storage: str | None) -> None:
    """Checks before anything is computed that a storage can be opened; leaves no trace of a search.

    Raises:
        InputError: The storage cannot be opened.
    """
    if storage is None:
        return
    with silenced_optuna():
        _opened(storage, lambda: _storage(storage) if "://" in storage else _check_folder(storage))


def _opened(where: str, make: Callable[[], T]) -> T:
    """The result of `make`, tried again for a while, as another process may be making the storage's tables."""
    from tfopt.search.journal import DamagedJournalError

    tried = 0
    while True:
        tried += 1
        try:
            return make()
        except (InputError, DamagedJournalError):
            raise
        except OSError as error:
            raise StorageError(f"{where} cannot be written: {error.strerror or error}.") from error
        except ImportError as error:
            kind = where.partition("://")[0]
            known = "pip install 'tfopt[postgresql]'" if kind.startswith("postgres") else f"SQLAlchemy's for {kind}"
            raise _refused(where, f"its driver is not there: {known}") from error
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            if "load plugin" in reason:
                raise _refused(where, "there is no such kind of database") from error
            if tried == _TRIES or isinstance(error, ValueError):
                raise _refused(where, reason) from error
            time.sleep(0.1 * 2**tried)


def _refused(where: str, reason: str) -> InputError:
    return InputError(
        f"the storage {_shown(where)} cannot be opened: {reason}. Give a database that can be reached, such as "
        "postgresql://user:password@host/name, or a journal file on a disk that all workers share.",
        ("runtime", "storage"),
    )


def _check_folder(journal: str) -> None:
    if not Path(journal).parent.is_dir():
        raise InputError(
            f"the folder {Path(journal).parent} of the journal does not exist. Make it, on a disk that all share.",
            ("runtime", "storage"),
        )


@contextlib.contextmanager
def silenced_optuna() -> Iterator[None]:
    """Silences Optuna's log of studies and trials for the length of the block."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _storage(where: str) -> Any:
    """Optuna's storage: a journal file, or a database by its URL."""
    import optuna

    from tfopt.search.journal import Journal

    if "://" not in where:
        _check_folder(where)
        return optuna.storages.JournalStorage(Journal(Path(where), STALE_SECONDS))
    scheme, _, rest = where.partition("://")
    if scheme in ("postgresql", "postgres"):  # the driver that tfopt[postgresql] brings
        where = f"postgresql+psycopg://{rest}"
    # A database may go away and come back during a search of days.
    arguments = {} if scheme == "sqlite" else {"pool_pre_ping": True}
    return optuna.storages.RDBStorage(where, engine_kwargs=arguments)


def _shown(where: str) -> str:
    """A storage's address without its password."""
    scheme, separator, rest = where.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{user.split(':')[0]}{at}{host}" if at else where


def _read(one: Any) -> Trial | None:
    attributes = one.user_attrs
    if "rung" not in attributes:
        return None
    fixed = one.system_attrs.get("fixed_params", {})
    job = Job(fixed or one.params, *(attributes[name] for name in ("rung", "of", "attempt", "again", "dropped")))
    states = {"WAITING": "waiting", "RUNNING": "running", "COMPLETE": "done"}
    state = states.get(one.state.name)
    if state is None:
        state = "dropped" if attributes.get("dropped") else "failed" if attributes.get("error") else "lost"
    figures, error = attributes.get("figures", {}), attributes.get("error")
    return Trial(one.number, state, job, figures, error, attributes.get("worker"), int(attributes.get("beat", 0)))
