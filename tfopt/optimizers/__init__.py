"""Optimizers and learning-rate schedules from what a recipe says of them."""

from __future__ import annotations

from tfopt.optimizers.factory import build_optimizer

__all__ = ["build_optimizer"]
