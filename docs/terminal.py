"""Draws the screen of a command as an SVG picture.

That of the README, from the root of the repository:

    python docs/terminal.py docs/assets/demo.svg tfopt run pipelines/digits.yaml

The command is run in a folder of its own, beside a copy of the recipes, and what it leaves on the screen is
drawn.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 104
# Lines that a pipe gets for what a terminal shows as a bar, which is gone at the end.
BAR = re.compile(r"\s*epoch \d+/\d+")
PIPELINES = Path(__file__).parents[1] / "pipelines"
# Fonts from the web, which no page fetches for an image in it.
WEB_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def screen(command: list[str]) -> str:
    """What a command prints into a terminal of `WIDTH` columns, with its colours."""
    environment = {**os.environ, "COLUMNS": str(WIDTH), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PIPELINES, Path(folder, PIPELINES.name))
        done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return "\n".join(line for line in done.stdout.rstrip().split("\n") if not BAR.match(line))


def picture(text: str, title: str) -> str:
    """The text of a terminal as SVG, under the line that was typed."""
    console = Console(width=WIDTH, record=True, file=StringIO(), force_terminal=True)
    console.print(Text(f"$ {title}", style="bold"))
    console.print(Text.from_ansi(text), no_wrap=True)
    return WEB_FONTS.sub("", console.export_svg(title="tfopt", unique_id="terminal"))


def main() -> None:
    """Runs the command and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the SVG to write")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command to run, and its arguments")
    asked = parser.parse_args()
    asked.file.write_text(picture(screen(asked.command), shlex.join(asked.command)), encoding="utf-8")


if __name__ == "__main__":
    main()
