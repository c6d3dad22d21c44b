"""Recipes and their stages as frozen settings read from YAML, and the artifacts that stages leave on disk."""
