"""keras-tuner's tuners with a trial of our own: what it comes to is a score, and what kills it is written down.

keras-tuner's own `run_trial` fits a Keras model; a trial here is whatever the caller does.

References:
    O'Malley et al., KerasTuner, https://github.com/keras-team/keras-tuner.
    Li et al., Hyperband, arXiv:1603.06560.
"""

from __future__ import annotations

import inspect
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfopt.errors import MACHINE_FAULTS, InputError, TfoptError
from tfopt.recipe.details.search import TuningTrial
from tfopt.search.tuning.chief import POLL_SECONDS, Rendezvous
from tfopt.search.tuning.roles import role_here
from tfopt.user_code import describe

NAMES = ("random", "hyperband", "bayesian", "grid")
OBJECTIVE = "score"
PROJECT = "tuner"
# A trial that ended its process so often is not begun again.
ATTEMPTS = 2
_BEGUN = "begun"


@dataclass(frozen=True)
class Trial:
    """One trial of a tuner.

    Args:
        number: Its name, digits.
        values: The value of each hyperparameter.
        epochs: Hyperband's epochs; None with any other tuner.
        folder: Where it may write; the files stay.
        hyperparameters: keras-tuner's own object, for a `build(hp)`.
    """

    number: str
    values: Mapping[str, Any]
    epochs: int | None
    folder: Path
    hyperparameters: Any


class Tuning:
    """A search for hyperparameters.

    Args:
        tuner: One of `NAMES`, or a keras-tuner `Tuner` class, or a function that returns a tuner.
        declare: Declares the space in keras-tuner's `HyperParameters`; the model of a `build(hp)` may come along.
        run: Does a trial and gives its score.
        higher_is_better: The sense of the score.
        folder: Where trials and the tuner's state go; a search that was interrupted goes on from there.
        trials: How many; Hyperband decides itself.
        epochs: The most epochs of a trial, for Hyperband.
        seed: Of everything random.
        lost_after: Seconds without a sign of life after which a worker counts as lost.
        arguments: More for the tuner's constructor.
        notify: Is called with a line for what each trial came to.
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
    ):
        self._run, self._notify = run, notify
        self._meeting = Rendezvous(folder / PROJECT, lost_after, notify)
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
        self._tuner = self._made(tuner, offered, arguments or {})
        if role_here() != "worker":
            oracle = self._tuner.oracle
            oracle.save = lambda: _put(oracle.get_state(), oracle._get_oracle_fname())
            oracle._save_trial = lambda trial: _put(
                trial.get_state(), os.path.join(oracle._get_trial_dir(trial.trial_id), "trial.json")
            )

    def _made(self, tuner: Any, offered: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        """The tuner, given what it takes of what there is, and the arguments that the user wrote."""
        import keras_tuner

        made = known().get(tuner, tuner) if isinstance(tuner, str) else tuner
        accepted = _accepted(made)
        passed = {name: value for name, value in offered.items() if accepted is None or name in accepted}
        passed |= arguments
        try:
            if isinstance(made, type):
                return self._subclass(made)(**passed)
            found = made(**passed)
        except TfoptError:
            raise
        except Exception as error:
            raise InputError(f"the tuner cannot be made: {describe(error)}", ("tuner",)) from error
        if not isinstance(found, keras_tuner.engine.base_tuner.BaseTuner):
            raise InputError(f"the tuner has to be one of keras-tuner's. Received: {type(found).__name__}.", ("tuner",))
        found.__class__ = self._subclass(type(found))
        return found

    def _subclass(self, base: type) -> type:
        """The tuner with a trial of our own, and a chief that hears when a worker is gone."""
        tuning = self

        class Tuned(base):
            def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
                return {OBJECTIVE: tuning._trial(trial, Path(self.get_trial_dir(trial.trial_id)))}

            def save(self) -> None:
                if role_here() != "worker":
                    self.oracle.save()
                _put(self.get_state(), self._get_tuner_fname())

            def pre_create_trial(self) -> None:
                tuning._meeting.find_chief()
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
        count = int(begun.read_text()) if begun.exists() else 0
        if count >= ATTEMPTS:
            raise FailedTrialError(f"it ended its process {count} times")
        begun.write_text(str(count + 1))
        own = dict(trial.hyperparameters.values)
        epochs = own.get("tuner/epochs")
        values = {name: value for name, value in own.items() if not name.startswith("tuner/")}
        try:
            score = float(self._run(Trial(trial.trial_id, values, epochs, folder, trial.hyperparameters)))
        except MACHINE_FAULTS as error:  # the trial is begun again with the search
            begun.unlink(missing_ok=True)
            raise FatalError(str(error)) from error
        except Exception as error:
            begun.unlink()
            if not isinstance(error, TfoptError):
                traceback.print_exc()
            raise FailedTrialError(str(error) if isinstance(error, TfoptError) else describe(error)) from error
        except BaseException:  # interrupted, which is not its fault
            begun.unlink()
            raise
        begun.unlink()
        self._notify(f"trial {trial.trial_id}: {score:.4f} with {_shown(values)}")
        return score

    def search(self) -> list[TuningTrial]:
        """Searches: on its own, or as the chief or one of the workers that keras-tuner's environment variables name.

        Returns:
            All trials, by number; on a worker nothing.

        Raises:
            StorageError, OSError, MemoryError: The machine cannot go on; the search goes on when it is run again.
        """
        from keras_tuner.errors import FatalError

        role = role_here()
        if role == "worker":
            self._meeting.work(self._tuner)
            return []
        try:
            if role == "chief":
                self._meeting.serve(self._tuner)
                self._left_behind()
            else:
                self._tuner.search(verbose=0)
        except FatalError as error:
            raise (error.__cause__ or error) from None
        return self.outcomes()

    def _left_behind(self) -> None:
        """Runs what lost workers left behind when no other was there any more to take it."""
        tuner = self._tuner
        while (trial := tuner.oracle.create_trial("tuner0")).status != "STOPPED":
            if trial.status == "IDLE":
                time.sleep(POLL_SECONDS)
                continue
            tuner.on_trial_begin(trial)
            tuner._try_run_and_update_trial(trial)
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
        """A trial as it was run."""
        own = self._tuner.oracle.trials[outcome.number]
        folder = Path(self._tuner.get_trial_dir(outcome.number))
        return Trial(outcome.number, outcome.values, outcome.epochs, folder, own.hyperparameters)


def known() -> dict[str, Any]:
    """keras-tuner's own tuners by our words."""
    import keras_tuner

    own = (
        keras_tuner.RandomSearch,
        keras_tuner.Hyperband,
        keras_tuner.BayesianOptimization,
        keras_tuner.GridSearch,
    )
    return dict(zip(NAMES, own, strict=True))


def _accepted(made: Any) -> set[str] | None:
    """The arguments that a constructor takes; None for any. Those that it passes on count."""
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


def _put(state: Any, file: str) -> None:
    """Writes a state whole: a file that is cut off by a kill would end the search for good."""
    half = Path(f"{file}.{os.getpid()}")
    half.write_text(json.dumps(state))
    os.replace(half, file)


def _last(message: str | None) -> str:
    """The reason in keras-tuner's message, which is a whole traceback."""
    lines = [line for line in (message or "").strip().splitlines() if line.strip()]
    return lines[-1].split("FailedTrialError: ")[-1] if lines else "it failed without a reason"


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )
