"""Figures in the units that read best."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    scales = [(seconds * factor, unit) for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs"))]
    value, unit = next((scale for scale in scales if scale[0] >= 0.9995), scales[-1])
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.3g} {unit}"


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
