"""Runs the tables of results row by row, keeps them in RESULTS.json, and writes docs/results.md from it.

    python benchmarks/results.py [--quick] [--only TABLE ...] [--again] [--work FOLDER]
    python benchmarks/results.py --list       # the rows, which are there, and about how long the others take
    python benchmarks/results.py --page       # writes the page alone
    python benchmarks/results.py --page --forget  # and drops kept rows that no table lists any more

A table is a file of this folder that answers `--list` and `--row NAME --work FOLDER --json FILE` (table.py has the
words), and a template of the same name in templates/. Every row runs in a process of its own, one after the other, and
is kept as soon as it is there: what was killed goes on with the next row, and in the row that was cut off with what it
had trained. A row that is there is not run again, unless --again asks for it. --quick runs one row of each table. A row
that its table lists no more stays in the file and is not on the page, until --forget.

What a row trains is in --work, and its figures are in rows/TABLE/ there. Figures that the row's own command has written
there are taken over if the table's file is the same to the byte; --collect takes them over in any case. What a row says
is in logs/TABLE/. The data are in the folder that TFOPT_DATA names.
"""

import argparse
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import provenance
from filelock import FileLock, Timeout
from results_page import SEED, page_of, quick_row
from table import WORK

from tfopt import durable_files, subprocesses

BENCHMARKS = Path(__file__).parent
PAGE = BENCHMARKS.parent / "docs" / "results.md"
# So many of the last lines of a row that failed are shown.
SHOWN = 15


@dataclass
class Results:
    """The rows of all tables and the figures of those that were run.

    Args:
        folder: The folder of the tables and of templates/.
        file: The file that keeps them.
        tables: By table, its rows as `--list` gives them.
        rows: By table and row, the figures and where they come from.
        environments: By a short name, the machines and versions of which the rows speak.
    """

    folder: Path
    file: Path
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, file: Path) -> "Results":
        """What a file keeps, or none if it is not there."""
        kept = json.loads(file.read_text()) if file.exists() else {}
        return cls(folder, file, **kept)

    @property
    def content(self) -> dict[str, Any]:
        """What the file keeps, with the rows in the order of their tables and then those that are listed no more."""
        rows: dict[str, dict[str, dict[str, Any]]] = {}
        for table in (*self.tables, *sorted(self.rows.keys() - self.tables.keys())):
            found, names = self.rows.get(table, {}), [one["row"] for one in self.tables.get(table, ())]
            rows[table] = {name: found[name] for name in dict.fromkeys((*names, *found)) if name in found}
        used = {row["environment"] for found in rows.values() for row in found.values()}
        environments = {name: one for name, one in sorted(self.environments.items()) if name in used}
        return {"environments": environments, "tables": self.tables, "rows": rows}

    def write(self) -> None:
        """Writes the file, whole or not at all."""
        durable_files.write(self.file, json.dumps(self.content, indent=1, ensure_ascii=False) + "\n")

    def unlisted(self) -> list[tuple[str, str]]:
        """The rows that are kept and that no table lists: of each its table and its name."""
        listed = {(table, one["row"]) for table, rows in self.tables.items() for one in rows}
        return [(table, row) for table, rows in self.rows.items() for row in rows if (table, row) not in listed]

    def forget(self, table: str, row: str) -> None:
        """Removes a row, and its table where nothing is left of it."""
        del self.rows[table][row]
        if not self.rows[table]:
            del self.rows[table]

    def ask_tables(self) -> None:
        """Asks every table that is there for its rows."""
        self.tables = {table: listed_by(self.folder / f"{table}.py") for table in found_in(self.folder)}

    def missing(self, tables: list[str], quick: bool, again: bool) -> Iterator[tuple[str, dict[str, Any]]]:
        """The rows that are to run: the table and what it says of the row."""
        for table in tables:
            listed = self.tables[table]
            for one in [quick_row(listed)] if quick and listed else listed:
                if again or one["row"] not in self.rows.get(table, {}):
                    yield table, one

    def add(self, table: str, found: dict[str, Any]) -> None:
        """Keeps the figures of a row with where they come from."""
        name = provenance.short(json.dumps(found["environment"], sort_keys=True).encode())
        self.environments[name] = found["environment"]
        seed = SEED.search(found["row"])
        self.rows.setdefault(table, {})[found["row"]] = {
            "command": command_of(table, found["row"]),
            "figures": found["figures"],
            "notes": found.get("notes", []),
            "seed": int(seed[1]) if seed else found.get("seed"),
            **{name: found[name] for name in ("seconds", "date", "code")},
            "environment": name,
        }


def found_in(folder: Path) -> list[str]:
    """The tables of a folder: files with a template of the same name."""
    return sorted(one.stem for one in (folder / "templates").glob("*.md") if (folder / f"{one.stem}.py").is_file())


def listed_by(file: Path) -> list[dict[str, Any]]:
    """The rows of a table."""
    done = subprocess.run([sys.executable, str(file), "--list"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{file.name} --list failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def command_of(table: str, row: str) -> str:
    """The command that runs a row, as one writes it in a shell."""
    return shlex.join(["python", f"benchmarks/{table}.py", "--row", row])


def file_of(work: Path, kind: str, table: str, row: str, ending: str) -> Path:
    """A file of a row in the work folder."""
    return work / kind / table / f"{re.sub(r'[^A-Za-z0-9.,%=+-]+', '_', row)}.{ending}"


def collect(results: Results, work: Path, changed: bool) -> list[str]:
    """Takes over rows whose own command has left figures in the work folder; returns a line on each.

    Args:
        results: The results.
        work: The work folder.
        changed: Whether figures count that another state of the table's file has left.
    """
    said = []
    for table, listed in results.tables.items():
        code = results.folder / f"{table}.py"
        for file in sorted((work / "rows" / table).glob("*.json")):
            found = read_row(file)
            if found is None:
                said.append(f"{table}: {file} does not hold a row; it is left out")
                continue
            row = found["row"]
            if row in results.rows.get(table, {}):
                continue
            if row not in [one["row"] for one in listed]:
                said.append(f"{table}: {row} is no row of it")
            elif changed or found.get("code") == provenance.digest(code):
                unknown = provenance.taken(code, 0, file.stat().st_mtime) | {"seconds": None, "code": None}
                results.add(table, unknown | found)
                said.append(f"{table}: {row} was there")
            else:
                said.append(f"{table}: {row} is of another state of {code.name}; --collect takes it")
    return said


def read_row(file: Path) -> dict[str, Any] | None:
    """What the command of a row has left in a file; None where it is damaged or something else."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and isinstance(found.get("row"), str) and isinstance(found.get("figures"), dict)
    return found if whole else None


def run_row(results: Results, table: str, row: str, work: Path) -> bool:
    """Runs a row in a process that ends with this one; whether it came to figures."""
    out, log = file_of(work, "rows", table, row, "json"), file_of(work, "logs", table, row, "log")
    for file in (out, log):
        file.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    code = results.folder / f"{table}.py"
    command = [sys.executable, str(code), "--row", row, "--work", str(work), "--json", str(out)]
    start = time.monotonic()
    with log.open("w") as said:
        child = subprocess.Popen(subprocesses.tied_to_this_process(command), stdout=said, stderr=said)
        with subprocesses.ended_at_exit([child]):
            child.wait()
    found = None if child.returncode else read_row(out)
    if found is None:
        lines = log.read_text(errors="replace").splitlines()[-SHOWN:]
        print(f"{table}: {row} failed:", *lines, sep="\n  ", flush=True)
        return False
    results.add(table, provenance.taken(code, time.monotonic() - start) | found)
    return True


def run_missing(results: Results, arguments: argparse.Namespace, page: Path) -> int:
    """Runs the rows that are not there; how many failed. The file and the page are written after each."""
    todo = list(results.missing(arguments.only or list(results.tables), arguments.quick, arguments.again))
    minutes = sum(one["minutes"] for _, one in todo)
    print(f"{len(todo)} rows to run, about {minutes:.0f} minutes on two cores", flush=True)
    failed = 0
    for number, (table, one) in enumerate(todo, 1):
        row = one["row"]
        print(f"{number}/{len(todo)} {command_of(table, row)}: about {one['minutes']:g} minutes", flush=True)
        if run_row(results, table, row, arguments.work):
            keep(results, page)
        else:
            failed += 1
    return failed


def keep(results: Results, page: Path) -> None:
    """Writes the file, and the page from it, in folders that are made if they are not there."""
    for file in (results.file, page):
        file.parent.mkdir(parents=True, exist_ok=True)
    results.write()
    durable_files.write(page, page_of(results.content, results.folder / "templates"))


def show(results: Results) -> None:
    """Prints every row and whether it is there."""
    for table, listed in results.tables.items():
        for one in listed:
            there = "there" if one["row"] in results.rows.get(table, {}) else f"about {one['minutes']:g} minutes"
            print(f"{table}: {one['row']}: {there}{', quick' if one is quick_row(listed) else ''}")


def main(words: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one row of each table")
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="these tables alone")
    parser.add_argument("--again", action="store_true", help="run rows that are there too")
    parser.add_argument("--collect", action="store_true", help="take over figures of another state of a table's file")
    parser.add_argument("--forget", action="store_true", help="remove kept rows that no table lists any more")
    parser.add_argument("--work", type=Path, default=WORK, help="the folder for what is trained")
    parser.add_argument("--results", type=Path, help="the file that keeps the rows, if not RESULTS.json here")
    parser.add_argument("--out", type=Path, help="the page, if not docs/results.md")
    parser.add_argument("--tables", type=Path, default=BENCHMARKS, help="the folder of the tables, if not this one")
    parser.add_argument("--list", action="store_true", help="print the rows and run none")
    parser.add_argument("--page", action="store_true", help="write the page and run no row")
    arguments = parser.parse_args(words)
    results = Results.read(arguments.tables, arguments.results or arguments.tables / "RESULTS.json")
    page = arguments.out or PAGE
    results.ask_tables()
    if unknown := sorted(set(arguments.only or ()) - set(results.tables)):
        parser.error(f"no table {unknown[0]!r}: the tables are {', '.join(results.tables)}")
    if arguments.list:
        show(results)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    arguments.work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(arguments.work / "results.lock", timeout=0):
            failed = run(results, arguments, page)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Timeout:
        sys.exit(f"another run is at work in {arguments.work}; give this one a --work of its own")
    if failed:
        sys.exit(f"{failed} rows failed; what they said is in {arguments.work / 'logs'}")


def run(results: Results, arguments: argparse.Namespace, page: Path) -> int:
    """Takes over what is there, and runs the rest if it is to; how many rows failed."""
    if not arguments.again:
        for line in collect(results, arguments.work, arguments.collect):
            print(line, flush=True)
    for table, row in results.unlisted():
        if arguments.forget:
            results.forget(table, row)
        done = "removed" if arguments.forget else "kept in the file and not on the page; --forget removes it"
        print(f"{table}: {row} is listed no more: {done}", flush=True)
    keep(results, page)
    return 0 if arguments.page else run_missing(results, arguments, page)


if __name__ == "__main__":
    main()
