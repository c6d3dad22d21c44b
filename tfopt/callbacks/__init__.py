"""Callbacks for a `fit()` of your own: nothing to wrap, nothing to strip."""

from __future__ import annotations

from tfopt.callbacks.clustering import Clustering
from tfopt.callbacks.pruning import MagnitudePruning

__all__ = ["Clustering", "MagnitudePruning"]
