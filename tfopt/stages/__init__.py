"""The registry of stages, one per file."""
