"""Conversion of a Keras model to `.tflite`: one float conversion, and every quantized file made from it.

The public names stand in `__init__.pyi` and are loaded when they are first used.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
