"""Values and words as YAML text."""

from __future__ import annotations

import io
import json
import re
from typing import Any

# Words that YAML reads as they are, but for those that it reads as something else than text.
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_OTHER = ("true", "false", "null", "yes", "no", "on", "off")


def yaml_text(value: Any, flow: bool | None = None, width: int | None = None) -> str:
    """A value as YAML, its keys in the order that they are given: in some settings the first or the last one counts.

    Args:
        value: Plain data: mappings, lists, texts, numbers.
        flow: Whether mappings and lists are written in braces and brackets; None for the innermost alone.
        width: Characters of a line, after which it is broken.
    """
    from ruamel.yaml import YAML

    yaml, text = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style = flow
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    if width is not None:
        yaml.width = width
    yaml.dump(value, text)
    return text.getvalue()


def yaml_word(text: str) -> str:
    """Text as a word of YAML, in quotes where it would be read as something else."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _OTHER else json.dumps(text)
