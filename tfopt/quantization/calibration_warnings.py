"""What has to be known of calibration samples before a file that was made with them is used."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from tfopt.quantization.input_range import input_range_warnings
from tfopt.quantization.sample_variety import variety_warnings


def calibration_warnings(model: keras.Model, samples: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Warnings where samples are scaled otherwise than in training, or show too little of what the model will see.

    Args:
        model: A built model, as it was trained.
        samples: Inputs `(samples, ...)` by name.
    """
    scaled = input_range_warnings(model, samples)
    return scaled or variety_warnings(model, samples)
