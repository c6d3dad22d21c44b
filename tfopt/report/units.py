"""Figures in the units that read best."""

from __future__ import annotations

# Units of time: the seconds from which on one is taken, what seconds are multiplied by, and its sign.
TIMES = ((0.9995, 1.0, "s"), (0.9995e-3, 1e3, "ms"), (0.0, 1e6, "µs"))


def unit_of_time(seconds: float) -> tuple[float, str]:
    """What seconds are multiplied by for the unit in which so many read best, and its sign."""
    return next(((factor, unit) for least, factor, unit in TIMES if seconds >= least), TIMES[-1][1:])


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    factor, unit = unit_of_time(seconds)
    value = seconds * factor
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.3g} {unit}"


def bytes_(count: float) -> str:
    """A number of bytes: 157,936 B."""
    return f"{count:,.0f} B"


def change(before: str | None, after: str) -> str:
    """A figure before and after, once where it is the same: 64 → 32."""
    return after if before in (None, after) else f"{before} → {after}"


def times(ratio: float) -> str:
    """A ratio of at least 1 to two or three digits: 3.8x, 12x, 1.02x."""
    if ratio >= 99.5:
        return f"{ratio:,.0f}x"
    return f"{ratio:.2f}x" if ratio < 1.095 else f"{ratio:.1f}x"


def share(value: float) -> str:
    """A share of samples: 99.4%, and 100% only where it is all of them."""
    if value == 1:
        return "100%"
    return f"{min(value, 0.9999):.2%}" if value > 0.9949 else f"{value:.1%}"
