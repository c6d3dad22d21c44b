"""Hyperparameters on keras-tuner: a space by the names of settings, any of its tuners, one process or several."""
