"""From a Keras model to a `.tflite`: one float conversion, and every quantized file made from it.

The names that people import stand in `__init__.pyi`, and are loaded from there when they are first used.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
