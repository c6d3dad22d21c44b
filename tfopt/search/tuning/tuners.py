"""keras-tuner's tuners over any function that returns a score, with a count of trials that end their process.

keras-tuner's own `run_trial` fits a Keras model; a trial here is whatever the caller does.

References:
    O'Malley et al., KerasTuner, https://github.com/keras-team/keras-tuner.
    Li et al., Hyperband, arXiv:1603.06560.
"""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfopt.errors import (
    MACHINE_FAULTS,
    InputError,
    StorageError,
    TfoptError,
    is_machine_fault,
    memory_fault,
    storage_fault,
)
from tfopt.keras_private import oracle_file, run_one_trial, save_trials_with, tuner_file
from tfopt.recipe.details.search import TuningTrial
from tfopt.search.trial_store import ATTEMPTS
from tfopt.search.tuning.chief import POLL_SECONDS, Rendezvous
from tfopt.search.tuning.roles import PROJECT, role_here
from tfopt.search.tuning.state import is_whole, moved_aside, put, states, tries
from tfopt.user_code import describe

NAMES = ("random", "hyperband", "bayesian", "grid")
OBJECTIVE = "score"
_BEGUN = "begun"


@dataclass(frozen=True)
class Trial:
    """One trial of a tuner.

    Args:
        number: keras-tuner's id of the trial, in digits.
        values: Value of each hyperparameter by name.
        epochs: Epochs that Hyperband gives the trial; None with any other tuner.
        folder: Folder for the trial's files; they are kept.
        hyperparameters: The trial's `keras_tuner.HyperParameters`, for a `build(hp)`.
    """

    number: str
    values: Mapping[str, Any]
    epochs: int | None
    folder: Path
    hyperparameters: Any


class Tuning:
    """A hyperparameter search with one of keras-tuner's tuners.

    Args:
        tuner: One of `NAMES`, or a keras-tuner `Tuner` class, or a function that returns a tuner.
        declare: Declares the space in keras-tuner's `HyperParameters`; may return the model of a `build(hp)`.
        run: Runs a trial and returns its score.
        higher_is_better: Whether a higher score is better.
        folder: Folder for the trials and the tuner's state, from which an interrupted search goes on.
        trials: Number of trials; Hyperband decides itself.
        epochs: The most epochs of a trial, for Hyperband.
        seed: Seed of the tuner.
        lost_after: Seconds without a heartbeat after which a worker counts as lost.
        arguments: Further arguments of the tuner's constructor, by name.
        notify: Called with one line on each finished trial.
        note: Called with one line where the state of an interrupted search is damaged, and it starts anew.
    """

    def __init__(
        self,
        tuner: Any,
        declare: Callable[[Any], Any],
        run: Callable[[Trial], float],
        higher_is_better: bool,
        folder: Path,
        trials: int,
        epochs: int,
        seed: int,
        lost_after: float = 120.0,
        arguments: Mapping[str, Any] | None = None,
        notify: Callable[[str], None] = lambda line: None,
        note: Callable[[str], None] = lambda line: None,
    ):
        self._run, self._notify = run, notify
        self._rendezvous = Rendezvous(folder / PROJECT, lost_after, notify)
        import keras_tuner

        offered = {
            "hypermodel": declare,
            "objective": keras_tuner.Objective(OBJECTIVE, "max" if higher_is_better else "min"),
            "max_trials": trials,
            "max_epochs": epochs,
            "seed": seed + 1,  # 0 would be a random one
            "max_retries_per_trial": 1,  # of those whose worker was lost
            "max_consecutive_failed_trials": 10**9,
            "directory": str(folder),
            "project_name": PROJECT,
        }
        if role_here() == "worker":
            self._tuner = self._made(tuner, offered, arguments or {})
        else:
            self._tuner = self._resumed(tuner, offered, arguments or {}, folder / PROJECT, note)
            oracle = self._tuner.oracle
            oracle.save = lambda: put(oracle.get_state(), oracle_file(oracle))
            save_trials_with(oracle, put)

    def _resumed(
        self,
        tuner: Any,
        offered: Mapping[str, Any],
        arguments: Mapping[str, Any],
        folder: Path,
        note: Callable[[str], None],
    ) -> Any:
        """The tuner with the state of an interrupted search, or at its beginning where that is damaged.

        A state is damaged where a digest is wrong, or where the tuner cannot be made with it and can without.
        """
        left = states(folder)
        if all(map(is_whole, left)):
            try:
                return self._made(tuner, offered, arguments)
            except TfoptError:
                if not left:
                    raise
        with moved_aside(folder) as aside:
            made = self._made(tuner, offered, arguments)
        note(f"the state of the interrupted search is damaged: the search starts anew. It is kept in {aside.name}.")
        return made

    def _made(self, tuner: Any, offered: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        """The tuner, made with those of the offered arguments that it takes, and with the user's own."""
        import keras_tuner

        made = known().get(tuner, tuner) if isinstance(tuner, str) else tuner
        accepted = _accepted(made)
        passed = {name: value for name, value in offered.items() if accepted is None or name in accepted}
        passed |= arguments
        try:
            if isinstance(made, type):
                return self._subclass(made)(**passed)
            found = made(**passed)
        except (TfoptError, *MACHINE_FAULTS):
            raise
        except Exception as error:
            if why := storage_fault(error):  # in words of TensorFlow, which writes for keras-tuner
                raise StorageError(f"the state of the tuner cannot be written: {why}.") from error
            raise InputError(f"the tuner cannot be made: {describe(error)}", ("tuner",)) from error
        if not isinstance(found, keras_tuner.engine.base_tuner.BaseTuner):
            raise InputError(f"the tuner has to be one of keras-tuner's. Received: {type(found).__name__}.", ("tuner",))
        found.__class__ = self._subclass(type(found))
        return found

    def _subclass(self, base: type) -> type:
        """The tuner's class with `run` as its trial, and a chief that notices lost workers."""
        tuning = self

        class Tuned(base):
            def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
                return {OBJECTIVE: tuning._trial(trial, Path(self.get_trial_dir(trial.trial_id)))}

            def save(self) -> None:
                if role_here() != "worker":
                    self.oracle.save()
                put(self.get_state(), tuner_file(self))

            def pre_create_trial(self) -> None:
                tuning._rendezvous.find_chief()
                super().pre_create_trial()

            def on_trial_end(self, trial: Any) -> None:
                super().on_trial_end(trial)
                if trial.status != "COMPLETED":
                    tuning._notify(f"trial {trial.trial_id}: {_last(trial.message)}")

        Tuned.__name__ = Tuned.__qualname__ = base.__name__
        return Tuned

    def _trial(self, trial: Any, folder: Path) -> float:
        from keras_tuner.errors import FailedTrialError, FatalError

        begun = folder / _BEGUN
        count = tries(begun)
        if count >= ATTEMPTS:
            raise FailedTrialError(f"its process ended in it {count} times")
        begun.write_text(str(count + 1))
        own = dict(trial.hyperparameters.values)
        epochs = own.get("tuner/epochs")
        values = {name: value for name, value in own.items() if not name.startswith("tuner/")}
        try:
            score = float(self._run(Trial(trial.trial_id, values, epochs, folder, trial.hyperparameters)))
        except Exception as error:
            if memory_fault(error) is None:  # else the trial may be the reason, and its attempts are counted
                begun.unlink(missing_ok=True)
            if is_machine_fault(error):  # the trial is begun again with the search
                raise FatalError(str(error)) from error
            if not isinstance(error, TfoptError):
                traceback.print_exc()
            raise FailedTrialError(str(error) if isinstance(error, TfoptError) else describe(error)) from error
        except BaseException:  # interrupted, which is not the trial's fault
            begun.unlink()
            raise
        begun.unlink()
        self._notify(f"trial {trial.trial_id}: {score:.4f} with {_shown(values)}")
        return score

    def search(self) -> list[TuningTrial]:
        """Searches: on its own, or as the chief or one of the workers that keras-tuner's environment variables name.

        Returns:
            All trials by number; an empty list on a worker.

        Raises:
            StorageError, OSError, MemoryError: The machine cannot go on; the search goes on when it is run again.
        """
        from keras_tuner.errors import FatalError

        role = role_here()
        if role == "worker":
            self._rendezvous.work(self._tuner)
            return []
        try:
            if role == "chief":
                self._rendezvous.serve(self._tuner)
                self._left_behind()
            else:
                self._tuner.search(verbose=0)
        except FatalError as error:
            raise (error.__cause__ or error) from None
        return self.outcomes()

    def _left_behind(self) -> None:
        """Runs the trials of lost workers that no other worker was there to take."""
        tuner = self._tuner
        while (trial := tuner.oracle.create_trial("tuner0")).status != "STOPPED":
            if trial.status == "IDLE":
                time.sleep(POLL_SECONDS)
                continue
            tuner.on_trial_begin(trial)
            run_one_trial(tuner, trial)
            tuner.on_trial_end(trial)

    def outcomes(self) -> list[TuningTrial]:
        """All trials, by number."""
        found = []
        for number, trial in sorted(self._tuner.oracle.trials.items()):
            own = dict(trial.hyperparameters.values)
            values = {name: value for name, value in own.items() if not name.startswith("tuner/")}
            message = _last(trial.message) if trial.message else None
            found.append(TuningTrial(number, values, trial.score, trial.status, message, own.get("tuner/epochs")))
        return found

    def trial(self, outcome: TuningTrial) -> Trial:
        """The trial of an outcome, as it was run."""
        own = self._tuner.oracle.trials[outcome.number]
        folder = Path(self._tuner.get_trial_dir(outcome.number))
        return Trial(outcome.number, outcome.values, outcome.epochs, folder, own.hyperparameters)


def known() -> dict[str, Any]:
    """keras-tuner's own tuners by the names of `NAMES`."""
    import keras_tuner

    own = (
        keras_tuner.RandomSearch,
        keras_tuner.Hyperband,
        keras_tuner.BayesianOptimization,
        keras_tuner.GridSearch,
    )
    return dict(zip(NAMES, own, strict=True))


def _accepted(made: Any) -> set[str] | None:
    """Names of the arguments that a constructor takes, or passes on to its bases; None for any."""
    names: set[str] = set()
    for cls in made.__mro__ if isinstance(made, type) else (made,):
        function = vars(cls).get("__init__") if isinstance(cls, type) else cls
        if function is None:
            continue
        parameters = inspect.signature(function).parameters.values()
        names |= {p.name for p in parameters}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names
    return names if isinstance(made, type) else None


def _last(message: str | None) -> str:
    """The reason in keras-tuner's message, which is a whole traceback."""
    lines = [line for line in (message or "").strip().splitlines() if line.strip()]
    return lines[-1].split("FailedTrialError: ")[-1] if lines else "it failed without a reason"


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )
