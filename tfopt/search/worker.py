"""The loop that every worker of a search runs: short trainings first, the promising candidates longer.

References:
    Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization, arXiv:1502.07943
    (successive halving).
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tfopt.errors import ModelError, TfoptError, is_machine_fault, memory_fault
from tfopt.search.cost_model import Cost
from tfopt.search.pareto import Objective, Point, front, ranked
from tfopt.search.sampler import Proposal, Sampler
from tfopt.search.space import Candidate, Space
from tfopt.search.trial_store import ATTEMPTS, Job, Trial, TrialStore, silenced_optuna
from tfopt.user_code import describe

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Rungs:
    """The rungs of successive halving: how many candidates are trained, and how long.

    Args:
        trials: Number of candidates on rung 0, the short training.
        epochs: Epochs of each rung, ascending.
        promoted: Fraction of a rung's candidates that go on to the next, 0-1.
    """

    trials: int
    epochs: tuple[int, ...]
    promoted: float

    def size(self, before: int) -> int:
        """Number of candidates on a rung, of `before` on the rung below."""
        return max(math.ceil(before * self.promoted), 1)

    @property
    def trainings(self) -> int:
        """Number of trainings on all rungs."""
        count = total = self.trials
        for _ in self.epochs[1:]:
            count = self.size(count)
            total += count
        return total


class Worker:
    """One worker process of a search.

    Args:
        store: The trials in their storage.
        space: The search space.
        sampler: The sampler of new candidates.
        objective: The goal and the limits.
        rungs: How many candidates are trained, and how long.
        make: Trains and converts a candidate: `(candidate, epochs, trial number)` to its score, how much worse than the
            original model's that is, and its cost.
        notify: Called with one line on each finished trial.
        part: Called with the fraction of the search that is done, 0-1.
        trained: Epochs that a candidate really trains when given so many: each of its stages takes one at least.
    """

    def __init__(
        self,
        store: TrialStore,
        space: Space,
        sampler: Sampler,
        objective: Objective,
        rungs: Rungs,
        make: Callable[[Candidate, int, int], tuple[float, float, Cost]],
        notify: Callable[[str], None] = lambda line: None,
        part: Callable[[float], None] = lambda done: None,
        trained: Callable[[Candidate, int], int] = lambda candidate, epochs: epochs,
    ):
        self._store, self._space, self._sampler, self._objective = store, space, sampler, objective
        self._rungs, self._make, self._notify, self._part = rungs, make, notify, part
        self._trained = trained
        self._exhausted: int | None = None

    def run(self) -> list[Point]:
        """Works until the search is over, and returns the files of all workers.

        Raises:
            ModelError: No candidate fits the limits.
            TfoptError: Not one candidate could be made.
        """
        with silenced_optuna():
            self._store.take_back()
            self._store.forgive()
            return self._run()

    def _run(self) -> list[Point]:
        while True:
            forgiven = self._store.forgiven
            for lost in self._store.sweep():
                self._notify(f"candidate {lost.number}: its worker is gone")
            trials = [trial for trial in self._store.trials() if trial.number not in forgiven]
            self._part(sum(t.state in ("done", "failed") for t in trials) / self._rungs.trainings)
            if not any(trial.state == "waiting" for trial in trials):
                jobs = self._jobs(trials)
                if not jobs and not any(trial.state == "running" for trial in trials):
                    break
                if not jobs:
                    time.sleep(POLL_SECONDS)
                    continue
                self._store.add(jobs[0])
            taken = self._store.take()
            if taken is not None:
                self._do(taken)
        points = self.points(trials)
        if not points:
            errors = [trial.error for trial in trials if trial.error]
            raise TfoptError(f"no candidate could be made: {errors[-1] if errors else 'their workers were all lost'}")
        return points

    def points(self, trials: Sequence[Trial], rung: int | None = None) -> list[Point]:
        """The files of finished trials, of one rung or of all.

        Files of the same layers and precisions run the same operations, whatever their weights: each gets the least
        latency that was measured of them, with its spread.
        """
        found = [self._point(t) for t in trials if t.state == "done"]
        least: dict[str, tuple[float, float]] = {}
        for point in found:
            kind, timed = _kind(point.candidate), (point.cost.milliseconds, point.cost.spread)
            least[kind] = min(least.get(kind, timed), timed)
        taken = [(point, *least[_kind(point.candidate)]) for point in found]
        alike = [replace(p, cost=replace(p.cost, milliseconds=time, spread=spread)) for p, time, spread in taken]
        numbers = {trial.number for trial in trials if rung in (None, trial.job.rung)}
        return [point for point in alike if point.number in numbers]

    def _point(self, trial: Trial) -> Point:
        f = trial.figures
        cost = Cost(f["raw_bytes"], f["gzip_bytes"], f["milliseconds"], f.get("spread", 0.0), f.get("device", {}))
        return Point(trial.number, self._candidate(trial), int(f["epochs"]), f["score"], f["drop"], cost)

    def _candidate(self, trial: Trial) -> Candidate:
        return self._space.candidate(trial.job.parameters)

    def _jobs(self, trials: Sequence[Trial]) -> list[Job]:
        """The next job, if any; empty where all that is left is being done."""
        repeated = {trial.job.again for trial in trials}
        for trial in trials:
            if trial.state == "lost" and trial.number not in repeated and trial.job.attempt + 1 < ATTEMPTS:
                job = trial.job
                return [Job(job.parameters, job.rung, job.of, job.attempt + 1, trial.number)]
        first = [trial for trial in _counted(trials) if trial.job.rung == 0]
        if len(first) < self._rungs.trials:
            proposal = self._proposal(trials, first)
            if proposal is not None:
                return [Job(self._space.tried(proposal.candidate), dropped=proposal.dropped)]
        return self._longer(trials)

    def _proposal(self, trials: Sequence[Trial], first: Sequence[Trial]) -> Proposal | None:
        """The next candidate; None where no other fits the limits, which is notified once."""
        if self._exhausted == len(first):
            return None
        taken = [self._candidate(trial) for trial in first]
        others = any(trial.state == "running" and trial.worker != self._store.worker for trial in trials)
        try:  # alone it proposes the same whenever it is run; of two at the same time each proposes its own
            return self._sampler.next(self.points(trials, 0), taken, self._store.worker if others else "")
        except ModelError as error:
            if not first:
                raise
            if self._exhausted is None:
                self._notify(f"{len(first)} of {self._rungs.trials} candidates: {error}")
            self._exhausted = len(first)
            return None

    def _longer(self, trials: Sequence[Trial]) -> list[Job]:
        """The job that promotes the next candidate of the lowest finished rung that has some left; empty without."""
        for rung in range(1, len(self._rungs.epochs)):
            before = [trial for trial in _counted(trials) if trial.job.rung == rung - 1]
            if any(trial.state in ("running", "waiting") for trial in before):
                return []
            begun = {trial.job.of for trial in _counted(trials) if trial.job.rung == rung}
            for point in self._promising(self.points(before), self._rungs.size(len(before))):
                candidate = self._sampler.refitted(point)
                if point.number not in begun and not self._is_the_same(candidate, point, self._rungs.epochs[rung]):
                    return [Job(self._space.tried(candidate), rung, point.number)]
        return []

    def _is_the_same(self, candidate: Candidate, point: Point, epochs: int) -> bool:
        """Whether a longer training would repeat the one that a file has had already."""
        lengths = [self._trained(candidate, each) for each in (epochs, point.epochs)]
        return candidate == point.candidate and lengths[0] == lengths[1]

    def _promising(self, points: Sequence[Point], count: int) -> list[Point]:
        """The candidates to train longer: the best by the objective, and a third from elsewhere on the Pareto front.

        A limit on accuracy is met more easily after a longer training, so a candidate that misses it is not out.
        """
        own = {point.number: point for point in points}
        best = [own[point.number] for point in ranked([self._sampler.promised(p) for p in points], self._objective)]
        on_front = {point.number for point in front(points, self._objective)}
        first = best[: count - count // 3]
        others = [point for point in best if point not in first]
        others.sort(key=lambda point: point.number not in on_front)  # stable: the best first on either side
        return (first + others)[:count]

    def _do(self, trial: Trial) -> None:
        """Runs a trial, unless another does the same."""
        if self._is_double(trial):
            self._store.drop(trial.number)
            return
        candidate, epochs = self._candidate(trial), self._rungs.epochs[trial.job.rung]
        with self._store.alive(trial.number):
            try:
                score, drop, cost = self._make(candidate, epochs, trial.number)
            except Exception as error:
                if is_machine_fault(error):  # and of a memory that is full the candidate may be the reason
                    self._store.give_back(trial, counts=memory_fault(error) is not None)
                    raise
                if not isinstance(error, TfoptError):
                    traceback.print_exc()
                reason = str(error) if isinstance(error, TfoptError) else describe(error)
                self._store.failed(trial.number, reason)
                self._notify(f"candidate {trial.number}: {reason}")
                return
            except BaseException:
                self._store.give_back(trial)
                raise
        figures = {"score": score, "drop": drop, "epochs": epochs, **vars(cost)}
        values = (drop, cost.figure(self._objective.size_name), cost.figure(self._objective.time))
        kept = self._store.done(trial.number, values, figures)
        late = "" if kept else " (taken for lost: it does not count)"
        length = self._trained(candidate, epochs)
        longer = f" (candidate {trial.job.of}, longer)" if trial.job.of is not None else ""
        words = f"{length} epoch{'' if length == 1 else 's'}{longer}"
        self._notify(f"candidate {trial.number}, {words}: {score:.4f}, {cost}{late}")

    def _is_double(self, trial: Trial) -> bool:
        """Whether two workers have enqueued the same job at the same time, and this trial is the later one."""
        forgiven = self._store.forgiven
        trials = [other for other in self._store.trials() if other.number not in forgiven]
        others = [other for other in _counted(trials) if other.number < trial.number]
        if trial.job.again is not None:
            return any(other.job.again == trial.job.again for other in others)
        if trial.job.rung:
            return any((o.job.rung, o.job.of) == (trial.job.rung, trial.job.of) for o in others)
        first = [other for other in others if other.job.rung == 0]
        number = self._sampler.first(self._candidate(trial))
        same = any(dict(other.job.parameters) == dict(trial.job.parameters) for other in first)
        same |= number is not None and any(self._sampler.first(self._candidate(other)) == number for other in first)
        return same or len(first) >= self._rungs.trials


def _counted(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that stand for a candidate: neither dropped ones, nor lost ones that are repeated."""
    repeated = {trial.job.again for trial in trials if trial.state != "dropped"}
    return [t for t in trials if t.state != "dropped" and not (t.state == "lost" and t.number in repeated)]


def _kind(candidate: Candidate) -> str:
    """The settings of a candidate that decide its latency."""
    return repr((candidate.channels, sorted(candidate.bits.items())))
