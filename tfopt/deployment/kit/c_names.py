"""Names, comments and numbers in C, of C11 and C++ alike."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

from tfopt.deployment.identifiers import identifiers
from tfopt.deployment.snippets.cpp import c_float
from tfopt.recipe.details.usage import TensorUsage

# Characters that stand for themselves in a string literal: of printable ASCII not those that end or escape it, and no
# question mark, as two of them begin a trigraph.
_PLAIN = [chr(code) if 32 <= code < 127 and chr(code) not in '"\\?' else "" for code in range(256)]
_OCTAL = [f"\\{code:o}" for code in range(256)]
_OCTAL_3 = [f"\\{code:03o}" for code in range(256)]
_DIGITS = frozenset(b"0123456789")


def prefix_of(name: str) -> str:
    """The beginning of every C name of a kit: the model's name in lower case, as an identifier."""
    found = re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")
    return found if found[:1].isalpha() else f"model_{found}".rstrip("_")


def end_names(ends: Iterable[TensorUsage]) -> list[str]:
    """An identifier in lower case for each input or output; no two differ by case alone."""
    named = identifiers(end.name for end in ends)
    found: list[str] = []
    for name in named.values():
        wanted, number = name.lower(), 2
        while wanted in found:
            wanted, number = f"{name.lower()}_{number}", number + 1
        found.append(wanted)
    return found


def string_literal(content: bytes) -> str:
    """A string literal of bytes, without a zero at its end but the one that C adds.

    An octal escape is as short as the byte after it allows: a digit there would be read as a part of it.
    """
    parts = []
    following = (*content[1:], 0)
    for code, after in zip(content, following, strict=False):
        parts.append(_PLAIN[code] or (_OCTAL_3[code] if after in _DIGITS else _OCTAL[code]))
    return f'"{"".join(parts)}"'


def c_string(text: str) -> str:
    """A string literal of a text in UTF-8."""
    return string_literal(text.encode())


def c_number(value: object, dtype: str) -> str:
    """A value of a type in NumPy's words as a constant of C."""
    if dtype == "float32":
        number = float(value)  # type: ignore[arg-type]
        if math.isnan(number):
            return "NAN"
        return ("-" if number < 0 else "") + "INFINITY" if math.isinf(number) else c_float(number)
    number = int(value)  # type: ignore[call-overload]
    if dtype == "int64":
        return "INT64_MIN" if number == -(2**63) else f"INT64_C({number})"
    return "INT32_MIN" if number == -(2**31) else str(number)  # -2147483648 is no constant but a negation


def c_rows(values: np.ndarray, dtype: str) -> list[str]:
    """The lines of an initializer of numbers, `(numbers,)`, each of at most 100 characters."""
    lines, line = [], ""
    for value in values.ravel().tolist():
        word = f"{c_number(value, dtype)}, "
        if len(line) + len(word) > 100:
            lines.append(line.rstrip())
            line = ""
        line += word
    return [*lines, line.rstrip(", ")]


def braces(numbers: Sequence[int]) -> str:
    """An initializer of whole numbers on one line."""
    return f"{{{', '.join(map(str, numbers))}}}"
