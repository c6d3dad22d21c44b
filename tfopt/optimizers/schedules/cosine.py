"""Cosine decay, Keras's: the learning rate falls along half a cosine, after a linear warm-up if asked for."""

from __future__ import annotations

import keras

from tfopt.optimizers.schedules.registry import ScheduleEntry

COSINE = ScheduleEntry("cosine", keras.optimizers.schedules.CosineDecay, rank=20)
