"""Zeros and channels: magnitude pruning with TF-MOT's schedules and masks on Keras 3, and channels really removed."""

from __future__ import annotations

from tfopt.sparsity.masks import magnitude_mask, sparsity_of
from tfopt.sparsity.schedules import constant_sparsity, polynomial_decay
from tfopt.sparsity.structured import remove, remove_dead

__all__ = ["constant_sparsity", "magnitude_mask", "polynomial_decay", "remove", "remove_dead", "sparsity_of"]
