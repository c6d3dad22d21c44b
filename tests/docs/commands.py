"""Shell blocks: lines of commands, of which tfopt's are run or parsed in this process, and others are looked at."""

import ast
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import typer
from typer.exceptions import TyperException

from tests.docs.documents import ROOT, Block
from tfopt.cli import app

# Commands that stand in documents and are not run.
KNOWN = {
    "pip",
    "make",
    "docker",
    "git",
    "cd",
    "mkdir",
    "cp",
    "unzip",
    "cmake",
    "ctest",
    "jupyter",
    "tensorboard",
    "code",
}
# The command: its words in, what it printed and its exit code out.
Tfopt = Callable[[list[str]], tuple[int, str, str]]


def commands_of(block: Block) -> Iterator[list[str]]:
    """The commands of a block, as lists of words, without comments and prompts."""
    for line in block.text.replace("\\\n", " ").split("\n"):
        for command in line.split(" && "):
            words = shlex.split(command, comments=True)
            while words and re.fullmatch(r"\w+=.*", words[0]):
                words = words[1:]
            if words:
                yield words


def run(block: Block, tfopt: Tfopt, folder: Path) -> None:
    """Runs the lines of tfopt in a block, the last of which ends as the block says, and looks at the others.

    Args:
        block: The block.
        tfopt: Runs the command in the folder.
        folder: The folder.
    """
    commands = list(commands_of(block))
    for words in commands:
        if words[0] != "tfopt":
            look_at(words, block, folder)
            continue
        words, _, target = _redirected(words)
        code, out, err = tfopt(words[1:])
        expected = block.exit_code if words == _redirected(commands[-1])[0] else 0
        assert code == expected, f"{block.place}: {shlex.join(words)} ends with {code}:\n{err}"
        if target:
            (folder / target).write_text(out)


def parse(block: Block, folder: Path) -> None:
    """Checks that the commands of a block exist, with all their options, and runs none."""
    for words in commands_of(block):
        if words[0] != "tfopt":
            look_at(words, block, folder)
            continue
        words = _redirected(words)[0][1:]
        group = typer.main.get_command(app)
        if words[0].startswith("-"):
            known = {option for one in group.params for option in one.opts} | {"-h", "--help"}
            assert words[0] in known, f"{block.place}: tfopt has no option {words[0]}"
            continue
        command = group.commands.get(words[0])
        assert command is not None, f"{block.place}: there is no command tfopt {words[0]}"
        try:
            command.make_context(f"tfopt {words[0]}", words[1:])
        except TyperException as error:
            raise AssertionError(f"{block.place}: {shlex.join(words)}: {error.format_message()}") from error


def look_at(words: list[str], block: Block, folder: Path) -> None:
    """Checks a command that is not tfopt's: its first word is known, and what it names exists."""
    first = words[0]
    if first in ("python", "python3"):
        file = next((word for word in words[1:] if word.endswith(".py")), None)
        there = file is None or (ROOT / file).is_file() or (folder / file).is_file()
        assert there, f"{block.place}: there is no file {file}"
        return
    assert first in KNOWN, f"{block.place}: {first} is none of the commands that documents have: {sorted(KNOWN)}"
    if first == "make":
        targets = {
            word for line in re.findall(r"^([\w -]+):", (ROOT / "Makefile").read_text(), re.M) for word in line.split()
        }
        unknown = {word for word in words[1:] if "=" not in word and not word.startswith("-")} - targets
        assert not unknown, f"{block.place}: the Makefile has no {unknown}"
    if first == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        asked = {name for word in words for found in re.findall(r"\[([\w,-]+)\]", word) for name in found.split(",")}
        assert asked <= {*extras, "python"}, f"{block.place}: there is no extra {asked - extras.keys()}"


def _redirected(words: list[str]) -> tuple[list[str], str, str]:
    """The words before a `>`, and the file behind it."""
    if ">" not in words:
        return words, "", ""
    place = words.index(">")
    return words[:place], ">", words[place + 1]


def run_python(block: Block, namespace: dict, folder: Path) -> None:
    """Runs a block of Python in the namespace of its page; one with the name of a file is that file too."""
    if block.name:
        write(block, folder)
    code = ast.parse(block.text, filename=block.place)
    ast.increment_lineno(code, block.line)
    exec(compile(code, block.place, "exec"), namespace)


def write(block: Block, folder: Path) -> None:
    """Writes a block that is a file."""
    (folder / block.name).parent.mkdir(parents=True, exist_ok=True)
    (folder / block.name).write_text(block.text + "\n")
