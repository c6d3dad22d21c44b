"""The inputs and outputs of a file in words, for people who write the code around it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from tfopt.recipe.details.usage import TensorUsage, Usage


def streaming(usage: Usage, reset: str) -> list[str]:
    """A comment's line on a file that takes a sequence in pieces; none for any other.

    Args:
        usage: How the file is fed and read.
        reset: The call that begins a new sequence.
    """
    line = f"The file carries a sequence on from run to run: call {reset} where a new one begins, and not before."
    return [line] if usage.streams else []


def shape(end: TensorUsage) -> str:
    """A shape such as `1x28x28x1`; `any` where a dimension is of any size."""
    return "x".join("any" if size < 0 else str(size) for size in end.shape) or "a single number"


def grid(end: TensorUsage) -> str:
    """Scale and zero point of a quantized tensor, such as `scale 0.003921569, zero point -128`; else empty."""
    return f"scale {decimal(end.scale)}, zero point {end.zero_point}" if end.quantized else ""


def input_meaning(end: TensorUsage) -> str:
    """What the numbers of an input are, such as `round(x / 0.00392) - 128, clipped to -128..127; x from 0 to 1`."""
    if not end.quantized:
        return "ids or counts as the model takes them" if _whole(end) else "x as the model takes it"
    low, high = end.limits
    shift = f" {'-' if end.zero_point < 0 else '+'} {abs(end.zero_point)}" if end.zero_point else ""
    least, most = end.range
    divided = "x" if end.scale == 1 else f"x / {decimal(end.scale)}"
    return f"round({divided}){shift}, clipped to {low}..{high}; x from {least:.4g} to {most:.4g}"


def output_meaning(end: TensorUsage) -> str:
    """What the numbers of an output are, such as `x = 0.00390625 * (q + 128); x from 0 to 0.9961`."""
    if not end.quantized:
        return "whole numbers" if _whole(end) else "x as the model gives it"
    inner = f"(q {'+' if end.zero_point < 0 else '-'} {abs(end.zero_point)})" if end.zero_point else "q"
    least, most = end.range
    scaled = inner if end.scale == 1 else f"{decimal(end.scale)} * {inner}"
    return f"x = {scaled}; x from {least:.4g} to {most:.4g}"


def decision(end: TensorUsage) -> str:
    """How an output decides on a class, in words; empty where it does not."""
    rule = end.decides
    if rule is None:
        return ""
    if rule.rule == "largest":
        words = f"the class, 0 to {rule.count - 1}, is the place of the largest number"
        return words + ("; integers are compared as they are" if end.quantized else "")
    threshold = f"{rule.threshold:g}"
    return (
        f"above {threshold} is yes" if rule.count == 1 else f"each of {rule.count} classes above {threshold} is a yes"
    )


def input_words(end: TensorUsage) -> str:
    """Shape and meaning of an input, with what the model does to it."""
    inside = "".join(f"; the model itself {step}" for step in end.preparation)
    return f"{shape(end)}, {end.dtype} in the file: {input_meaning(end)}{inside}"


def output_words(end: TensorUsage) -> str:
    """Shape and meaning of an output, with how it decides on classes."""
    said = "; ".join(filter(None, (output_meaning(end), decision(end))))
    return f"{shape(end)}, {end.dtype} in the file: {said}"


def wrapped(words: str, first: str, rest: str | None = None) -> str:
    """Words in lines of at most 110 characters: the first begins with `first`, the others with `rest`."""
    return textwrap.fill(
        words,
        110,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def comment_text(text: str) -> str:
    """A text that is safe in a comment to the end of the line: no line break, and no backslash that joins lines."""
    return "".join(letter if letter.isprintable() and letter != "\\" else "_" for letter in text)


def described(found: Usage) -> Iterator[tuple[str, str, str]]:
    """Rows of side, name with type and shape, and meaning of every input and output."""
    for end in found.inputs:
        said = [input_meaning(end), *(f"the model itself {step}" for step in end.preparation)]
        yield "in", f"{end.name}: {end.dtype} {shape(end)}", "; ".join(said)
    for end in found.outputs:
        said = [output_meaning(end), decision(end)]
        yield "out", f"{end.name}: {end.dtype} {shape(end)}", "; ".join(filter(None, said))


def decimal(scale: float) -> str:
    """A float32 in the fewest digits that give it back exactly."""
    import numpy as np

    return str(np.float32(scale))


def _whole(end: TensorUsage) -> bool:
    return "int" in end.dtype
