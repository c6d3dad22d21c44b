"""Structured sparsity: channels and units removed from a model, with all that is coupled to them.

A layer class of your own gets a rule with `register`. The public names stand in `__init__.pyi` and are loaded when they
are first used.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
