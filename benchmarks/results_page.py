"""The page of results: what RESULTS.json keeps, in the words of templates/."""

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

# Ends the name of a row that has siblings with other seeds.
SEED = re.compile(r",? seed (\d+)$")
NOT_RUN = "*not run*"
# What is a number of 0-1, by words of its name, with four decimals.
_FRACTIONS = re.compile(r"accuracy|metric|auc|error|drop|share|ahead|difference|sparsity", re.IGNORECASE)
# What has a sign even where it is more than nothing.
_SIGNED = re.compile(r"ahead|difference|points", re.IGNORECASE)
# Minutes that are told in hours.
LONG = 90


@dataclass(frozen=True)
class Table:
    """A table as a template sees it.

    Args:
        name: The name of its file.
        listed: Its rows, as `--list` gives them.
        rows: By row, the figures and where they come from, of those that were run.
    """

    name: str
    listed: list[dict[str, Any]]
    rows: dict[str, dict[str, Any]]

    @property
    def names(self) -> list[str]:
        """The names of the rows."""
        return [one["row"] for one in self.listed]

    @property
    def run(self) -> int:
        """How many of its rows were run."""
        return sum(name in self.rows for name in self.names)

    @property
    def complete(self) -> bool:
        """Whether all of its rows were run."""
        return self.run == len(self.names)

    @property
    def minutes(self) -> float:
        """About how long all rows take."""
        return sum(one["minutes"] for one in self.listed)

    def figures(self, row: str) -> dict[str, Any]:
        """The figures of a row; none where it was not run."""
        return self.rows[row]["figures"] if row in self.rows else {}

    def by_row(self, columns: Sequence[str] = (), only: str = "") -> str:
        """Markdown with a line for every row, those that were not run too, and the command under it.

        Args:
            columns: Names of figures, each with another heading after ` as `; all if not given.
            only: A regular expression that the names of the rows match; all if not given.
        """
        names = [name for name in self.names if re.search(only, name)]
        return self._table({name: [self.figures(name)] for name in names}, columns, seeds=False)

    def by_seeds(self, columns: Sequence[str] = (), only: str = "") -> str:
        """Markdown with a line for all seeds of a row: the means, and how many seeds were run.

        Args:
            columns: As in `by_row`.
            only: As in `by_row`, for names without seeds.
        """
        groups: dict[str, list[dict[str, Any]]] = {}
        for name in self.names:
            if re.search(only, bare := SEED.sub("", name)):
                groups.setdefault(bare, []).append(self.figures(name))
        return self._table(groups, columns, seeds=True)

    def _table(self, groups: dict[str, list[dict[str, Any]]], columns: Sequence[str], seeds: bool) -> str:
        given = [one for found in groups.values() for figures in found for one in figures]
        if groups and not given:
            return f"None of these rows was run yet: {', '.join(groups)}.\n\n{self.measured}"
        pairs = [(name, heading or name) for name, _, heading in (one.partition(" as ") for one in columns)]
        pairs = pairs or [(name, name) for name in dict.fromkeys(given)]
        lines = [["row", *(["seeds"] if seeds else []), *(heading for _, heading in pairs)]]
        for name, found in groups.items():
            run = [figures for figures in found if figures]
            cells = [mean_text(column, [one.get(column) for one in run]) for column, _ in pairs]
            if not run:
                cells = [NOT_RUN, *["-"] * (len(pairs) - 1)] if pairs else []
            counted = [f"{len(run)} of {len(found)}"] if seeds else []
            lines.append([name, *counted, *cells])
        return f"{markdown(lines)}\n\n{self.measured}"

    @property
    def measured(self) -> str:
        """The sentence under a table: its command, what was run, and how long everything takes."""
        return (
            f"Measured by `python benchmarks/{self.name}.py --row ROW`, a command for each row: {self.run} of "
            f"{len(self.names)} rows were run. All of them take about {time_text(self.minutes)} on two cores."
        )

    @property
    def notes(self) -> str:
        """The sentences of the rows, an item each; those that several rows have, once."""
        said: dict[str, list[str]] = {}
        for name in self.names:
            for sentence in self.rows.get(name, {}).get("notes", []):
                said.setdefault(sentence, []).append(name)
        return "\n".join(f"- {', '.join(names)}: {sentence}" for sentence, names in said.items())

    def standing(self, figure: str) -> str:
        """In how many rows a figure is above nothing, nothing, and below it, in words."""
        values = [value for name in self.names if (value := self.figures(name).get(figure)) is not None]
        above, below = sum(value > 0 for value in values), sum(value < 0 for value in values)
        return f"ahead in {above} of {len(values)} rows, behind in {below}, level in {len(values) - above - below}"

    def where(self, figure: str, below: float = math.inf, above: float = -math.inf, without: str = "$^") -> str:
        """The rows in which a figure is below a limit and above another, each with it, in words; empty for none.

        Args:
            figure: The name of the figure.
            below: What it is less than.
            above: What it is more than.
            without: A regular expression of rows to leave out.
        """
        found = {name: self.figures(name).get(figure) for name in self.names if not re.search(without, name)}
        told = {name: value for name, value in found.items() if value is not None and above < value < below}
        return ", ".join(f"{name} ({number_text(figure, value)})" for name, value in told.items())

    def ratio(self, figure: str, row: str, to: str) -> str:
        """A figure of a row over that of another; a hyphen where one of them has none."""
        above, below = (self.figures(name).get(figure) for name in (row, to))
        return f"{above / below:.2f}" if above is not None and below else "-"

    def less(self, figures: Sequence[str], than: str) -> str:
        """The rows that have less of every one of some figures than another row, in words; empty for none.

        Less is by 2% at least: times of one file vary as much.
        """
        limits, found = self.figures(than), {name: self.figures(name) for name in self.names}
        return ", ".join(
            name
            for name, own in found.items()
            if all(one in own and one in limits and own[one] < 0.98 * limits[one] for one in figures)
        )


def quick_row(listed: list[dict[str, Any]]) -> dict[str, Any]:
    """The row that stands for a table: the first that says so, or the shortest."""
    return next((one for one in listed if one["quick"]), min(listed, key=lambda one: one["minutes"]))


def page_of(content: dict[str, Any], templates: Path) -> str:
    """The page.

    Args:
        content: What RESULTS.json keeps.
        templates: The folder with `page.md` and a template for each table.
    """
    environment = Environment(
        loader=FileSystemLoader(templates),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    tables = {name: table_of(name, rows, content["rows"].get(name, {})) for name, rows in content["tables"].items()}
    used = {row["environment"] for table in tables.values() for row in table.rows.values()}
    machines = [environment_text(one) for name, one in content["environments"].items() if name in used]
    times = ", ".join(f"{name} {time_text(table.minutes)}" for name, table in tables.items())
    together = time_text(sum(table.minutes for table in tables.values()))
    quick = time_text(sum(quick_row(table.listed)["minutes"] for table in tables.values()))
    counts = {
        "run": sum(table.run for table in tables.values()),
        "listed": sum(len(table.names) for table in tables.values()),
        "counts": ", ".join(f"{name} {table.run} of {len(table.names)}" for name, table in tables.items()),
    }
    words = {"tables": tables, "machines": machines, "times": times, "together": together, "quick": quick}
    text = environment.get_template("page.md").render(words | counts)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def table_of(name: str, listed: list[dict[str, Any]], rows: dict[str, dict[str, Any]]) -> Table:
    """A table with those of the rows in the file that it lists."""
    names = {one["row"] for one in listed}
    return Table(name, listed, {row: found for row, found in rows.items() if row in names})


def environment_text(environment: dict[str, Any]) -> str:
    """A machine and its versions, in a line."""
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    return f"{environment['machine']}; {versions}"


def time_text(minutes: float) -> str:
    """Minutes, or hours where they are many."""
    return f"{minutes:.0f} minutes" if minutes < LONG else f"{minutes / 60:.1f} hours"


def markdown(lines: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; the first line is its heading, and all but the first column are to the right."""
    heading, *rest = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    rule = f"|---|{'---:|' * (len(heading) - 1)}"
    written = [f"| {' | '.join(line)} |" for line in (heading, *rest)]
    return "\n".join([written[0], rule, *written[1:]])


def mean_text(name: str, values: Sequence[Any]) -> str:
    """The mean of a figure as the page writes it; of words, the words; a hyphen where there is none."""
    there = [value for value in values if value is not None]
    if not there:
        return "-"
    if any(isinstance(value, str) for value in there):
        return ", ".join(dict.fromkeys(map(str, there)))
    return number_text(name, there[0] if len(there) == 1 else statistics.mean(there))


def number_text(name: str, value: float) -> str:
    """A figure: fractions with four decimals, counts with thousands, others with as many digits as they need."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    sign = "+" if _SIGNED.search(name) else ""
    if _FRACTIONS.search(name) and abs(value) <= 1:
        return f"{value:{sign}.4f}"
    if isinstance(value, int) or abs(value) >= 1000 or (float(value).is_integer() and abs(value) >= 10):
        return f"{value:{sign},.0f}"
    digits = next((digits for least, digits in ((100, 0), (10, 1), (1, 2)) if abs(value) >= least), 3)
    return f"{value:{sign}.{digits}f}"
