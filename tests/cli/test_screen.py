"""What is shown on a terminal obeys nothing that a file says."""

import io
import re
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

import tfopt.cli
from tfopt.cli import app
from tfopt.cli.screen import print_line, print_table

MARK = "\N{REPLACEMENT CHARACTER}"


def shown(width=80):
    return Console(file=io.StringIO(), width=width)


def test_names_in_files_do_not_move_the_cursor():
    console = shown()
    print_line(console, "a\x1b[2Jb\rc\x07\nd\u009be")
    assert console.file.getvalue() == f"a{MARK}[2Jb{MARK}c{MARK}\nd{MARK}e\n"
    console = shown()
    print_table(console, ("op", "bytes"), [("evil\x1b]0;title\x07", "3")], left=1)
    assert "\x1b" not in console.file.getvalue()
    assert f"evil{MARK}]0;title" in console.file.getvalue()


def test_a_line_is_neither_markup_nor_broken():
    console = shown(width=10)
    print_line(console, "[bold]a line of [red]more than ten characters")
    assert console.file.getvalue() == "[bold]a line of [red]more than ten characters\n"


def test_every_command_prints_its_lines_in_this_way():
    raw = re.compile(r"\.print\(f?\"|highlight=False")
    files = Path(tfopt.cli.__file__).parent.glob("*.py")
    assert [file.name for file in files if raw.search(file.read_text())] == ["screen.py"]


@pytest.mark.parametrize("command", sorted(typer.main.get_command(app).commands))
def test_no_word_of_help_is_cut_on_a_terminal_of_80_columns(command):
    told = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert told.exit_code == 0
    assert "\N{HORIZONTAL ELLIPSIS}" not in told.output
