"""Typed details of a stage's result, and their JSON in `artifact.json`."""
