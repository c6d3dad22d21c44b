"""The lines and the code with which commands say how a `.tflite` is fed and read."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfopt.recipe.details.usage import Usage


def usage_lines(found: Usage, file: Path) -> Iterator[str]:
    """What each input takes and each output gives, and the command that prints the code."""
    from tfopt.deployment.snippet import SNIPPETS
    from tfopt.deployment.words import described

    for side, name, meaning in described(found):
        yield f"{side:4} {name}: {meaning}"
    able = [name for name, entry in SNIPPETS.items() if not entry.reason(found)]
    first = "python" if "python" in able or not able else able[0]
    others = ", ".join(name for name in able if name != first)
    rest = f"or {others}" if others else "no other language"
    yield f"code tfopt inspect {shlex.quote(str(file))} --snippet {first}; {rest}"


def conversion_lines(content: bytes, preparation: Mapping[str, tuple[str, ...]], file: Path) -> Iterator[str]:
    """`usage_lines` of a file that was just converted."""
    from tfopt.deployment.file_usage import usage

    return usage_lines(usage(content, preparation), file)


def print_snippet(file: Path, language: str) -> None:
    """Prints the code for a file, and nothing else.

    Raises:
        InputError: There is no such language, or the file is no `.tflite`, or there is no code for it.
    """
    from tfopt.deployment.snippet import chosen_language, snippet
    from tfopt.errors import InputError
    from tfopt.models.stored_model import FILES

    chosen_language(language)
    if not file.is_file() or file.suffix in FILES:
        raise InputError(f"there is code for a .tflite file alone: convert the model first. Received: {file}.")
    sys.stdout.write(snippet(file, language))
