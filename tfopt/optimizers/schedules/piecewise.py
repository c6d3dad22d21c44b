"""Piecewise constant decay, Keras's: one learning rate up to each of the boundaries, counted in steps."""

from __future__ import annotations

import keras

from tfopt.optimizers.schedules.registry import ScheduleEntry

PIECEWISE = ScheduleEntry("piecewise", keras.optimizers.schedules.PiecewiseConstantDecay, rank=30)
