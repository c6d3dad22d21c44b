"""The next candidate of a search: Optuna's TPE on finished trials, rejecting by estimated cost what exceeds the limits.

References:
    Bergstra et al., Algorithms for hyper-parameter optimization, NeurIPS 2011 (the tree-structured Parzen estimator).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfopt.errors import ModelError
from tfopt.search.cost_model import Cost, CostModel
from tfopt.search.pareto import Objective, Point, is_rough
from tfopt.search.space import DIGITS, Candidate, Space

# Factor on the limit of latency for estimates, which are rough.
SLACK = 1.25
# Factor on sizes estimated from another training of the same candidate, which differ a little.
MARGIN = 1.03
# Excess over a limit, as a fraction of it, that a finished file may have and still be trained longer where with a few
# weights less it is within.
NEAR = 0.1
# Candidates drawn before the search counts the space as exhausted.
PATIENCE = 500
# Random trials before TPE begins to model them, the first candidates included.
RANDOM = 8


@dataclass(frozen=True)
class Proposal:
    """The sampler's next candidate.

    Args:
        candidate: The candidate to train next.
        dropped: Number of candidates rejected before it, as over the limits.
    """

    candidate: Candidate
    dropped: int


class Sampler:
    """Proposes candidates: first given ones, then TPE's.

    Args:
        space: The search space.
        forecast: The cost model.
        objective: The goal and the limits.
        seeds: The candidates to try first.
        seed: Seed of all random choices.
    """

    def __init__(self, space: Space, forecast: CostModel, objective: Objective, seeds: Sequence[Candidate], seed: int):
        self._space, self._forecast, self._objective = space, forecast, objective
        self._seeds, self._seed = list(seeds), seed

    def next(self, points: Sequence[Point], taken: Sequence[Candidate], who: str) -> Proposal:
        """The next candidate to try; the same for the same arguments.

        Args:
            points: Files of the short trainings so far.
            taken: All candidates begun, finished or not.
            who: Name of the worker where several propose at the same time, so that they do not propose the same; else
                empty.

        Raises:
            ModelError: No candidate fits the limits, or all have been tried.
        """
        self._forecast.learn((point.candidate, point.cost) for point in points)
        known = {_key(candidate) for candidate in taken}
        dropped = 0
        smallest = np.inf
        for candidate, tell in self._drawn(points, taken, who):
            excess = self._objective.over(self._forecast(candidate), SLACK)
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
        self, points: Sequence[Point], taken: Sequence[Candidate], who: str
    ) -> Iterator[tuple[Candidate, Callable[[float], None]]]:
        """Candidates, each with a function that reports its excess over the limits to the sampler."""
        import optuna

        done = {self.first(candidate) for candidate in taken}
        for number, seed in enumerate(self._seeds):
            form = None if number in done else self._refitted(seed)
            if form is not None:
                yield form, lambda over: None
        study, distributions = self._study(points, len(taken), who), self._space.distributions()
        for _ in range(PATIENCE):
            trial = study.ask(distributions)
            candidate = self._filled(self._space.candidate(trial.params))

            def tell(over: float, trial: Any = trial) -> None:
                trial.set_constraint("over", over)
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)

            yield candidate, tell

    def first(self, candidate: Candidate) -> int | None:
        """The number of the first candidate that another is a form of; None for one that was sampled."""
        density = self._space.density if self._objective.by_density else None
        return next((n for n, seed in enumerate(self._seeds) if _is_form_of(candidate, seed, density)), None)

    def _refitted(self, seed: Candidate) -> Candidate | None:
        """A first candidate by the costs of the files so far, as dense as the limits allow if accuracy is the goal.

        It was fitted to the limits by estimates. Where those turn out too low it would be over them, and where they
        are too high it would leave room.

        Returns:
            The candidate; None where no form of it fits.
        """
        density = self._space.density
        if self._fits(seed):
            return self._filled(seed)
        if density is None or not self._objective.by_density:
            return None
        return scale_to_limits(seed, density, self._fits)

    def _filled(self, candidate: Candidate) -> Candidate:
        """A candidate made as dense as the limits allow, all layers alike, where the goal is accuracy."""
        density = self._space.density
        if self._objective.goal != "accurate" or density is None or not self._objective.by_density:
            return candidate
        if not self._fits(candidate):
            return candidate  # it is rejected
        return scale_to_limits(candidate, density, self._fits, 1.0) or candidate

    def refitted(self, point: Point) -> Candidate:
        """The candidate of a finished file, made as dense as the limits of size allow by the cost of that file."""
        objective, density = self._objective, self._space.density
        if objective.goal != "accurate" or density is None or not objective.by_density:
            return point.candidate
        estimate = self._estimate_by(point)
        return (
            scale_to_limits(point.candidate, density, lambda c: objective.fits(estimate(c), SLACK)) or point.candidate
        )

    def promised(self, point: Point) -> Point:
        """A finished file as it counts for a longer training: a little over the limits, with the cost of its refit."""
        objective = self._objective
        if not 0 < max(objective.over(point.cost).values(), default=0.0) <= NEAR:
            return point
        cost = self._estimate_by(point)(self.refitted(point))
        return replace(point, cost=cost) if objective.fits(cost) else point

    def _estimate_by(self, point: Point) -> Callable[[Candidate], Cost]:
        """The cost model, corrected by one finished file of the same form, with a margin for sizes."""
        self._forecast.learn([])
        own = self._forecast.ratio(point.candidate, point.cost)
        margin = Cost(MARGIN, MARGIN, 1.0, device={name: 1.0 if is_rough(name) else MARGIN for name in own.device})
        return lambda form: self._forecast(form).times(own).times(margin)

    def _fits(self, candidate: Candidate) -> bool:
        return self._objective.fits(self._forecast(candidate), SLACK)

    def _study(self, points: Sequence[Point], count: int, who: str) -> Any:
        """An in-memory study of the finished trials; its sampler depends on seed, count and worker alone."""
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
            "smallest": point.cost.figure(self._objective.size_name),
            "fastest": point.cost.figure(self._objective.time),
        }
        return values[self._objective.goal]

    def _over(self, point: Point) -> dict[str, float]:
        over = self._objective.over(point.cost)
        if self._objective.max_drop is not None:
            over["drop"] = point.drop - self._objective.max_drop
        return over


def _inside(parameters: Mapping[str, Any], distributions: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters clipped to their ranges, which rounding may have left."""
    found = {}
    for name, value in parameters.items():
        own = distributions[name]
        found[name] = min(max(value, own.low), own.high) if hasattr(own, "low") else value
    return found


def _is_form_of(candidate: Candidate, seed: Candidate, limits: tuple[float, float] | None) -> bool:
    """Whether a candidate is another with all densities multiplied alike, clipped to limits and rounded.

    Args:
        candidate: The candidate.
        seed: The other.
        limits: Least and largest density; None where densities are not multiplied.
    """
    if limits is None or candidate.pattern:
        return _key(candidate) == _key(seed)
    if replace(candidate, density=seed.density) != seed:
        return False
    half = 0.5 * 10**-DIGITS
    least, most = 0.0, np.inf
    for group, density in candidate.density.items():
        own = seed.density[group]
        least = max(least, (density - half) / own if density > limits[0] else 0.0)
        most = min(most, (density + half) / own if density < limits[1] else np.inf)
    return least <= most


def _key(candidate: Candidate) -> str:
    return repr(sorted(candidate.parameters().items()))


def scale_to_limits(
    candidate: Candidate,
    limits: tuple[float, float],
    fits: Callable[[Candidate], bool],
    thinner: float = 64.0,
    steps: int = 10,
) -> Candidate | None:
    """The densest form of a candidate that fits, all densities multiplied alike; None where even the thinnest does not.

    Args:
        candidate: The candidate to start from.
        limits: Least and largest density, 0-1.
        fits: Whether a candidate fits.
        thinner: Largest factor by which densities may be divided.
        steps: Steps of the bisection.
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
