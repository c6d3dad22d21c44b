"""The registry of range methods, one per file: from calibrated extremes to the range of an activation."""
