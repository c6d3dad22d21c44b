"""A float file, its quantized form and samples in; the quantized file whose integers were chosen together out."""
