"""What to try next: Optuna's TPE on what is finished, with all that would not fit thrown away before it costs anything.

References:
    Bergstra et al., Algorithms for hyper-parameter optimization, NeurIPS 2011 (the tree-structured Parzen estimator).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfopt.errors import ModelError
from tfopt.search.cost_model import Cost, CostModel
from tfopt.search.pareto import Objective, Point
from tfopt.search.space import Candidate, Space

# A forecast time is rough: it may be over its limit by so much.
SLACK = 1.25
# A file that is trained longer comes out a little larger or smaller than the one it is forecast from.
MARGIN = 1.03
# After so many candidates over budget there is none within it.
PATIENCE = 500
# Random ones before the sampler begins to learn, seeds counted.
RANDOM = 8


@dataclass(frozen=True)
class Proposal:
    """A candidate to make.

    Args:
        candidate: It.
        dropped: How many were thrown away before it.
    """

    candidate: Candidate
    dropped: int


class Sampler:
    """Where candidates come from.

    Args:
        space: The candidates there are.
        forecast: What they will cost.
        objective: Which files are better: the goal, the size that counts, and the limits.
        seeds: The first to try.
        seed: Of everything random.
    """

    def __init__(self, space: Space, forecast: CostModel, objective: Objective, seeds: Sequence[Candidate], seed: int):
        self._space, self._forecast, self._wish = space, forecast, objective
        self._seeds, self._seed = list(seeds), seed

    def next(self, points: Sequence[Point], taken: Sequence[Candidate], who: str) -> Proposal:
        """The candidate to try after those that are finished; the same for the same arguments.

        Args:
            points: What the short trainings came to so far.
            taken: All that was begun, finished or not.
            who: The worker where several propose at the same time, so that they do not propose the same.

        Raises:
            ModelError: None fits the limits, or all have been tried.
        """
        self._forecast.learn((point.candidate, point.cost) for point in points)
        known = {_key(candidate) for candidate in taken}
        dropped = 0
        smallest = np.inf
        for candidate, tell in self._drawn(points, len(taken), who):
            excess = self._wish.over(self._forecast(candidate), SLACK)
            worst = max(excess.values(), default=0.0)
            if worst <= 0 and _key(candidate) not in known:
                return Proposal(candidate, dropped)
            tell(max(worst, 1e-3))
            dropped += worst > 0
            smallest = min(smallest, worst)
        if smallest <= 0:
            raise ModelError("every candidate of the space has been tried. Ask for fewer trials, or widen the space.")
        raise ModelError(
            f"none of {dropped} candidates fits the limits: the nearest would be {100 * smallest:.0f}% over. Raise the "
            "limits, or widen the space: a lower density, 4 bits, fewer channels.",
            ("within",),
        )

    def _drawn(
        self, points: Sequence[Point], count: int, who: str
    ) -> Iterator[tuple[Candidate, Callable[[float], None]]]:
        """Candidates, each with a function that is told by how much it is over budget."""
        import optuna

        for candidate in self._seeds[count:]:
            yield candidate, lambda over: None
        study, distributions = self._study(points, count, who), self._space.distributions()
        for _ in range(PATIENCE):
            trial = study.ask(distributions)
            candidate = self._filled(self._space.candidate(trial.params))

            def tell(over: float, trial: Any = trial) -> None:
                trial.set_constraint("over", over)
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)

            yield candidate, tell

    def _filled(self, candidate: Candidate) -> Candidate:
        """A candidate made denser, all layers alike, as far as the limits go, where only accuracy is wanted."""
        objective, density = self._wish, self._space.density
        if (
            objective.goal != "accurate"
            or density is None
            or (objective.gzip_bytes is None and objective.raw_bytes is None)
        ):
            return candidate
        if not self._fits(candidate):
            return candidate  # it is thrown away
        return fitted(candidate, density, self._fits, 1.0) or candidate

    def refitted(self, point: Point) -> Candidate:
        """A candidate whose file is known, made as dense as the limits of size allow by what that file came to."""
        objective, density = self._wish, self._space.density
        if (
            objective.goal != "accurate"
            or density is None
            or (objective.gzip_bytes is None and objective.raw_bytes is None)
        ):
            return point.candidate
        self._forecast.learn([])
        own = self._forecast.ratio(point.candidate, point.cost)

        def fits(form: Candidate) -> bool:
            said = self._forecast(form)
            sizes = (said.raw_bytes * own.raw_bytes * MARGIN, said.gzip_bytes * own.gzip_bytes * MARGIN)
            return objective.fits(Cost(*sizes, said.milliseconds * own.milliseconds), SLACK)

        return fitted(point.candidate, density, fits) or point.candidate

    def _fits(self, candidate: Candidate) -> bool:
        return self._wish.fits(self._forecast(candidate), SLACK)

    def _study(self, points: Sequence[Point], count: int, who: str) -> Any:
        """What is finished, in memory, with a sampler that only the seed, the count and the worker decide."""
        import optuna

        seed = zlib.crc32(f"{self._seed} {count} {who}".encode())
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, n_startup_trials=max(RANDOM, len(self._seeds))
        )
        distributions = self._space.distributions()
        study = optuna.create_study(directions=["minimize"], sampler=sampler)
        for point in points:
            study.add_trial(
                optuna.trial.create_trial(
                    values=[self._value(point)],
                    params=_inside(self._space.tried(point.candidate), distributions),
                    distributions=distributions,
                    system_attrs={f"constraints:{name}": over for name, over in self._over(point).items()},
                )
            )
        return study

    def _value(self, point: Point) -> float:
        values = {
            "accurate": point.drop,
            "smallest": point.bytes(self._wish.size),
            "fastest": point.cost.milliseconds,
        }
        return values[self._wish.goal]

    def _over(self, point: Point) -> dict[str, float]:
        over = self._wish.over(point.cost)
        if self._wish.max_drop is not None:
            over["drop"] = point.drop - self._wish.max_drop
        return over


def _inside(parameters: Mapping[str, Any], distributions: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters moved to the ends of their ranges where rounding took them beyond."""
    found = {}
    for name, value in parameters.items():
        own = distributions[name]
        found[name] = min(max(value, own.low), own.high) if hasattr(own, "low") else value
    return found


def _key(candidate: Candidate) -> str:
    return repr(sorted(candidate.parameters().items()))


def fitted(
    candidate: Candidate,
    limits: tuple[float, float],
    fits: Callable[[Candidate], bool],
    thinner: float = 64.0,
    steps: int = 10,
) -> Candidate | None:
    """The densest form of a candidate that fits, all densities multiplied alike; None where even the thinnest does not.

    Args:
        candidate: Where to start from.
        limits: The least and the largest density.
        fits: Whether a form fits.
        thinner: How much thinner it may become.
        steps: How finely it is searched for.
    """
    if not candidate.density:
        return candidate if fits(candidate) else None
    low, high = -float(np.log(thinner)), float(np.log(limits[1] / min(candidate.density.values())))
    found = candidate.denser(float(np.exp(low)), limits)
    if not fits(found):
        return None
    if fits(densest := candidate.denser(float(np.exp(high)), limits)):
        return densest
    for _ in range(steps):
        middle = (low + high) / 2
        form = candidate.denser(float(np.exp(middle)), limits)
        if fits(form):
            found, low = form, middle
        else:
            high = middle
    return found
