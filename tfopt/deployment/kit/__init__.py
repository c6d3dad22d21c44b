"""A proven `.tflite` and some samples in; a folder that a device's project builds, tests and flashes out."""
