"""Magnitude pruning: TF-MOT's schedules and mask arithmetic, on Keras 3 variables and without wrapper layers."""

from __future__ import annotations

from tfopt.sparsity.masks import magnitude_mask, sparsity_of
from tfopt.sparsity.schedules import constant_sparsity, polynomial_decay

__all__ = ["constant_sparsity", "magnitude_mask", "polynomial_decay", "sparsity_of"]
