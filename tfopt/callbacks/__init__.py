"""Callbacks for a `fit()` of your own: nothing to wrap, nothing to strip."""

from __future__ import annotations

from tfopt.callbacks.closure_step import ClosureStep
from tfopt.callbacks.clustering import Clustering
from tfopt.callbacks.distillation import Distillation
from tfopt.callbacks.learning_rate_finder import LearningRateFinder
from tfopt.callbacks.penalty_log import PenaltyLog
from tfopt.callbacks.pruning import MagnitudePruning
from tfopt.callbacks.quantization import QuantizationAware
from tfopt.callbacks.sparsity_log import SparsityLog
from tfopt.callbacks.validation_scores import ValidationScores

__all__ = [
    "ClosureStep",
    "Clustering",
    "Distillation",
    "LearningRateFinder",
    "MagnitudePruning",
    "PenaltyLog",
    "QuantizationAware",
    "SparsityLog",
    "ValidationScores",
]
