"""Reading, rewriting, running and timing of `.tflite` files."""
