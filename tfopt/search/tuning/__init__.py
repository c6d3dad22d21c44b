"""Hyperparameter search with keras-tuner: value ranges by setting, any of its tuners, one process or several."""
