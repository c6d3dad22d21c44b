"""A quantized file whose integers were chosen on samples, without labels and without training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfopt.errors import ConversionError
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.noise import Noise, spread
from tfopt.quantization.rounding.edited_file import check_integers, with_constants
from tfopt.quantization.rounding.grids import KernelGrid, kernel_grids
from tfopt.quantization.rounding.plan import Plan, RoundingSettings, plan
from tfopt.quantization.rounding.walk import Choices, WalkSettings, walk
from tfopt.quantization.rounding.work import work
from tfopt.recipe.modes import ROUNDINGS

# The share of the samples that `auto` compares on and does not learn from, and the fewest of them.
HELD_OUT, FEWEST = 0.2, 4
# Samples that integers are chosen on at most: more of them add time and memory, and nothing to the file.
MOST_SAMPLES = 256


@dataclass(frozen=True)
class Reconstructed:
    """A quantized file, with remarks on how its integers were chosen.

    Args:
        content: Bytes of the file.
        notes: The remarks, sentences without a full stop.
        choices: The kernels and biases that were chosen; none where all are the quantizer's own.
    """

    content: bytes
    notes: tuple[str, ...] = ()
    choices: Choices = field(default_factory=Choices, repr=False)


@dataclass(frozen=True)
class Reconstruction:
    """All that is needed to choose the integers of a file.

    Args:
        source: The float file.
        samples: Representative inputs `(samples, ...)` by input name.
        ranges: `min` and `max` of each activation by tensor name.
        write: Quantizes a float file with ranges of kernels that are handed over.
        settings: How the integers are chosen.
        keeps_state: Whether the samples are the pieces of one sequence.
        seed: Seed of what is drawn.
    """

    source: FloatModel
    samples: Mapping[str, np.ndarray]
    ranges: Mapping[str, Any]
    write: Callable[[FloatModel, Mapping[str, Any]], bytes]
    settings: RoundingSettings
    keeps_state: bool = False
    seed: int = 0

    def file(self) -> Reconstructed:
        """The quantized file.

        Raises:
            ConversionError: An op of the file does not run alone, or the quantizer does not keep the integers.
        """
        base = self.write(self.source, {})
        if not self.settings.changes:
            return Reconstructed(base)
        grids = kernel_grids(base)
        tries, samples = ROUNDINGS[self.settings.rounding].tries, self._few()
        if tries:
            return self._best(base, grids, tries, samples)
        return self._with(base, plan(self.source, grids, self.settings), self.settings, samples)

    def _few(self) -> Mapping[str, np.ndarray]:
        """The samples, where they are many those spread over them, which may be sorted."""
        count = len(next(iter(self.samples.values())))
        if count <= MOST_SAMPLES:
            return self.samples
        chosen = np.arange(MOST_SAMPLES) if self.keeps_state else spread(count, MOST_SAMPLES)
        return {name: array[chosen] for name, array in self.samples.items()}

    def _with(
        self,
        base: bytes,
        planned: Plan,
        settings: RoundingSettings,
        samples: Mapping[str, np.ndarray],
        share: float = 1.0,
    ) -> Reconstructed:
        """The file of one rounding.

        Args:
            base: The file of nearest integers, whose grids it shares.
            planned: What is done to each op.
            settings: How the integers are chosen.
            samples: The samples to choose on.
            share: The share of its steps that a rounding takes which learns in steps, 0-1.
        """
        walked = WalkSettings(
            ranges=self.ranges,
            base=base,
            correct=settings.bias_correction,
            clipping=settings.clipping,
            keeps_state=self.keeps_state,
            seed=self.seed,
            share=share,
        )
        found = walk(self.source, samples, planned, walked)
        edited = with_constants(self.source, found.kernels, found.biases)
        content = self.write(edited, {name: kernel.range for name, kernel in found.kernels.items()})
        check_integers(content, found.kernels)
        return Reconstructed(content, planned.notes, found)

    def _best(
        self,
        base: bytes,
        grids: Mapping[str, KernelGrid],
        tries: tuple[str, ...],
        samples: Mapping[str, np.ndarray],
    ) -> Reconstructed:
        """The file of the rounding with the least noise on samples that were held out, of those that time is for."""
        learned, compared, held = self._apart(samples)
        noise = Noise(self.source.content, compared, self.keeps_state)
        found = {"nearest": (noise.snr(base), Reconstructed(base))}
        planned_of: dict[str, tuple[Plan, RoundingSettings]] = {}
        notes: list[str] = []
        left, limit = self.settings.seconds, f"rounding_seconds: {self.settings.seconds:g}"
        for name in tries:
            settings = replace(self.settings, rounding=name)
            if not settings.changes:  # it is the file that is there already
                continue
            planned = plan(self.source, grids, settings)
            effort = work(self.source, planned, len(next(iter(learned.values()))))
            share, told = effort.share(left), _in_words(settings)
            if share < ROUNDINGS[name].least_share:
                notes.append(f"rounding {told} is left out: it is about {effort.seconds():.0f} s of work ({limit})")
                continue
            left -= effort.seconds(share)
            told += f" in {share:.0%} of its steps" if share < 1 else ""
            try:
                made = self._with(base, planned, settings, learned, share)
            except ConversionError as error:
                notes.append(f"rounding {told}: {error}")
                continue
            found[told] = noise.snr(made.content), made
            planned_of[told] = planned, settings
        best = max(found, key=lambda name: found[name][0])
        figures = ", ".join(f"{name} {snr:.1f} dB" for name, (snr, _) in found.items())
        where = f"{held} held-out samples" if held else "the samples"
        made = found[best][1]
        if held and best in planned_of:  # what was held out is worth learning from, if there is time for it
            planned, settings = planned_of[best]
            if work(self.source, planned, len(next(iter(samples.values())))).share(left) == 1:
                with contextlib.suppress(ConversionError):
                    made = self._with(base, planned, settings, samples)
                    where += ", then on all samples"
        return replace(made, notes=(f"rounding: {best}, of {figures} on {where}", *made.notes, *notes))

    def _apart(
        self, samples: Mapping[str, np.ndarray]
    ) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray], int]:
        """The samples to learn on, those to compare on, and how many of these were held out."""
        count = len(next(iter(samples.values())))
        held = 0 if self.keeps_state or round(HELD_OUT * count) < FEWEST else round(HELD_OUT * count)
        out = np.zeros(count, bool)
        out[spread(count, held)] = True
        learned = {name: array[~out] for name, array in samples.items()}
        return learned, {name: array[out] for name, array in samples.items()} if held else samples, held


def _in_words(settings: RoundingSettings) -> str:
    """A try of `auto`, by what tells it from the quantizer's own integers."""
    if settings.rounding != "nearest":
        return settings.rounding
    if settings.bias_correction:
        return "bias correction"
    return "the rules" if settings.clipping == "none" else f"clipping {settings.clipping}"
