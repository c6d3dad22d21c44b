"""A proven `.tflite` in; how to feed and read it, and the code for it in a language's own words, out."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
