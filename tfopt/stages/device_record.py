"""The detail on a target's own file beside the `.tflite` of a stage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tfopt.recipe.details.decoding import DecodedKernels
from tfopt.recipe.details.detail import Detail
from tfopt.recipe.details.device_files import DeviceFiles
from tfopt.recipe.export import Export
from tfopt.recipe.target import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

    from tfopt.quantization.conversion import Conversion
    from tfopt.stages.subpipeline import Told


def device_details(conversion: Conversion, file: Path) -> list[Detail]:
    """Writes the target's own file beside a `.tflite`, and returns the details with it, or none.

    Args:
        conversion: The conversion.
        file: Where its `.tflite` was written.

    Raises:
        StorageError: The file cannot be written.
    """
    on_target = conversion.on_target
    if on_target is None:
        return []
    return [DeviceFiles((on_target.write(file),)), *([on_target.decoding] if on_target.decoding else [])]


def made_details(file: Path, export: Export, told: Told, folder: Path) -> list[Detail]:
    """`device_details` of a file that stages made inside of another stage.

    Args:
        file: The `.tflite`.
        export: The settings that it was made with.
        told: What the stages told of it.
        folder: The folder of the result.

    Raises:
        StorageError: The target's own file cannot be written.
    """
    from tfopt.targets.target_cost import cost_of

    target = TARGETS[export.target]
    if target.cost is None:
        return []
    written = cost_of(file.read_bytes(), target, export).write(file, folder)
    made = told.details.of(DeviceFiles)
    layers = made.files[0].layers if made and made.files else written.layers
    decoded = told.details.of(DecodedKernels)
    return [DeviceFiles((replace(written, layers=layers),)), *([decoded] if decoded else [])]
