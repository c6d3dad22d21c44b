"""Pages of the commands of `tfopt`, made from the objects that parse them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import typer

from tfopt.cli import app

from .page import Page, joined, link, plain, table

FOLDER = "reference/commands/"
_TYPES = {"str": "text", "int": "whole number", "float": "number", "Path": "path"}


def known_commands() -> dict[str, Any]:
    """The commands by name, in the order of the help."""
    group: Any = typer.main.get_command(app)
    for command in group.commands.values():
        command.name_entries()
    return dict(group.commands)


def command_pages() -> Iterator[Page]:
    """A page for each command, after one with the list of them."""
    group: Any = typer.main.get_command(app)
    commands = known_commands()
    index = f"{FOLDER}index.md"
    rows = [
        (link(f"`tfopt {name}`", f"{FOLDER}{name}.md", index), plain(_first(one))) for name, one in commands.items()
    ]
    parts = (plain(group.help), table(("command", "what it does"), rows), _options(group))
    codes = link("exit codes", "reference/exit-codes.md", index)
    yield Page(index, "Commands", joined("# Commands", *parts, f"Every command ends with one of the {codes}."))
    for name, command in commands.items():
        yield Page(f"{FOLDER}{name}.md", name, _text(name, command))


def _text(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    places = " ".join(_place(one) for one in arguments)
    given = table(("argument", "what it is"), [(f"`{_place(one)}`", plain(one.help or "")) for one in arguments])
    usage = f"```text\ntfopt {name} {places} [OPTIONS]\n```"
    return joined(f"# tfopt {name}", *map(plain, command.help.split("\n\n")), usage, given, _options(command))


def _first(command: Any) -> str:
    return command.help.partition("\n\n")[0]


def _place(argument: Any) -> str:
    word = argument.display_name_raw.upper() + (" ..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _options(command: Any) -> str:
    """The table of a command's options."""
    rows = []
    for one in command.params:
        if one.param_type_name == "option" and not one.hidden:
            names = ", ".join(f"`{word}`" for word in (*one.opts, *one.secondary_opts))
            rows.append((f"{names}{{#{one.opts[0].lstrip('-')}}}", _value(one), _default(one), plain(one.help or "")))
    return table(("option", "value", "default", "what it is"), rows)


def _value(option: Any) -> str:
    """What stands behind an option, in words; nothing where it is a switch."""
    if option.is_flag:
        return ""
    kind = option.bare_type().removeprefix("list[").removesuffix("]")
    bounds = [f"{sign} {end:g}" for sign, end in (("≥", option.min), ("≤", option.max)) if end is not None]
    return ", ".join([_TYPES.get(kind, kind), *bounds, *(["may be repeated"] if option.multiple else [])])


def _default(option: Any) -> str:
    if option.required:
        return "required"
    shown = isinstance(option.default, str | int | float | PurePath) and not option.is_flag
    return f"`{option.default}`" if shown else ""
