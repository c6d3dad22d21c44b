"""What the settings of quantization-aware training have to fulfil, whatever the model."""

from __future__ import annotations

from tfopt.errors import InputError
from tfopt.recipe.export import Export
from tfopt.recipe.modes import MODES, TRAINED_RANGES


def check_settings(export: Export, ranges: str, momentum: float, rate: float) -> None:
    """Checks the settings that do not depend on the model.

    Raises:
        InputError: A setting is invalid.
    """
    if not MODES[export.mode].static:
        able = ", ".join(mode.name for mode in MODES.values() if mode.static)
        raise InputError(
            f"quantization-aware training is for modes that compute in integers: {able}. Received: {export.mode!r}.",
            ("mode",),
        )
    if export.scales == "fewest":
        raise InputError(
            "scales of quantization-aware training are auto, channel or tensor: fewest is chosen for finished weights. "
            "Received: scales='fewest'.",
            ("scales",),
        )
    if ranges not in TRAINED_RANGES:
        raise InputError(f"ranges is one of {', '.join(TRAINED_RANGES)}. Received: ranges={ranges!r}.", ("ranges",))
    if not 0 <= momentum < 1:
        raise InputError(
            f"momentum is a fraction, 0 or above and below 1. Received: momentum={momentum}.", ("momentum",)
        )
    if not 0 < rate < 1:
        raise InputError(f"rate is a fraction, above 0 and below 1. Received: rate={rate}.", ("rate",))
