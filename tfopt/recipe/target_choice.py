"""The types of settings that name a target, with or without its options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic_core import core_schema

from tfopt.recipe.settings import OneOf
from tfopt.recipe.target import TARGETS, Target, similar_targets


class _TargetName(OneOf):
    """The annotation of a setting that names a target, or names it with its options: `{name: {option: value}}`."""

    def expected(self, value: Any) -> str:
        """The targets that are meant, or all of them."""
        near = similar_targets(value)
        return (
            f"{', '.join(map(repr, near))}, or another that `tfopt devices` lists" if near else super().expected(value)
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        named = super().__get_pydantic_json_schema__(schema, handler)
        able = {
            name: {"type": "object", "properties": {option: {"enum": list(values)} for option, values in found.items()}}
            for name, found in ((target.name, target.options) for target in TARGETS.values())
            if found
        }
        if not able:
            return named
        with_options = {"type": "object", "properties": able, "additionalProperties": False, "maxProperties": 1}
        return {"anyOf": [named, with_options]}


_NAME = _TargetName(TARGETS)
# The name of a target in settings whose options are in `target_options`.
TargetName = Annotated[str, _NAME]


class Options(Mapping[str, str]):
    """Options of a target by name: a mapping that cannot be changed, so that settings with one are hashable."""

    def __init__(self, given: Mapping[str, str] | None = None):
        self._given = dict(given or {})

    def __getitem__(self, name: str) -> str:
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def __hash__(self) -> int:
        return hash(frozenset(self._given.items()))

    def __repr__(self) -> str:
        return repr(self._given)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        words = core_schema.dict_schema(core_schema.str_schema(), core_schema.str_schema())
        written = core_schema.plain_serializer_function_ser_schema(dict, return_schema=words)
        return core_schema.no_info_after_validator_function(cls, words, serialization=written)


NO_OPTIONS = Options()


@dataclass(frozen=True)
class TargetChoice:
    """A target and its options, in settings written as `name` or `{name: {option: value}}`.

    Args:
        name: The target's name.
        options: Its options.
    """

    name: str
    options: Options = NO_OPTIONS

    @property
    def target(self) -> Target:
        """The target."""
        return TARGETS[self.name]

    @property
    def written(self) -> str | dict[str, dict[str, str]]:
        """What a recipe says."""
        return {self.name: dict(self.options)} if self.options else self.name

    @classmethod
    def of(cls, written: Any) -> TargetChoice:
        """The choice that a recipe writes.

        Raises:
            ValueError: It is no name, or one name with its options, or no such target or option.
        """
        if isinstance(written, TargetChoice):
            return written
        name, options = _name_and_options(written) if isinstance(written, Mapping) else (written, {})
        known = _NAME.check(name)
        for sentence in TARGETS[known].wrong_options(options):
            raise ValueError(sentence)
        return cls(known, Options(options))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(lambda choice: choice.written, when_used="json")
        return core_schema.no_info_plain_validator_function(cls.of, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return _NAME.__get_pydantic_json_schema__(schema, handler)


def _name_and_options(written: Mapping[Any, Any]) -> tuple[Any, dict[str, str]]:
    name, options = next(iter(written.items()), (None, None))
    if len(written) != 1 or not isinstance(options or {}, Mapping):
        example = "{ethos-u55-128: {memory: Sram_Only}}"
        raise ValueError(f"target is a name, or one name with its options, as in {example}. Received: {written!r}")
    return name, dict(options or {})


def options_with_name(given: Any) -> Any:
    """Settings as they are written: `target: {name: {option: value}}` becomes the name and `target_options`."""
    written = given.get("target") if isinstance(given, Mapping) else None
    if isinstance(written, TargetChoice):
        written = {written.name: written.options}
    if not isinstance(written, Mapping):
        return given
    name, options = _name_and_options(written)
    if given.get("target_options"):
        raise ValueError("target_options are written once: with the name of the target, or beside it")
    return {**given, "target": name, "target_options": options}
