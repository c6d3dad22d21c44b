"""Settings of kernels that a microcontroller decodes at every run, and the registry of their codings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from tfopt.recipe.settings import OneOf, Settings, one_is_a_list
from tfopt.recipe.sizes import Bytes
from tfopt.registry import Registry


@dataclass(frozen=True)
class Coding:
    """A way to store a kernel, which TFLM decodes.

    Args:
        name: The name in a recipe.
        about: What is stored, in a few words.
        encode: Makes the `targets.decoding.kernel.Encoded` of a `Kernel`; None where the kernel has no such form.
        since: Since when TFLM has its decoder.
        rank: Position in lists; of two codings of equal bytes the first one is taken.
    """

    name: str
    about: str
    encode: Callable[[Any], Any]
    since: str
    rank: int = 100


CODINGS: Registry[Coding] = Registry("tfopt.targets.decoding.codings", Coding)


class Decode(Settings):
    """How kernels are stored for a runtime that decodes them into RAM at every run."""

    ram: Bytes = None
    """The largest kernel that is decoded, in bytes of RAM: a number, or such as 16 KB; larger ones stay as they are.
    The arena grows by about the largest one that is decoded."""
    codings: Annotated[tuple[Annotated[str, OneOf(CODINGS)], ...] | None, BeforeValidator(one_is_a_list)] = None
    """The codings to choose from; all, if not given. Huffman codes take the most time to decode."""


def _given(value: Any) -> Any:
    if value is True:
        return {}
    if value is None or value is False:
        return None
    if not isinstance(value, Mapping | Decode):
        raise ValueError(f"is true, or settings such as {{ram: 16 KB}}. Received: {value!r}")
    return value


DecodeSetting = Annotated[
    Decode | None,
    BeforeValidator(_given),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "object"}, {"type": "null"}]}),
]
