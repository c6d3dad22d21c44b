"""Which cases of a test run by default, which in the slow suite, and which on the day before a release."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def spread(cases: Iterable[Any], default: int, slow: int = 0) -> list[Any]:
    """Cases as parameters of a test: some run by default, more are slow, and the others long.

    Each of the three is spread over all of them, so that every kind of case is among those that run often.

    Args:
        cases: The cases; a tuple is several parameters.
        default: How many run by default.
        slow: How many more are slow.
    """
    found = list(cases)
    often = _places(len(found), default)
    others = [place for place in range(len(found)) if place not in often]
    seldom = {others[place] for place in _places(len(others), slow)}
    parameters = []
    for place, case in enumerate(found):
        marks = [] if place in often else [pytest.mark.slow] if place in seldom else [pytest.mark.long]
        values = case if isinstance(case, tuple) else (case,)
        parameters.append(pytest.param(*values, marks=marks))
    return parameters


def _places(count: int, chosen: int) -> set[int]:
    chosen = min(chosen, count)
    return {count * index // chosen for index in range(chosen)}
