"""What a detail is: a frozen dataclass with a name in `artifact.json`; and the details of one result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Self, TypeVar

from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True)
class Detail:
    """One kind of thing that a stage tells about its result besides metrics. A subclass is a frozen dataclass.

    Its fields are the keys of its JSON, in their order; their types are what `from_json` holds a value to.
    """

    name: ClassVar[str]
    """Its key under `details` in `artifact.json`."""
    bare: ClassVar[bool] = False
    """Whether its JSON is the value of its only field, instead of a mapping with that field."""

    def to_json(self) -> Any:
        """What `artifact.json` keeps under the name: dicts, lists, and the numbers and texts in them as they are."""
        record = _plain(self)
        return next(iter(record.values())) if self.bare else record

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The detail of what `to_json` gave; fields with a default may be missing, and keys that are new are ignored.

        Raises:
            pydantic.ValidationError: The value is not of this kind.
        """
        return TypeAdapter(cls).validate_python({fields(cls)[0].name: value} if cls.bare else value)


D = TypeVar("D", bound=Detail)


class Details(dict[str, Any]):
    """The details of one result: what `artifact.json` has under `details`, as JSON by name, and by type with `of`.

    A user's own stage may put anything under names of its own.
    """

    @classmethod
    def gather(cls, given: Mapping[str, Any] | Iterable[Detail]) -> Details:
        """Details from what a stage gives: typed ones in their order, or JSON by name, which is kept as it is."""
        if isinstance(given, Mapping):
            return cls(given)
        return cls({detail.name: detail.to_json() for detail in given})

    def of(self, kind: type[D]) -> D | None:
        """The detail of a type; None where there is none, or where the value under its name is of another shape."""
        if kind.name not in self:
            return None
        try:
            return kind.from_json(self[kind.name])
        except ValidationError:  # a user's own stage has the word for something else
            return None


def _plain(value: Any) -> Any:
    """Dataclasses and mappings as dicts, sequences as lists, all else as it is."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
