"""Recurrent layers as one op of the file: what they compute, in floats and in integers."""
