"""The budget of a search: the most that a file may cost, in itself and on its target."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from tfopt.recipe.settings import Settings
from tfopt.recipe.sizes import Bytes

# Limits that hold for any file, on whatever target.
OF_ANY_FILE = ("raw_bytes", "gzip_bytes", "milliseconds")


def _milliseconds(value: Any) -> Any:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf):
        return value
    raise ValueError(f"is a number of milliseconds above 0, such as 2, without a unit. Received: {value!r}")


# A time, and a number of cycles.
Milliseconds = Annotated[float | None, BeforeValidator(_milliseconds)]
Cycles = Annotated[int | None, Field(gt=0)]


class SearchBudget(Settings):
    """The most that the file may cost."""

    raw_bytes: Bytes = None
    """Its size: a number, or such as 64 KB (64,000) or 64 KiB (65,536)."""
    gzip_bytes: Bytes = None
    """Its size after gzip -9, which is what zeros and shared values make smaller."""
    milliseconds: Milliseconds = None
    """The median time of a run on LiteRT, one thread, on this machine."""
    flash_bytes: Bytes = None
    """The file as it is flashed, on target tflm."""
    arena_bytes: Bytes = None
    """The tensor arena, on target tflm."""
    npu_milliseconds: Milliseconds = None
    """The time of a run by Vela's estimate, on an Ethos-U."""
    npu_cycles: Cycles = None
    """The NPU's own cycles by Vela's estimate, on an Ethos-U."""
    total_cycles: Cycles = None
    """Cycles with those that wait for memory, by Vela's estimate, on an Ethos-U."""
    encoded_weight_bytes: Bytes = None
    """The weights as Vela encodes them for an Ethos-U."""
    compiled_bytes: Bytes = None
    """The file that Vela compiles for an Ethos-U."""
    sram_bytes: Bytes = None
    """The SRAM that the file takes on an Ethos-U, by Vela's estimate."""
    dram_bytes: Bytes = None
    """The DRAM that the file takes on an Ethos-U of a system that has some, by Vela's estimate."""

    @model_validator(mode="after")
    def _limits_something(self) -> SearchBudget:
        if not self.limits():
            raise ValueError(
                "within takes raw_bytes, gzip_bytes or milliseconds, or what the target measures. Write one of them"
            )
        return self

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}

    def on_device(self) -> dict[str, float]:
        """The limits on what a target measures, by name."""
        return {name: value for name, value in self.limits().items() if name not in OF_ANY_FILE}
