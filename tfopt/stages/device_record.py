"""The detail on a target's own file beside the `.tflite` of a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfopt.recipe.details.device_files import DeviceFiles

if TYPE_CHECKING:
    from pathlib import Path

    from tfopt.quantization.conversion import Conversion


def device_details(conversion: Conversion, file: Path) -> list[DeviceFiles]:
    """Writes the target's own file beside a `.tflite`, and returns the detail with it, or none.

    Args:
        conversion: The conversion.
        file: Where its `.tflite` was written.

    Raises:
        StorageError: The file cannot be written.
    """
    return [DeviceFiles((conversion.on_target.write(file),))] if conversion.on_target else []
