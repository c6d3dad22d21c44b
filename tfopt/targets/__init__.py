"""The registry of targets, one per file: what a runtime can run, and what a file costs there."""
