"""Training that knows of the quantization to come: the model computes as its file will, while it learns."""
