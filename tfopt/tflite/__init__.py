"""The bytes of a `.tflite` in; its ops, tensors, outputs and timings out."""
