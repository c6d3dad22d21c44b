"""The registry of range methods for quantization-aware training, one per file."""
