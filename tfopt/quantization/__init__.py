"""From a Keras model to a `.tflite`: one float conversion, and every quantized file made from it."""

from __future__ import annotations

from tfopt.quantization.conversion import Conversion, convert, convert_with_notes

__all__ = ["Conversion", "convert", "convert_with_notes"]
