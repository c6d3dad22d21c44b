"""Callbacks for a `fit()` of your own: nothing to wrap, nothing to strip."""

from __future__ import annotations

from tfopt.callbacks.clustering import Clustering
from tfopt.callbacks.distillation import Distillation
from tfopt.callbacks.pruning import MagnitudePruning
from tfopt.callbacks.sparsity_log import SparsityLog

__all__ = ["Clustering", "Distillation", "MagnitudePruning", "SparsityLog"]
