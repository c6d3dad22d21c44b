"""A proven `.tflite` in; how to feed and read it, the code for it in several languages, and a kit to flash, out."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
