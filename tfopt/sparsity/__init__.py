"""Sparsity: magnitude pruning and weight clustering on Keras 3, and removal of channels (structured sparsity).

The public names stand in `__init__.pyi` and are loaded when they are first used.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
