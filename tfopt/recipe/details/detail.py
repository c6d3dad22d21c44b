"""The base class of details (frozen dataclasses with a name in `artifact.json`), and the details of one result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, ClassVar, Self, TypeVar

from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True)
class Detail:
    """One kind of information on a stage's result besides metrics. A subclass is a frozen dataclass.

    Its fields are the keys of its JSON, in their order; `from_json` checks values against their types.
    """

    name: ClassVar[str]
    """Its key under `details` in `artifact.json`."""
    bare: ClassVar[bool] = False
    """Whether its JSON is the value of its only field, instead of a mapping with that field."""

    def to_json(self) -> Any:
        """The JSON for `artifact.json`: dicts and lists of plain numbers and strings."""
        record = _plain(self)
        return next(iter(record.values())) if self.bare else record

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The detail from its JSON; fields with a default may be missing, and unknown keys are ignored.

        Raises:
            pydantic.ValidationError: The value is not of this kind.
        """
        kind: Any = cls
        return _adapter(kind).validate_python({fields(cls)[0].name: value} if cls.bare else value)


D = TypeVar("D", bound=Detail)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """What checks values of a kind, made once: a report reads each detail many times."""
    return TypeAdapter(kind)


class Details(dict[str, Any]):
    """The details of one result, `details` in `artifact.json`: JSON by name, and typed with `of`.

    A user's own stage may put anything under names of its own.
    """

    @classmethod
    def gather(cls, given: Mapping[str, Any] | Iterable[Detail]) -> Details:
        """Details from typed ones, in their order, or from JSON by name, which is kept as it is."""
        if isinstance(given, Mapping):
            return cls(given)
        return cls({detail.name: detail.to_json() for detail in given})

    def of(self, kind: type[D]) -> D | None:
        """The detail of a type; None where there is none, or where the value under its name is of another shape."""
        if kind.name not in self:
            return None
        try:
            return kind.from_json(self[kind.name])
        except ValidationError:  # a user's own stage uses the name for something else
            return None


def _plain(value: Any) -> Any:
    """Dataclasses and mappings as dicts, sequences as lists, all else as it is."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
