"""Quantization-aware training: the model computes with the rounding of its `.tflite` while it learns."""
