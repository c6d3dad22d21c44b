"""The values that a tuner may choose for settings, as a recipe writes them, by dotted names."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FORMS = "[low, high], {log: [low, high]}, {range: [low, high], step: s} or {choice: [a, b]}"


@dataclass(frozen=True)
class ValueRange:
    """The values that a tuner may choose for one setting.

    Args:
        choices: The values to choose from; empty for a range.
        low: Lower end of a range.
        high: Upper end of a range, included.
        step: Step of a range; None for any value between, or for 1 between whole numbers.
        log: Whether a range is sampled on a logarithmic scale.
    """

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False

    @classmethod
    def read(cls, written: Any) -> ValueRange:
        """The values as a recipe writes them.

        Raises:
            ValueError: `written` has none of the forms in `FORMS`, or is empty.
        """
        if isinstance(written, ValueRange):
            return written
        if isinstance(written, Sequence) and not isinstance(written, str):
            written = {"range": written}
        if not isinstance(written, Mapping) or not set(written) <= {"range", "log", "choice", "step"}:
            raise ValueError(f"is one of {FORMS}. Received: {written!r}")
        kinds = [kind for kind in ("range", "log", "choice") if kind in written]
        values = written[kinds[0]] if len(kinds) == 1 else None
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise ValueError(f"is one of {FORMS}. Received: {written!r}")
        if kinds == ["choice"]:
            if "step" in written:
                raise ValueError(f"step goes with range. Leave it out. Received: {dict(written)!r}")
            return cls(tuple(values))
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
        if len(values) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
            raise ValueError(f"a range is a lower and a higher number, such as [0.1, 0.9]. Received: {list(values)!r}")
        low, high = numbers
        step = written.get("step")
        if step is not None and (kinds == ["log"] or not isinstance(step, int | float) or not 0 < step <= high - low):
            raise ValueError(f"step goes with range, and is at most as wide. Received: {step!r}")
        if kinds == ["log"] and low <= 0:
            raise ValueError(f"a range on a log scale begins above 0. Received: {list(values)!r}")
        return cls((), low, high, step, kinds == ["log"])

    def written(self) -> Any:
        """The values in the form that `read` takes."""
        if self.choices:
            return {"choice": list(self.choices)}
        if self.log:
            return {"log": [self.low, self.high]}
        return {"range": [self.low, self.high], "step": self.step} if self.step else [self.low, self.high]

    @property
    def whole(self) -> bool:
        """Whether the values of a range are whole numbers."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    def ends(self) -> tuple[Any, ...]:
        """Every choice, or both ends of a range."""
        return self.choices or (self.low, self.high)

    @property
    def _coded(self) -> bool:
        """Whether the choices are passed as JSON: keras-tuner takes numbers and strings alone, all of one type."""
        plain = all(isinstance(value, int | float | str | bool) for value in self.choices)
        return not plain or len({type(value) for value in self.choices}) > 1

    def value(self, given: Any) -> Any:
        """The value that keras-tuner's, which may be JSON, stands for."""
        return json.loads(given) if self.choices and self._coded else given

    def declare(self, name: str, hyperparameters: Any) -> Any:
        """Declares the setting to keras-tuner, and returns its value in the trial.

        Args:
            name: Dotted name of the setting.
            hyperparameters: The trial's `keras_tuner.HyperParameters`.
        """
        if self.choices:
            listed = [json.dumps(value) for value in self.choices] if self._coded else list(self.choices)
            return self.value(hyperparameters.Choice(name, listed))
        sampling = "log" if self.log else "linear"
        if self.whole:
            return hyperparameters.Int(
                name, self.low, self.high, step=self.step if self.step else None, sampling=sampling
            )
        return hyperparameters.Float(name, float(self.low), float(self.high), step=self.step, sampling=sampling)


def set_value(settings: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Writes a value into nested settings, in place.

    A name where a mapping is needed, such as `adam`, becomes one: `{adam: {}}`.

    Args:
        settings: The settings of a stage as a recipe writes them.
        path: Keys down to the value; numbers for positions in lists.
        value: The value.

    Raises:
        ValueError: The path leads through a value that is neither a mapping nor a list.
    """
    here: Any = settings
    for depth, part in enumerate(path[:-1]):
        key = _key(here, part, path)
        inner = here[key] if isinstance(here, list) else here.get(key)
        if inner is None:
            inner = {}
        elif isinstance(inner, str) and depth + 1 < len(path):
            inner = {inner: {}}
        elif isinstance(inner, Mapping):
            inner = dict(inner)
        elif isinstance(inner, Sequence):
            inner = list(inner)
        else:
            raise ValueError(f"{'.'.join(path[: depth + 1])} is {inner!r}, which has no settings of its own")
        here[key] = inner
        here = inner
    here[_key(here, path[-1], path)] = value


def _key(here: Any, part: str, path: Sequence[str]) -> Any:
    if not isinstance(here, list):
        return part
    if not part.isdigit() or int(part) >= len(here):
        raise ValueError(f"{'.'.join(path)} needs a number below {len(here)} for {part!r}")
    return int(part)
