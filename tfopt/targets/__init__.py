"""A `.tflite` in: does it run there, and what does it cost there."""
