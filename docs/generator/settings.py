"""Tables of settings: types, defaults, bounds and meanings, all as the JSON schema of recipes has them."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfopt.recipe.settings import Settings, either

from .page import docstring, joined, link, plain, table

_HEADERS = ("setting", "type", "default", "what it is")
_BOUNDS = {"minimum": "≥", "ge": "≥", "exclusiveMinimum": ">", "maximum": "≤", "le": "≤", "exclusiveMaximum": "<"}
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "object": "mapping",
}
Folders = Mapping[tuple[str, ...], str]
# Entries of a registry that a cell of the table names one by one.
_NAMED = 8


class SettingsTables:
    """The tables of the settings of one class, and of those inside of it.

    Args:
        page: Path of the page that they are on.
        folders: The folders with the pages of registries' entries, by the names of all entries.
    """

    def __init__(self, page: str, folders: Folders):
        self.page, self.folders = page, folders

    def rows(
        self, settings: type[Settings], names: Iterable[str], prefix: str = "", schema: dict[str, Any] | None = None
    ) -> str:
        """The table of some settings of a class.

        Args:
            settings: The class.
            names: The settings, in the order of the table.
            prefix: What the anchors begin with; without it they are the names of the settings.
            schema: Their JSON schema, if not the one that the class makes.
        """
        schema = schema or settings.model_json_schema()
        required = schema.get("required", ())
        rows = []
        for name in names:
            node, anchor = schema["properties"][name], f"{prefix}{name}"
            words = " ".join([self._type(node), *self._inside(settings, name)])
            default = "required" if name in required else _default(node.get("default"))
            rows.append((f"[`{name}`](#{anchor}){{#{anchor}}}", words, default, _about(name, node)))
        return table(_HEADERS, rows)

    def inside(self, settings: type[Settings], names: Iterable[str]) -> str:
        """The tables of the settings that some settings of a class are made of, each under a heading."""
        parts: list[str] = []
        for inner in dict.fromkeys(one for name in names for one in inner_settings(settings, name)):
            name, about = inner.__name__, docstring(inner.__doc__)
            parts += [f"## {name} {{#{_anchor(inner)}}}", about, self.rows(inner, written(inner), f"{name.lower()}-")]
        return joined(*parts).strip()

    def _inside(self, settings: type[Settings], name: str) -> list[str]:
        return [f"([{one.__name__}](#{_anchor(one)}))" for one in inner_settings(settings, name)]

    def _type(self, node: Mapping[str, Any]) -> str:
        """The type that a part of a schema describes, in words for one who writes YAML."""
        if "anyOf" in node:
            bounds = {key: value for key, value in node.items() if key in _BOUNDS}
            each = [self._type({**bounds, **one}) for one in node["anyOf"] if one.get("type") != "null"]
            return either(dict.fromkeys(each))
        if "enum" in node:
            return self._choice(node["enum"])
        if "const" in node:
            return f"`{_yaml(node['const'])}`"
        if node.get("type") == "array":
            return self._list(node)
        kind = _TYPES.get(node.get("type", ""), "mapping" if "$ref" in node else "any")
        return ", ".join([kind, *(f"{sign} {node[key]:g}" for key, sign in _BOUNDS.items() if key in node)])

    def _choice(self, values: Iterable[Any]) -> str:
        """One of some values; those that are all entries of a registry are links to their pages."""
        values = tuple(values)
        folder = self.folders.get(values)
        if folder is None:
            return either(f"`{_yaml(value)}`" for value in values)
        if len(values) > _NAMED:
            return link(f"one of {len(values)}", f"{folder}index.md", self.page)
        return either(link(f"`{value}`", f"{folder}{file_of(value)}", self.page) for value in values)

    def _list(self, node: Mapping[str, Any]) -> str:
        if "prefixItems" in node:
            return f"list of {len(node['prefixItems'])}: {', '.join(map(self._type, node['prefixItems']))}"
        items = node.get("items", {})
        return "list of mappings" if "$ref" in items else f"list of {self._type(items)}" if items else "list"


def written(settings: type[Settings]) -> list[str]:
    """The settings that one writes, in the order of the class."""
    shown = settings.model_json_schema()["properties"]
    return [name for name in settings.setting_names() if name in shown]


def inner_settings(settings: type[Settings], name: str) -> list[type[Settings]]:
    """The classes of settings that a setting is made of."""
    field = settings.model_fields.get(name)
    found = _parts(field.annotation) if field else ()
    return [one for one in found if isinstance(one, type) and issubclass(one, Settings)]


def _anchor(inner: type[Settings]) -> str:
    return f"{inner.__name__.lower()}-settings"


def file_of(entry: str) -> str:
    """The file of an entry's page: its name, with letters for signs that do not belong into an address."""
    return f"{entry.replace('+', 'p')}.md"


def _parts(annotation: Any) -> Iterator[Any]:
    """An annotation, and all types that it is made of."""
    yield annotation
    for part in typing.get_args(annotation):
        yield from _parts(part)


def _about(name: str, node: Mapping[str, Any]) -> str:
    """What a setting is, and what each of its words means."""
    said = plain(node.get("description", ""))
    if node.get("examples") and "such as" not in said:
        said += f" Written as in `{name}: {_yaml(node['examples'][0])}`."
    options = [one for one in (node, *node.get("anyOf", ())) if "enumDescriptions" in one]
    meanings = [
        f"`{word}`: {plain(about.rstrip('.'))}."
        for option in options
        if len(option["enum"]) <= _NAMED
        for word, about in zip(option["enum"], option["enumDescriptions"], strict=True)
    ]
    return "<br>".join([said, *meanings])


def _default(value: Any) -> str:
    return "not set" if value is None else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace('"', "")
