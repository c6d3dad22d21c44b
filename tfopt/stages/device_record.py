"""The detail on a target's own file beside the `.tflite` of a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfopt.recipe.details.detail import Detail
from tfopt.recipe.details.device_files import DeviceFiles

if TYPE_CHECKING:
    from pathlib import Path

    from tfopt.quantization.conversion import Conversion


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
