"""Snippets: the code that feeds and reads a file, one language a file of `tfopt/deployment/snippets`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tfopt.errors import InputError, did_you_mean
from tfopt.recipe.details.usage import Usage
from tfopt.registry import Registry
from tfopt.tflite.ops import DEVICE_OPS

# Types that the languages have, by NumPy's name.
NUMBERS = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")


@dataclass(frozen=True)
class Snippet:
    """The code for a file in one language.

    Args:
        name: The language's name on the command line, such as `c++`.
        about: The language and the runtime, in a few words.
        syntax: Name of the language in Markdown's code blocks.
        write: Makes the code from a usage and the file's name.
        refuses: Makes the reason why there is no code for a file; empty where there is.
        rank: Position in lists.
    """

    name: str
    about: str
    syntax: str
    write: Callable[[Usage, str], str]
    refuses: Callable[[Usage], str] = lambda usage: ""
    rank: int = 100

    def code(self, usage: Usage, file: str) -> str:
        """The code for a file.

        Args:
            usage: How the file is fed and read.
            file: The file's name.

        Raises:
            InputError: There is no code for such a file.
        """
        if reason := self.reason(usage):
            raise InputError(f"there is no {self.name} snippet for {file}: {reason}.")
        return self.write(usage, file)

    def reason(self, usage: Usage) -> str:
        """Why there is no code for a file; empty where there is."""
        if usage.signature is None:
            return "it has no signature, so that its inputs have no names. Convert it with tfopt or TFLiteConverter"
        odd = [end for end in (*usage.inputs, *usage.outputs) if end.dtype not in NUMBERS]
        if odd:
            return f"{odd[0].name!r} is of type {odd[0].dtype}; there is code for {', '.join(NUMBERS)}"
        if self.name != "tflm" and (own := [op for op in DEVICE_OPS if op in usage.ops]):
            return f"LiteRT has no {own[0]}, and the file is for a device alone. Take the .tflite that it was made of"
        return self.refuses(usage)


SNIPPETS: Registry[Snippet] = Registry("tfopt.deployment.snippets", Snippet, "tfopt.snippets")


def snippet(source: str | Path | bytes | Usage, language: str = "python", file: str | None = None) -> str:
    """The code that feeds and reads a `.tflite`, with its names, shapes, scales and zero points filled in.

    Example:
        ```python
        print(tfopt.snippet("saved_models/digits/int8/model.tflite", "kotlin"))
        ```

    Args:
        source: The `.tflite`, its bytes, or a usage of `tfopt.inspect`.
        language: `python`, `c++`, `kotlin` or `tflm` (C++ for microcontrollers).
        file: The file's name in the code; that of `source`, or `model.tflite`, if not given.

    Raises:
        InputError: There is no such language, or no code in it for such a file.
        ModelError: The source is not a TFLite file.
    """
    chosen = chosen_language(language)
    if not isinstance(source, Usage):
        from tfopt.deployment.file_usage import recorded_usage, usage

        if isinstance(source, bytes):
            source = usage(source)
        else:
            file = file or Path(source).name
            source = recorded_usage(Path(source))
    return chosen.code(source, file or "model.tflite")


def chosen_language(language: str) -> Snippet:
    """The entry of a language.

    Raises:
        InputError: There is no such language.
    """
    if language not in SNIPPETS:
        raise InputError(f"there is no snippet in {language!r}. {did_you_mean(language, SNIPPETS)}")
    return SNIPPETS[language]
