"""Channels and units really removed: which go together, which are worth least, and the smaller model."""
