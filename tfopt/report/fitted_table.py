"""Tables for a terminal of any width, in which no number is cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from tfopt.plain_text import printable

# Columns of words may be folded to this width, so that those of numbers have their place.
LEAST_WORDS = 16


@dataclass(frozen=True)
class Cells:
    """The text of a table.

    Args:
        headers: A header for each column.
        rows: A cell for each column of each row; what follows a newline in it is a remark, of one or
            more lines, on the figure before.
        left: Number of columns of words, which come first; the others hold numbers.
        left_out: What a table with all of it has besides.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    left_out: tuple[str, ...] = ()

    def without(self, *headers: str) -> Cells:
        """The table without the columns of these headers."""
        kept = [index for index, header in enumerate(self.headers) if header not in headers]

        def of(cells: Sequence[str]) -> tuple[str, ...]:
            return tuple(cells[index] for index in kept)

        words = sum(index < self.left for index in kept)
        return Cells(of(self.headers), tuple(of(row) for row in self.rows), words, (*self.left_out, *headers))

    def widths(self) -> list[int]:
        """The width of each column, of the longest line in it."""
        columns = zip(self.headers, *self.rows, strict=True)
        return [max(cell_len(line) for cell in column for line in cell.splitlines() or [""]) for column in columns]


class FittedTable:
    """The first of some tables whose numbers fit the terminal, and what has no room; or rows of several lines.

    Args:
        *alternatives: The same rows, each time with less in them; the first has all.
    """

    def __init__(self, *alternatives: Cells):
        self._alternatives = tuple(map(_printable, alternatives))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws what fits `options.max_width`."""
        for cells in self._alternatives:
            for edge in (True, False):
                if _least_width(cells, edge) <= options.max_width:
                    yield _drawn(cells, edge)
                    if cells.left_out:
                        yield Text(f"no room for {', '.join(cells.left_out)}", style="dim", overflow="fold")
                    return
        yield from _stacked(self._alternatives[0], options.max_width)


def _printable(cells: Cells) -> Cells:
    """The table without what names in files could make a terminal do."""
    return replace(cells, rows=tuple(tuple(map(printable, row)) for row in cells.rows))


def _least_width(cells: Cells, edge: bool) -> int:
    widths = cells.widths()
    words = sum(min(width, LEAST_WORDS) for width in widths[: cells.left])
    borders = 3 * len(widths) + (1 if edge else -3)
    return words + sum(widths[cells.left :]) + borders


def _drawn(cells: Cells, edge: bool) -> Table:
    table = Table(show_edge=edge, pad_edge=edge)
    for index, (header, width) in enumerate(zip(cells.headers, cells.widths(), strict=True)):
        if index < cells.left:
            table.add_column(Text(header), overflow="fold", min_width=min(width, LEAST_WORDS))
        else:
            table.add_column(Text(header), justify="right", no_wrap=True, min_width=width)
    for row in cells.rows:
        table.add_row(*(_cell(cell) for cell in row))
    return table


def _cell(cell: str) -> Text:
    figure, newline, remark = cell.partition("\n")
    return Text.assemble(figure, newline, (remark, "dim"))


def _stacked(cells: Cells, width: int) -> Iterator[Text]:
    for row in cells.rows:
        words = [cell.replace("\n", " · ") for cell in row[: cells.left] if cell]
        yield Text("  ".join(words), style="bold", overflow="fold")
        pairs = zip(cells.headers[cells.left :], row[cells.left :], strict=True)
        for line in wrapped([f"{header} {_in_line(cell)}" for header, cell in pairs if cell not in ("", "-")], width):
            yield Text(line, overflow="fold")


def _in_line(cell: str) -> str:
    figure, *remark = cell.split("\n")
    return f"{figure} ({', '.join(remark)})" if remark else figure


def wrapped(parts: Iterable[str], width: int, indent: int = 2, between: str = "  ") -> list[str]:
    """Lines of parts that are not broken, each line indented and within a width if its first part is.

    Args:
        parts: Parts of a text.
        width: Width of a line.
        indent: Number of spaces before each line.
        between: Text between two parts of a line.
    """
    lines: list[str] = []
    for part in parts:
        if lines and cell_len(lines[-1]) + cell_len(between) + cell_len(part) <= width:
            lines[-1] += between + part
        else:
            lines.append(" " * indent + part)
    return lines
