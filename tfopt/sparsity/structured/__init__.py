"""Structured sparsity: channels and units really removed, with all that is tied to them.

A layer class of your own gets its place in the table with `register`. The names that people import stand in
`__init__.pyi`, and are loaded from there when they are first used.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
