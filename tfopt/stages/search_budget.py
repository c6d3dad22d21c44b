"""The budget of a search: the most that a file may cost, in itself and on its target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails

from tfopt.recipe.figure import Figure
from tfopt.recipe.settings import OneOf, Settings
from tfopt.recipe.sizes import Bytes
from tfopt.recipe.target import TARGETS, Target, measured_figures

# Limits that hold for any file, on whatever target.
OF_ANY_FILE = ("raw_bytes", "gzip_bytes", "milliseconds")


def _time(unit: str) -> BeforeValidator:
    def checked(value: Any) -> Any:
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf):
            return value
        raise ValueError(f"is a number of {unit} above 0, such as 2, without a unit. Received: {value!r}")

    return BeforeValidator(checked)


Milliseconds = Annotated[
    float | None, _time("milliseconds"), WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]})
]
# What a limit is by the unit of its figure.
_BY_UNIT: dict[str, TypeAdapter[Any]] = {
    "bytes": TypeAdapter(Bytes),
    "milliseconds": TypeAdapter(Milliseconds),
    **{unit: TypeAdapter(Annotated[float, _time(unit)]) for unit in ("seconds", "microseconds")},
    **{unit: TypeAdapter(Annotated[int, Field(gt=0)]) for unit in ("cycles", "operators")},
    "": TypeAdapter(Annotated[float, Field(gt=0, allow_inf_nan=False)]),
}


def size_names(targets: Iterable[Target]) -> list[str]:
    """The sizes that a search can want small: those of any file, and those of targets, `flash` for `flash_bytes`."""
    figures = [figure for target in targets if target.cost is not None for figure in target.figures.values()]
    own = [one.name.removesuffix("_bytes") for one in figures if one.kind == "size" and one.name.endswith("_bytes")]
    return list(dict.fromkeys(["raw", "gzip", *own]))


class _Sizes(Mapping[str, str]):
    """The sizes by name, of the targets that there are."""

    def __getitem__(self, name: str) -> str:
        return {size: f"{size}_bytes" for size in size_names(TARGETS.values())}[name]

    def __iter__(self) -> Iterator[str]:
        return iter(size_names(TARGETS.values()))

    def __len__(self) -> int:
        return len(size_names(TARGETS.values()))


SizeName = Annotated[str, OneOf(_Sizes())]


class SearchBudget(Settings):
    """The most that the file may cost: in itself, and in any figure that the target measures (`tfopt devices NAME`)."""

    model_config = ConfigDict(extra="allow")

    raw_bytes: Bytes = None
    """Its size: a number, or such as 64 KB (64,000) or 64 KiB (65,536)."""
    gzip_bytes: Bytes = None
    """Its size after gzip -9, which is what zeros and shared values make smaller."""
    milliseconds: Milliseconds = None
    """The median time of a run on LiteRT, one thread, on this machine."""

    @classmethod
    def setting_names(cls) -> list[str]:
        """What can be limited, on one target or another."""
        return [*cls.model_fields, *measured_figures()]

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        made = handler(schema)
        found = handler.resolve_ref_schema(made)
        found["properties"] |= {name: _schema(figure) for name, figure in measured_figures().items()}
        found["additionalProperties"] = False
        return made

    @model_validator(mode="before")
    @classmethod
    def _on_targets(cls, given: Any) -> Any:
        """Checks the limits on what targets measure, each by the unit of its figure."""
        if not isinstance(given, Mapping):
            return given
        known, found = measured_figures(), dict(given)
        problems: list[InitErrorDetails] = []
        for name in [name for name in given if name not in cls.model_fields]:
            value = found.pop(name)
            if name not in known:
                problems.append(InitErrorDetails(type="extra_forbidden", loc=(name,), input=value))
            elif value is not None:
                try:
                    found[name] = _BY_UNIT[known[name].unit].validate_python(value)
                except ValidationError as error:
                    [first, *_] = error.errors(include_url=False)
                    problems.append(
                        InitErrorDetails(type=first["type"], loc=(name,), input=value, ctx=first.get("ctx", {}))
                    )
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return found

    @model_validator(mode="after")
    def _limits_something(self) -> SearchBudget:
        if not self.limits():
            raise ValueError(
                "within takes raw_bytes, gzip_bytes or milliseconds, or what the target measures. Write one of them"
            )
        return self

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name, those on what a target measures in the order of their names."""
        own = {name: value for name in OF_ANY_FILE if (value := getattr(self, name)) is not None}
        return own | self.on_device()

    def on_device(self) -> dict[str, float]:
        """The limits on what a target measures, by name."""
        return dict(sorted((self.model_extra or {}).items()))


def _schema(figure: Figure) -> dict[str, Any]:
    """What an editor is told of a limit."""
    return {**_BY_UNIT[figure.unit].json_schema(), "description": figure.about or f"{figure.title}."}
