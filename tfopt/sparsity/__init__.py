"""Zeros and channels: magnitude pruning with TF-MOT's schedules and masks on Keras 3, and channels really removed.

The names that people import stand in `__init__.pyi`, and are loaded from there when they are first used.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
