"""Callbacks for a `fit()` of your own: nothing to wrap, nothing to strip."""

from __future__ import annotations

from tfopt.quantization.aware.callback import QuantizationAware
from tfopt.sparsity.clustering_callback import Clustering
from tfopt.sparsity.pruning_callback import MagnitudePruning
from tfopt.sparsity.sparsity_log import SparsityLog
from tfopt.training.closure_step import ClosureStep
from tfopt.training.distillation import Distillation
from tfopt.training.learning_rate_finder import LearningRateFinder
from tfopt.training.penalty_log import PenaltyLog
from tfopt.training.validation_scores import ValidationScores

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
