"""Names of inputs and outputs as identifiers that every language takes."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

# Words of Python, C++ and Kotlin, and the names that the snippets have for things of their own.
_WORDS = """
    alignas alignof and as asm auto bitand bitor bool break by case catch char class companion compl concept const
    constexpr constructor continue crossinline data default delegate delete do double else enum explicit export extern
    external false field file final finally float for fun friend get goto if import in infix init inline inner inputs
    int interface internal is it lateinit lateral long main model mutable namespace new noinline not null object open
    operator or out outer override package private protected public raw register reified requires return run sealed
    self set setparam short signed sizeof static std struct super suspend switch tailrec template this throw true try
    typealias typedef typeid typename typeof union unsigned using val value var vararg virtual void volatile when
    where while xor arena buffer classes dequantize feed fetch i interpreter largest made np ops outputs predict
    quantize runner score snippet tflite
"""
_TAKEN = frozenset(_WORDS.split()).union(keyword.kwlist)
# Endings of the variables that a snippet makes of an identifier.
_ENDINGS = ("_class", "_data", "Bytes", "Class", "Raw")


def identifiers(names: Iterable[str], camel: bool = False, avoid: Iterable[str] = ()) -> dict[str, str]:
    """An identifier of its own for each name: the name itself where it is one, else the nearest to it.

    Args:
        names: Names of inputs or outputs.
        camel: Words run together, `soundLeft`, instead of joined by `_`.
        avoid: Identifiers that are taken already.
    """
    found: dict[str, str] = {}
    avoided = set(avoid)
    for name in names:
        wanted = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")
        wanted = wanted if wanted[:1].isalpha() else f"tensor_{wanted}".rstrip("_")
        if camel:
            wanted = re.sub(r"_+(\w)", lambda letter: letter[1].upper(), wanted)
        if wanted in _TAKEN or wanted.endswith(_ENDINGS):
            wanted += "Tensor" if camel else "_tensor"
        taken, number, free = {*found.values(), *avoided}, 2, wanted
        while free in taken:
            free, number = f"{wanted}{'' if camel else '_'}{number}", number + 1
        found[name] = free
    return found
