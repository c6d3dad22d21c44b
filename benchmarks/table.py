"""What a table of results is: rows by name, each with a command of its own, and the words of that command.

    python benchmarks/TABLE.py --list
    python benchmarks/TABLE.py --row NAME [--work FOLDER] --json FILE

`--list` prints a line of JSON for each row, in the order in which they are to run. `--row` runs one row alone: what it
trains goes into the folder, where it finds it when it runs again, as other rows do; its figures go into the file.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import provenance

from tfopt import durable_files

WORK = Path("saved_models/results")


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        name: What the table calls it, with the seed where there are several.
        run: Takes the folder for what is trained; returns the figures by name and sentences on them.
        minutes: About how long it takes on two cores, with what it has to train.
        quick: Whether it is the row that stands for the table where there is little time.
    """

    name: str
    run: Callable[[Path], tuple[dict[str, Any], list[str]]]
    minutes: float
    quick: bool = False


def main(rows: list[Row], about: str) -> None:
    """The command of a table.

    Args:
        rows: Its rows, in the order in which they are to run.
        about: What `--help` says of it.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--list", action="store_true", help="print the rows, a line of JSON each")
    task.add_argument("--row", choices=[row.name for row in rows], metavar="NAME", help="run one row")
    parser.add_argument("--work", type=Path, default=WORK, help="the folder for what is trained")
    parser.add_argument("--json", type=Path, help="the file for the figures; printed if not given")
    arguments = parser.parse_args()
    if arguments.list:
        for row in rows:
            print(json.dumps({"row": row.name, "minutes": row.minutes, "quick": row.quick}))
        return
    [row] = [row for row in rows if row.name == arguments.row]
    start = time.monotonic()
    figures, notes = row.run(arguments.work)
    taken = provenance.taken(Path(sys.argv[0]), time.monotonic() - start)
    text = json.dumps({"row": row.name, "figures": figures, "notes": notes, **taken}, indent=1)
    if arguments.json is None:
        print(text)
        return
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    durable_files.write(arguments.json, text + "\n")
