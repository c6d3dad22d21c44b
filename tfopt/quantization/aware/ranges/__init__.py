"""A way in each file for the ranges of activations to follow quantization-aware training."""
