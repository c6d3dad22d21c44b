"""Tables in terminals of any width: every number is there, whole."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from tfopt.recipe.artifact import BASELINE, Artifact
from tfopt.report import console as screen
from tfopt.report import summary
from tfopt.report.fitted_table import Cells, FittedTable, wrapped

WIDTHS = (60, 80, 100)
LONG = "a-stage-with-a-name-that-says-all-of-what-it-does-and-then-some-more"
FIGURES = {
    "accuracy": 0.98765,
    "digit_f1": 0.87654,
    "sparsity": 0.8,
    "raw_bytes": 123_456_789.0,
    "gzip_bytes": 98_765_432.0,
    "nonzero_parameters": 23_456_789.0,
    "latency_median_seconds": 0.0123456,
    "latency_p90_seconds": 0.0234567,
}
START = {**FIGURES, "accuracy": 0.99, "raw_bytes": 1e9, "gzip_bytes": 9e8, "latency_median_seconds": 0.1}


def drawn(shown, width):
    stream = io.StringIO()
    Console(file=stream, width=width).print(shown)
    return stream.getvalue()


@pytest.fixture(params=["int8", LONG], ids=["short", "long"])
def artifacts(request):
    source = Artifact("source", "source", Path("source"), "model.keras", "keras", "k")
    start = replace(source, name=BASELINE, kind=BASELINE, parents=("source",), metrics=START, files={"source": START})
    file = Artifact(request.param, "quantize", Path("a"), "m.tflite", "tflite", "k", ("source",), FIGURES)
    made = (source, file, replace(start, scores=("accuracy", "digit_f1")))
    return {artifact.name: artifact for artifact in made}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_a_run_has_its_figures_whole_at_every_width(artifacts, width):
    text = drawn(screen.table(artifacts), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    for number in ("0.9877", "0.8765", "123,456,789 B", "98,765,432 B", "12.3 ms", "8.1x", "9.1x", "-0.23 points"):
        assert re.search(rf"(?<![\d.,]){re.escape(number)}", text), number
    assert "".join(re.findall("[a-z0-9-]", text)).count(next(iter(set(artifacts) - {"source", BASELINE}))[:8])


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_on_the_screen_differs_from_the_record(artifacts, width):
    scores = summary.score_names(artifacts)
    cells = [cell for row in summary.rows(artifacts) for cell in summary.cells(row, scores)[1:]]
    known = {word for cell in cells for word in re.findall(r"[\d.,]+", cell)}
    remarks = [text for row in summary.rows(artifacts) for text in summary.remarks(row, scores)]
    known |= {word for text in remarks for word in re.findall(r"[\d.,]+", text)} | {"9", "90", "1"}
    shown = set(re.findall(r"(?<![\w.,-])\d[\d.,]*", drawn(screen.table(artifacts), width)))
    assert shown <= known


def test_a_wide_terminal_has_a_line_for_a_row_and_all_columns():
    cells = Cells(("layer", "bytes", "zeros"), (("first", "1,234", "5.0%"),))
    text = drawn(FittedTable(cells, cells.without("zeros")), 40)
    assert "5.0%" in text
    assert sum("1,234" in line for line in text.splitlines()) == 1


def test_a_narrow_one_has_fewer_columns_and_then_lines_below_the_name():
    cells = Cells(("layer", "bytes", "zeros"), (("the first", "1,234,567", "55.0%"),))
    fewer = drawn(FittedTable(cells, cells.without("zeros")), 24)
    assert "55.0%" not in fewer
    assert "1,234,567" in fewer
    assert drawn(FittedTable(cells, cells.without("zeros")), 20).splitlines() == [
        "the first",
        "  bytes 1,234,567",
        "  zeros 55.0%",
    ]


def test_long_names_are_folded_before_numbers_lose_their_place():
    cells = Cells(("layer", "bytes"), ((LONG, "1,234,567"),))
    text = drawn(FittedTable(cells), 40)
    assert "1,234,567" in text
    assert "".join(re.findall(r"[a-z-]", text.split("bytes")[1])) == LONG


@pytest.mark.parametrize("name", ["[bold]", "a[0]", "[/]"])
def test_names_are_not_taken_for_markup(name):
    assert name in drawn(FittedTable(Cells(("layer", "bytes"), ((name, "1"),))), 80)
    assert name in drawn(FittedTable(Cells(("layer", "bytes"), ((name, "1"),))), 8)


def test_parts_of_a_text_are_not_broken():
    parts = [f"name {number}" for number in range(10)]
    lines = wrapped(parts, 20)
    assert all(len(line) <= 20 for line in lines)
    assert [part for line in lines for part in line.strip().split("  ")] == parts


@pytest.mark.parametrize("width", WIDTHS)
def test_a_finished_epoch_stays_on_the_screen_with_all_that_was_logged(width):
    stream = io.StringIO()
    progress = screen.RichProgress(Console(file=stream, width=width, force_terminal=True))
    logs = {f"val_{output}_accuracy": 0.1234 + output / 100 for output in range(8)} | {"loss": 12345.678}
    progress.stage(LONG, "train", 1, 12)
    for epoch in range(1, 4):
        progress.batch(epoch - 1, 3, 0.5)
        progress.epoch(epoch, 3, logs)
        progress._bars.refresh()
    progress.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", text)]
    for epoch in range(1, 4):
        [start] = [number for number, line in enumerate(lines) if line.startswith(f"  epoch {epoch}/3")]
        kept = " ".join(lines[start : start + 6])
        assert all(f"{name} {value:.4g}" in kept for name, value in logs.items())
    assert all(cell_len(line) <= width for line in lines)
    bars = [line for line in lines if line.startswith("1/12 a-")]
    assert bars
    assert any("epoch 2/3" in bar for bar in bars)


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(screen.progress(Console(force_terminal=True)), screen.PlainProgress)


def test_a_table_with_fewer_columns_names_those_it_has_no_room_for():
    cells = Cells(("layer", "bytes", "zeros"), (("the first", "1,234,567", "55.0%"),))
    assert drawn(FittedTable(cells, cells.without("zeros")), 24).splitlines()[-1] == "no room for zeros"
    assert "no room" not in drawn(FittedTable(cells, cells.without("zeros")), 40)
    assert "no room" not in drawn(FittedTable(cells, cells.without("zeros")), 20)
