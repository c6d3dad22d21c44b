"""A mode in each file: how the weights of a `.tflite` are stored, and what it computes in."""
