"""Griffe extension: constructors that take `**settings` are shown as Python shows them, with every setting."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import griffe


class ShownSettings(griffe.Extension):
    """Takes the docstring and the parameters of a class decorated with `takes_settings` from the class itself."""

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Looks at a class once its source was read."""
        constructor = cls.members.get("__init__")
        decorated = any("takes_settings" in str(one.value) for one in cls.decorators)
        if not decorated or cls.docstring is None or not isinstance(constructor, griffe.Function):
            return
        actual = getattr(importlib.import_module(cls.module.path), cls.name)
        cls.docstring.value = inspect.cleandoc(actual.__doc__)
        settings = inspect.signature(actual.__init__).parameters
        written = [one for one in constructor.parameters if one.kind is not griffe.ParameterKind.var_keyword]
        names = {one.name for one in written}
        shown = [_parameter(one) for name, one in settings.items() if name not in names]
        constructor.parameters = griffe.Parameters(*written, *shown)


def _parameter(setting: inspect.Parameter) -> griffe.Parameter:
    """A setting as griffe has parameters, which are text."""
    return griffe.Parameter(
        setting.name,
        annotation=inspect.formatannotation(setting.annotation).replace("typing.", ""),
        kind=griffe.ParameterKind.keyword_only,
        default=repr(setting.default) if setting.default is not inspect.Parameter.empty else None,
    )
