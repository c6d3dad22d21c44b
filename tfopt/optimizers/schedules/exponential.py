"""Exponential decay, Keras's: the learning rate falls by a factor every `decay_steps` steps."""

from __future__ import annotations

import keras

from tfopt.optimizers.schedules.registry import ScheduleEntry

EXPONENTIAL = ScheduleEntry("exponential", keras.optimizers.schedules.ExponentialDecay, rank=10)
