"""What results have in common that are tables: a few lines of text, HTML for notebooks, a pandas DataFrame."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from tfopt.errors import TfoptError

# Rows that the text shows, and those of the HTML; `records` has all.
LINES, ROWS = 6, 200


class Tabular:
    """Base of results that are tables. A subclass gives `title` and `records`, and words for them in `shown`."""

    @property
    def title(self) -> str:
        """The result in one line."""
        raise NotImplementedError

    def records(self) -> list[dict[str, Any]]:
        """The rows of the table, each with its values by column."""
        raise NotImplementedError

    def shown(self) -> list[dict[str, Any]]:
        """The rows as people read them, in text and HTML; the records, unless a subclass has words for them."""
        return self.records()

    def __repr__(self) -> str:
        """The title and the first rows."""
        rows = self.shown()
        lines = [f"{type(self).__name__}: {self.title}", *(f"  {_in_line(row)}" for row in rows[:LINES])]
        more = [f"  ... {len(rows) - LINES} more rows; to_pandas() has all"] if len(rows) > LINES else []
        return "\n".join([*lines, *more])

    def _repr_html_(self) -> str:
        """The table for a notebook."""
        rows = self.shown()
        columns = _columns(rows)
        head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_text(row.get(column)))}</td>" for column in columns) + "</tr>"
            for row in rows[:ROWS]
        )
        more = f"<p>{len(rows) - ROWS:,} more rows: to_pandas() has all.</p>" if len(rows) > ROWS else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
        return f"<p><b>{type(self).__name__}</b>: {html.escape(self.title)}</p>{table}{more}"

    def to_pandas(self) -> Any:
        """The rows as a `pandas.DataFrame`.

        Raises:
            TfoptError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise TfoptError("to_pandas() needs pandas, which is not installed: pip install pandas.") from None
        rows = self.records()
        return pandas.DataFrame(rows, columns=_columns(rows))


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))


def _in_line(row: Mapping[str, Any]) -> str:
    (_, first), *rest = row.items()
    words = [f"{column} {_text(value)}" for column, value in rest if value not in (None, "")]
    return f"{_text(first)}  {', '.join(words)}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1e4 else f"{value:.5g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
