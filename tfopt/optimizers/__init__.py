"""Optimizers and learning rate schedules: Keras's by name, and what Keras lacks and compression needs."""

from __future__ import annotations

from tfopt.optimizers.adahessian import AdaHessian
from tfopt.optimizers.closure import Closure
from tfopt.optimizers.factory import build_optimizer
from tfopt.optimizers.newton_cg import NewtonCG
from tfopt.optimizers.proximal import ProximalAdam, ProximalSGD
from tfopt.optimizers.registry import OPTIMIZERS, OptimizerEntry
from tfopt.optimizers.sam import SAM
from tfopt.optimizers.schedules.one_cycle import OneCycle
from tfopt.optimizers.schedules.registry import SCHEDULES, ScheduleEntry

__all__ = [
    "OPTIMIZERS",
    "SAM",
    "SCHEDULES",
    "AdaHessian",
    "Closure",
    "NewtonCG",
    "OneCycle",
    "OptimizerEntry",
    "ProximalAdam",
    "ProximalSGD",
    "ScheduleEntry",
    "build_optimizer",
]
