"""The base class of all settings: a frozen pydantic model whose errors are sentences."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticKnownError, core_schema

from tfopt.errors import Location, RecipeError, did_you_mean, nearest

# The type of a pydantic error that carries problems of its own: (location, sentence) pairs.
PROBLEMS = "tfopt_problems"
# The types of a pydantic error over something else than a list or a dict.
_SHAPES = {"tuple_type", "list_type", "dict_type", "model_type", "missing", "too_long", "too_short"}
# What a value has to be by the type of pydantic's error, without its ending.
_RULES = {
    "float": "is a number, such as 0.1",
    "int": "is a whole number",
    "int_from_float": "is a whole number",
    "bool": "is true or false",
    "string": "is a word",
    "finite_number": "is a finite number",
    "greater_than": "is above {gt:g}",
    "greater_than_equal": "is {ge:g} or above",
    "less_than": "is below {lt:g}",
    "less_than_equal": "is {le:g} or below",
    "literal_error": "is {expected}",
    "dict": "is a mapping, such as {{name: value}}",
    "too_short": "is a list with {min_length} or more in it",
    "string_too_long": "has {max_length} characters at most",
    "string_pattern_mismatch": "is made of letters, digits, dots, hyphens and underscores, the first a letter or digit",
}
# The docstring entry for `**settings`, with its continuation lines.
_SETTINGS_LINE = re.compile(r"^( +)\*\*settings: .*\n(?:\1 +.*\n)*", re.MULTILINE)
# A name among those that a value may be.
_QUOTED = re.compile(r"'([^']*)'")
_PERCENT = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*%\s*")
C = TypeVar("C")
_inside: ContextVar[bool] = ContextVar("_inside", default=False)


def one_is_a_list(value: Any) -> Any:
    """A word as the list of it, for settings that take one or several; any other value as it is."""
    return (value,) if isinstance(value, str) else value


# Layer patterns: one, or several.
Patterns = Annotated[
    tuple[str, ...],
    BeforeValidator(one_is_a_list),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class OneOf:
    """The annotation of a setting that names an entry of a registry: `Annotated[str, OneOf(ALLOCATIONS)]`.

    Values are checked, and the JSON schema is made, against the entries of the registry at that time.
    """

    def __init__(self, registry: Mapping[str, Any]):
        self.registry = registry

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.check, serialization=core_schema.to_string_ser_schema(when_used="json-unless-none")
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        meanings = list(self.meanings().values())  # editors show them beside the names
        return {"type": "string", "enum": list(self.registry)} | ({"enumDescriptions": meanings} if meanings else {})

    def meanings(self) -> dict[str, str]:
        """The `about` of each entry by name, where the registry's entries have one."""
        return {name: entry.about for name, entry in self.registry.items() if hasattr(entry, "about")}

    def check(self, value: Any) -> str:
        """The name itself, if it is one of an entry."""
        if isinstance(value, str) and value in self.registry:
            return value
        raise PydanticKnownError("literal_error", {"expected": self.expected(value)})

    def expected(self, value: Any) -> str:
        """What a wrong value had to be, in a few words."""
        return either(map(repr, self.registry))


def either(words: Iterable[str]) -> str:
    """Joins alternatives: `a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


@contextlib.contextmanager
def on_its_own() -> Iterator[None]:
    """Lets settings built in the block raise their own `RecipeError`, even while outer settings are being built."""
    token = _inside.set(False)
    try:
        yield
    finally:
        _inside.reset(token)


class Settings(BaseModel):
    """Named settings. Unknown names and impossible values raise a `RecipeError` of one line each."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True)

    @classmethod
    def setting_names(cls) -> list[str]:
        """The names of the settings."""
        return list(cls.model_fields)

    def __new__(cls, *given: Any, **values: Any) -> Self:
        """Refuses values without a name, of which Python would speak as arguments."""
        if given:
            fields = list(cls.model_fields)
            first = next((name for name, field in cls.model_fields.items() if field.is_required()), fields[0])
            raise RecipeError(
                f"{cls.__name__} takes its settings by name: {cls.__name__}({first}=...). Received: {given[0]!r:.80}."
            )
        return super().__new__(cls)

    def __init__(self, /, **values: Any):
        outermost = not _inside.get()
        token = _inside.set(True)
        try:
            super().__init__(**values)
        except ValidationError as error:
            if not outermost:
                raise
            problems = [p for e in error.errors(include_url=False) for p in self._problems(e)]
            raise RecipeError(list(dict.fromkeys(problems))) from None
        finally:
            _inside.reset(token)

    @model_validator(mode="wrap")
    @classmethod
    def _of_named_values(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Takes a number for the name of a setting as text, which is no setting: names are Python's arguments."""
        if isinstance(given, Mapping) and not all(isinstance(name, str) for name in given):
            given = {str(name): value for name, value in given.items()}
        return handler(given)

    @classmethod
    def _problems(cls, error: Any) -> list[tuple[Location, str]]:
        if error["type"] == PROBLEMS:
            return error["ctx"]["problems"]
        return [cls._problem(error)]

    @classmethod
    def _problem(cls, error: Any) -> tuple[Location, str]:
        location: Location = tuple(error["loc"])
        owner = getattr(cls, "kind", cls.__name__.lower())
        field = ".".join([owner, *(str(part) for part in location)])
        received = error["input"]
        if error["type"] == "extra_forbidden":
            known = _fields_at(cls, location[:-1])
            inside = ".".join([owner, *(str(part) for part in location[:-1])])
            return location, f"{inside} has no field {location[-1]!r}. {did_you_mean(location[-1], known)}"
        if error["type"] == "missing":
            return location, f"{field} is missing. Write a value for it."
        if sentence := _percent(owner, location, error):
            return sentence
        message = error["msg"].removeprefix("Value error, ").rstrip(".")
        if error["type"] == "value_error":
            link = " " if message.startswith("is ") else ": "
            return location, f"{field}{link}{message}{'' if message.endswith('?') else '.'}"
        about = cls.model_fields.get(str(location[0])) if len(location) == 1 else None
        if error["type"] in _SHAPES and about is not None and about.examples:
            example = json.dumps(about.examples[0]).replace('"', "")
            return location, f"{field} is written as in {location[0]}: {example}. Received: {received!r:.200}."
        hint = " Write a fraction, such as 0.8 for 80%." if error.get("ctx", {}).get("lt") == 1 else ""
        if error["type"] == "literal_error":
            expected = error["ctx"].get("expected", "")
            # Where it ends in other words, the names in it are those that are meant.
            near = nearest(received, _QUOTED.findall(expected)) if expected.endswith("'") else None
            hint = f" Did you mean {near!r}?" if near else ""
        if words := rule(error):
            return location, f"{field} {words}. Received: {received!r:.200}.{hint}"
        return location, f"{field}: {message}. Received: {received!r:.200}.{hint}"


def rule(error: Mapping[str, Any]) -> str | None:
    """What a value has to be, in words for one who writes YAML; None where pydantic's own words have to do.

    Args:
        error: One of the errors of a pydantic `ValidationError`.
    """
    words = _RULES.get(error["type"].removesuffix("_type").removesuffix("_parsing"))
    if words is None or (error["type"] == "literal_error" and "expected" not in error["ctx"]):
        return None
    return words.format(**error.get("ctx", {}))


def _percent(owner: str, location: Location, error: Any) -> tuple[Location, str] | None:
    """The problem of a percentage in the place of a fraction; None for any other."""
    one_of_two = location[-1:] in (("int",), ("float",))  # the field takes either, and has an error for each
    if error["type"] != "float_parsing" and not (error["type"] == "int_parsing" and one_of_two):
        return None
    if (match := _PERCENT.fullmatch(str(error["input"]))) is None:
        return None
    location = location[:-1] if one_of_two else location
    field = ".".join([owner, *(str(part) for part in location)])
    fraction = f"{float(match[1]) / 100:g}"
    written = fraction if "." in fraction or "e" in fraction else f"{fraction}.0"
    return location, f"{field} is a fraction: write {written} for {match[0].strip()}. Received: {error['input']!r}."


def _fields_at(owner: type[BaseModel], location: Location) -> list[str]:
    """The field names of the settings nested in `owner` at `location`."""
    for part in location:
        field = owner.model_fields.get(str(part))
        inner = field.annotation if field else None
        options = [inner, *getattr(inner, "__args__", ())]
        nested = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
        if nested:
            owner = nested[0]
    return owner.setting_names() if issubclass(owner, Settings) else list(owner.model_fields)


def takes_settings(settings: type[Settings]) -> Callable[[type[C]], type[C]]:
    """Class decorator that shows the fields of `**settings` in the constructor's signature and docstring.

    Args:
        settings: The class that the constructor builds from `**settings`. Arguments that the constructor names, and
            those that the docstring describes, stay as they are.
    """

    def shown(cls: type[C]) -> type[C]:
        signature = inspect.signature(cls.__init__)
        named = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.annotation)
            for name, field in settings.model_fields.items()
            if name not in signature.parameters
        ]
        cls.__init__.__signature__ = signature.replace(parameters=[*named, *more])  # type: ignore[attr-defined]

        def lines(match: re.Match[str]) -> str:
            indent = match[1]
            about = {name: " ".join((field.description or "").split()) for name, field in settings.model_fields.items()}
            return "".join(
                textwrap.fill(f"{name}: {text}", 120, initial_indent=indent, subsequent_indent=f"{indent}    ") + "\n"
                for name, text in about.items()
                if f"\n{indent}{name}: " not in match.string
            )

        cls.__doc__ = _SETTINGS_LINE.sub(lines, cls.__doc__ or "")
        return cls

    return shown
