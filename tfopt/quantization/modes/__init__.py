"""The registry of quantization modes, one per file: how weights are stored, and the type of the arithmetic."""
