"""What a message says of a noisy file: where the noise comes from, and the settings that would mend it."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tfopt.recipe.export import Rule
from tfopt.recipe.yaml_text import yaml_word


@dataclass(frozen=True)
class Remedy:
    """Settings that bring the signal-to-noise ratio of a file back.

    Args:
        rules: All rules that the file needs, those that it was made with first.
        io: `float32` where inputs and outputs have to be in float, else None.
        snr_db: The ratio that the file would have, in decibels.
        rounding: How integers have to be chosen, if not as they were.
    """

    rules: tuple[Rule, ...]
    io: str | None
    snr_db: float
    rounding: str | None = None

    @property
    def settings(self) -> str:
        """The settings in a sentence, as a recipe has them."""
        return " and ".join(self.entries)

    @property
    def entries(self) -> tuple[str, ...]:
        """The settings as entries of YAML's."""
        rules = ", ".join(f"{{layers: {_patterns(names)}, to: {to}}}" for to, names in self._merged())
        found = {"rules": f"[{rules}]" if rules else None, "rounding": self.rounding, "io": self.io}
        return tuple(f"{name}: {value}" for name, value in found.items() if value)

    @property
    def options(self) -> str:
        """The settings as options of `tfopt convert`."""
        words = [f"--rule {shlex.quote(f'{name}={to}')}" for to, names in self._merged() for name in names]
        words += [f"--{name} {value}" for name, value in (("rounding", self.rounding), ("io", self.io)) if value]
        return " ".join(words)

    def _merged(self) -> list[tuple[str, list[str]]]:
        """The patterns of neighbouring rules of one precision together: of several rules the last one decides."""
        runs = itertools.groupby((rule for rule in self.rules if rule.to), key=lambda rule: rule.to)
        return [(str(to), list(dict.fromkeys(name for rule in run for name in rule.layers))) for to, run in runs]


@dataclass(frozen=True)
class NoiseSources:
    """Where the noise of a file comes from.

    Args:
        names: The layers and operations that lose most, the worst first; empty where it was not looked for.
        remedy: The settings that are worth writing; None if none are.
    """

    names: tuple[str, ...] = ()
    remedy: Remedy | None = None

    def __str__(self) -> str:
        """To be appended to a sentence."""
        if not self.names:
            return ""
        way = f": {self.remedy.settings} would give {self.remedy.snr_db:.1f} dB" if self.remedy else ""
        if self.remedy and self.remedy.rounding:
            way += " in as many bytes, and rounding: auto takes the best of several"
        return f". Most is lost in {', '.join(self.names)}{way}"

    @property
    def options(self) -> tuple[tuple[str, str], ...]:
        """The settings in the sentence, each with the options of the command that say the same."""
        return ((self.remedy.settings, self.remedy.options),) if self.remedy else ()


def _patterns(names: Sequence[str]) -> str:
    """Layer patterns as YAML has them: one, or a list."""
    written = [yaml_word(name) for name in names]
    return written[0] if len(written) == 1 else f"[{', '.join(written)}]"
