"""The registry of codings, one per file: how TFLM stores a kernel in fewer bytes than it computes with."""
