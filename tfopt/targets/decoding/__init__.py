"""A `.tflite` in; the same file with kernels in fewer bytes, which TFLM decodes into RAM at every run, out."""
