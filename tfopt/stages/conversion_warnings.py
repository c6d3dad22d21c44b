"""The warnings of a stage that converts: those of the conversion, and of its data where splits are of other ranges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfopt.recipe.details.quantization import ConversionWarnings, NoiseRemedy
from tfopt.recipe.modes import MODES
from tfopt.recipe.stage import Context, Stage

if TYPE_CHECKING:
    from tfopt.data.arrays import Arrays
    from tfopt.quantization.conversion import Conversion

# Samples of each split to compare the ranges of.
COMPARED = 64


def warning_details(
    conversion: Conversion, calibration: Arrays, context: Context, mode: str
) -> list[ConversionWarnings]:
    """The detail with the warnings of a file, or none.

    Args:
        conversion: The file.
        calibration: The samples that it was calibrated on.
        context: The stage's context, whose data has the other splits.
        mode: The mode of the file; only those that compute in integers depend on the samples.
    """
    from tfopt.data.arrays import by_name
    from tfopt.quantization.input_range import splits_warning

    told = list(conversion.warnings)
    if MODES[mode].static:
        others = {what: by_name(inputs) for what, inputs in _others(context)}
        apart = splits_warning(by_name(calibration), others)
        told += [apart] if apart else []
    return [ConversionWarnings(tuple(told))] if told else []


def remedy_details(conversion: Conversion, stage: Stage) -> list[NoiseRemedy]:
    """The detail with the settings that would make a file less noisy, or none.

    Args:
        conversion: The file.
        stage: The stage that made it, whose other settings stay as they were written.
    """
    noise = conversion.noise
    if noise.remedy is None:
        return []
    changed = {entry.partition(":")[0] for entry in noise.remedy.entries}
    kept = stage.model_dump(mode="json", exclude_unset=True, exclude=changed)
    written = [f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in kept.items()]
    return [NoiseRemedy(noise.names, (*written, *noise.remedy.entries), noise.remedy.snr_db)]


def _others(context: Context) -> Iterator[tuple[str, Arrays]]:
    """Inputs of the data that are not those that calibrate, with the words for what they are."""
    from tfopt.data.splits import Reading

    data = context.data
    if data.augment is not None:
        few = data.train.few(COMPARED)
        x, _ = next(iter(few.training(Reading(len(few), 0, 0, 1, data.augment))))
        yield (
            "the batches of training, after augment,",
            {k: v.numpy() for k, v in x.items()} if isinstance(x, dict) else x.numpy(),
        )
    yield "the validation split", data.validation.few(COMPARED).x
    yield "the test split", data.test.few(COMPARED).x
