"""The type of settings that are a number of bytes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ByteSize, TypeAdapter, ValidationError, WithJsonSchema


def _bytes(value: Any) -> Any:
    try:
        count = int(TypeAdapter(ByteSize).validate_python(value)) if value is not None else None
    except ValidationError:
        count = 0
    if count is not None and (count <= 0 or isinstance(value, bool)):
        raise ValueError(f"is a number of bytes above 0, or a size such as 64 KB or 20 KiB. Received: {value!r}")
    return count


# A number of bytes, or a size with its unit.
Bytes = Annotated[
    int | None,
    BeforeValidator(_bytes),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}, {"type": "null"}]}),
]
