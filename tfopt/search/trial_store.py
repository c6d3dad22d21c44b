"""The trials of a search in a storage that many processes share: who does what, what came of it, who is lost.

There is no chief. Each worker takes the next piece of work from the storage, and tells it every few seconds that it is
alive. A trial whose worker no longer does is lost: whoever sees it first gives it back, once more.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tfopt.errors import InputError, StorageError
from tfopt.keras_private import trial_of
from tfopt.search.heartbeat import Listener, beating

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

T = TypeVar("T")
# A process that was killed while it wrote into a journal leaves its lock behind; no other holds it as long as this.
STALE_SECONDS = 10
# Another process may be making the tables of a new database.
_TRIES = 8
# A trial that took its worker with it so often is not tried again.
ATTEMPTS = 2


@dataclass(frozen=True)
class Job:
    """A candidate to make.

    Args:
        parameters: Of the candidate.
        rung: How far it has come: 0 is the short training.
        of: The number of the trial that it goes on from, on rungs above 0.
        attempt: How often it was begun before.
        again: The number of the lost trial that it repeats.
        dropped: How many candidates over budget were thrown away before it.
    """

    parameters: Mapping[str, Any]
    rung: int = 0
    of: int | None = None
    attempt: int = 0
    again: int | None = None
    dropped: int = 0

    def attributes(self) -> dict[str, Any]:
        """What the storage keeps of it beside the parameters."""
        return {name: value for name, value in vars(self).items() if name != "parameters"}


@dataclass(frozen=True)
class Trial:
    """A trial as the storage has it.

    Args:
        number: Its number.
        state: `waiting`, `running`, `done`, `failed` (the candidate cannot be made), `lost` (its worker is gone) or
            `dropped` (someone else does the same).
        job: What is to be made.
        figures: What was measured of it.
        error: Why it failed.
        worker: Who does it, or did.
        beat: The worker's last sign of life, a number that rises.
    """

    number: int
    state: str
    job: Job
    figures: Mapping[str, float]
    error: str | None
    worker: str | None
    beat: int


class TrialStore:
    """The trials of one search.

    Args:
        study: Optuna's study.
        distributions: The parameters that are varied.
        lost_after: Seconds without a sign of life after which a worker counts as lost.
    """

    def __init__(self, study: optuna.Study, distributions: Mapping[str, BaseDistribution], lost_after: float):
        self._study, self._distributions, self._listener = study, dict(distributions), Listener(lost_after)
        self.worker = _this_process()

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return [found for one in self._study.get_trials(deepcopy=False) if (found := _read(one)) is not None]

    def add(self, job: Job) -> None:
        """Puts a piece of work up for whoever comes next."""
        self._study.enqueue_trial(dict(job.parameters), user_attrs=job.attributes())

    def take(self) -> Trial | None:
        """Takes the piece of work that has waited longest; None where another was faster."""
        import optuna

        taken = self._study.ask(self._distributions)
        attributes = taken.user_attrs
        if "rung" not in attributes:  # Optuna made one up, as nothing waited any more
            self._study.tell(taken, state=optuna.trial.TrialState.FAIL)
            return None
        taken.set_user_attr("worker", self.worker)
        return next(trial for trial in self.trials() if trial.number == taken.number)

    def alive(self, number: int) -> contextlib.AbstractContextManager[None]:
        """Gives signs of life for a trial while a block runs."""
        return beating(lambda count: self._set(number, "beat", count))

    def _set(self, number: int, name: str, value: Any) -> None:
        trial_of(self._study, number).set_user_attr(name, value)

    def done(self, number: int, values: Sequence[float], figures: Mapping[str, float]) -> bool:
        """Writes down what a trial came to; whether it still counts: one taken for lost does not."""
        if not all(math.isfinite(value) for value in values):
            return self.failed(number, "its metric, size or time is not a number")
        return self._tell(number, values, {"figures": dict(figures)})

    def failed(self, number: int, error: str) -> bool:
        """Writes down that a candidate cannot be made."""
        return self._tell(number, None, {"error": error})

    def give_back(self, trial: Trial) -> None:
        """Gives a trial back that was interrupted, which is none of its candidate's fault."""
        self._tell(trial.number, None, {"attempt": trial.job.attempt - 1})

    def drop(self, number: int) -> bool:
        """Gives up a trial that someone else does as well."""
        return self._tell(number, None, {"dropped": True})

    def _tell(self, number: int, values: Sequence[float] | None, attributes: Mapping[str, Any]) -> bool:
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
            except Exception:  # a database that is away for a moment must not cost a training
                if time.monotonic() > end:
                    raise
                time.sleep(1.0)

    def take_back(self) -> None:
        """Gives back what an earlier search of this same process left running, in a notebook for example."""
        for trial in self.trials():
            if trial.state == "running" and trial.worker == self.worker:
                self.give_back(trial)

    @property
    def forgiven(self) -> set[int]:
        """The numbers of the failed trials that do not count any more."""
        return set(self._study.user_attrs.get("forgiven", ()))

    def forgive(self) -> None:
        """Has failures not count where nothing came of the search so far: what was wrong may have been the machine."""
        trials = self.trials()
        if {trial.state for trial in trials} <= {"failed", "lost", "dropped"}:
            self._study.set_user_attr("forgiven", [t.number for t in trials if t.state == "failed"])

    def sweep(self) -> list[Trial]:
        """The trials whose workers are lost, given up by this call: each is one worker's find alone."""
        found = []
        for trial in self.trials():
            if trial.state == "running" and self._is_lost(trial) and self._tell(trial.number, None, {}):
                found.append(trial)
        return found

    def _is_lost(self, trial: Trial) -> bool:
        if trial.worker == self.worker:
            return False
        if trial.worker and _is_here(trial.worker):
            return not _lives(trial.worker)
        return self._listener.is_lost(trial.number, trial.beat)


def open_trial_store(
    storage: str | None,
    journal: Path,
    name: str,
    directions: Sequence[Literal["minimize", "maximize"]],
    distributions: Mapping[str, BaseDistribution],
    lost_after: float,
) -> TrialStore:
    """The record of a search, begun or found.

    Args:
        storage: `postgresql://...`, `mysql://...`, `sqlite:///file.db`, or the path of a journal file on a disk that
            all workers share; `journal` if not given.
        journal: Where the journal goes otherwise.
        name: The name of the search in the storage.
        directions: `minimize` or `maximize` for each figure.
        distributions: The parameters that are varied.
        lost_after: Seconds without a sign of life after which a worker counts as lost.

    Raises:
        InputError: The storage cannot be opened.
    """
    import optuna

    where = storage or str(journal)

    def begun() -> TrialStore:
        study = optuna.create_study(
            study_name=name, storage=_storage(where), directions=list(directions), load_if_exists=True
        )
        return TrialStore(study, distributions, lost_after)

    return _opened(where, begun)


def check_storage(storage: str | None) -> None:
    """Looks before anything is computed whether a storage that is given can be opened; leaves no trace of a search.

    Raises:
        InputError: It cannot.
    """
    if storage is None:
        return
    with quiet():
        _opened(storage, lambda: _storage(storage) if "://" in storage else _check_folder(storage))


def _opened(where: str, make: Callable[[], T]) -> T:
    """What comes of a storage; tried again for a while, as another process may be making its tables."""
    tried = 0
    while True:
        tried += 1
        try:
            return make()
        except InputError:
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
def quiet() -> Iterator[None]:
    """Keeps Optuna's news of every study and trial off the screen for the length of the block."""
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
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    if "://" not in where:
        _check_folder(where)
        return optuna.storages.JournalStorage(JournalFileBackend(where, JournalFileSymlinkLock(where, STALE_SECONDS)))
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


def _this_process() -> str:
    return f"{_here()} {os.getpid()} {_born(os.getpid())}"


def _here() -> str:
    """What tells this machine, and on it the container, from others: hosts may have the same name."""
    boot, spaces = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts += [boot.read_text().strip(), os.readlink(spaces)]
    return "/".join(part.replace(" ", "") for part in parts)


def _is_here(worker: str) -> bool:
    return worker.split(" ")[0] == _here()


def _lives(worker: str) -> bool:
    """Whether a process of this machine is still the one that it was."""
    _, process, born = worker.split(" ")
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _born(int(process)) == born


def _born(process: int) -> str:
    """When a process was started, in ticks since the machine was; empty where the system does not say."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "dead" if fields[0] in "ZX" else fields[19]
