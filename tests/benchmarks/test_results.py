"""The tables of results: each row by its own command, kept when it is there, and a page that is what the file gives."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
PAGE = ROOT / "docs" / "results.md"
# A table whose rows multiply numbers; one of them fails, one waits until a file is there, and all say that they ran.
TINY = """
import sys, time
from functools import partial
from pathlib import Path

sys.path.insert(0, {benchmarks!r})
from table import Row, main

HERE = Path(__file__).parent


def run(name, work):
    with (HERE / "ran.txt").open("a") as file:
        print(name, file=file)
    if name == "broken":
        raise RuntimeError("the row's own trouble")
    while name == "waits" and not (HERE / "go").exists():
        time.sleep(0.05)
    seed = int(name[-1]) if "seed" in name else 3
    figures = {{"accuracy": 0.9 + seed / 100, "bytes": 1000 * (seed + 1), "ahead by": 0.01 * (seed - 1)}}
    return figures, ["Was multiplied."]


ROWS = [Row(name, partial(run, name), 0.1, quick=name == "net seed 1") for name in {rows!r}]
if __name__ == "__main__":
    main(ROWS, __doc__)
"""
SEEDS = ["net seed 0", "net seed 1"]


@pytest.fixture
def modules(monkeypatch):
    """The modules of the command and of the page."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import results
    import results_page

    return results, results_page


@pytest.fixture
def tables(tmp_path):
    """Makes a folder of tables, given the rows of each."""

    def make(**rows):
        folder = tmp_path / "tables"
        (folder / "templates").mkdir(parents=True)
        for table, names in rows.items():
            (folder / f"{table}.py").write_text(TINY.format(benchmarks=str(BENCHMARKS), rows=names))
            (folder / "templates" / f"{table}.md").write_text(f"## {table}\n\n{{{{ table.by_row() }}}}\n")
        sections = '{% for name, table in tables.items() %}{% include name + ".md" %}{% endfor %}'
        (folder / "templates" / "page.md").write_text(f"# Made up\n\n{{{{ together }}}}\n\n{sections}\n")
        return folder

    return make


def command(folder, *words):
    """The words of the command on a folder of tables."""
    paths = ["--tables", folder, "--work", folder / "work", "--results", folder / "kept.json", "--out", folder / "p.md"]
    return [sys.executable, str(BENCHMARKS / "results.py"), *map(str, paths), *words]


def run(folder, *words):
    """Runs the command; what it printed, its exit code, and what is kept."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command(folder, *words), capture_output=True, text=True, check=False, env=environment)
    return done, json.loads((folder / "kept.json").read_text())


def ran(folder):
    """The rows that were run, in order."""
    return (folder / "ran.txt").read_text().splitlines() if (folder / "ran.txt").exists() else []


@contextmanager
def at_work(folder, row):
    """A run of the tables that has come to a row; what is left of it is killed in the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command(folder), env=environment, stdout=subprocess.DEVNULL) as process:
        late = time.monotonic() + 120
        try:
            while row not in ran(folder):
                assert process.poll() is None, f"the run ended before it came to {row!r}"
                assert time.monotonic() < late, f"the run did not come to {row!r}"
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def test_a_row_is_kept_with_where_it_comes_from_and_not_run_again(tables):
    folder = tables(tiny=SEEDS)
    run(folder)
    done, kept = run(folder)
    assert done.returncode == 0
    assert ran(folder) == SEEDS
    row = kept["rows"]["tiny"]["net seed 1"]
    assert row["figures"] == {"accuracy": 0.91, "bytes": 2000, "ahead by": 0.0}
    assert row["seed"] == 1
    assert shlex.split(row["command"]) == ["python", "benchmarks/tiny.py", "--row", "net seed 1"]
    assert "tensorflow" in kept["environments"][row["environment"]]["versions"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"])
    assert "| net seed 1 | 0.9100 | 2,000 | +0.0000 |" in (folder / "p.md").read_text()


def test_quick_runs_one_row_of_each_table(tables):
    folder = tables(tiny=SEEDS, other=["a", "b"])
    _, kept = run(folder, "--quick")
    assert {table: list(rows) for table, rows in kept["rows"].items()} == {"tiny": ["net seed 1"], "other": ["a"]}
    assert "| net seed 0 | *not run* | - | - |" in (folder / "p.md").read_text()


def test_a_row_that_fails_is_said_and_the_others_run(tables):
    folder = tables(tiny=["broken", "net seed 0"])
    done, kept = run(folder)
    assert done.returncode == 1
    assert "the row's own trouble" in done.stdout
    assert list(kept["rows"]["tiny"]) == ["net seed 0"]
    assert "1 of 2 rows were run" in (folder / "p.md").read_text()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_killed_goes_on_with_the_next_row(tables, how):
    folder = tables(tiny=["net seed 0", "waits", "net seed 1"])
    with at_work(folder, "waits") as process:
        process.send_signal(how)
        process.wait(timeout=120)
    assert ran(folder) == ["net seed 0", "waits"]
    (folder / "go").touch()
    done, kept = run(folder)
    assert done.returncode == 0
    assert ran(folder) == ["net seed 0", "waits", "waits", "net seed 1"]
    assert list(kept["rows"]["tiny"]) == ["net seed 0", "waits", "net seed 1"]


def test_figures_that_a_rows_own_command_left_are_taken_over(tables):
    folder = tables(tiny=SEEDS)
    file = folder / "work" / "rows" / "tiny" / "whatever.json"
    own = [sys.executable, str(folder / "tiny.py"), "--row", "net seed 0", "--json", str(file)]
    subprocess.run(own, check=True)
    run(folder, "--page")
    _, kept = run(folder)
    assert ran(folder) == SEEDS
    assert kept["rows"]["tiny"]["net seed 0"]["seconds"] == 0


def test_the_state_of_a_table_is_that_of_all_that_it_imports_from_its_folder(tmp_path, modules):
    import provenance

    (tmp_path / "table.py").write_text("import json\n\n\ndef row():\n    from nets import net\n    return net, json\n")
    (tmp_path / "nets.py").write_text("import deeper\n\nnet = deeper\n")
    (tmp_path / "deeper.py").write_text("import nets\n")
    (tmp_path / "other.py").write_text("")
    before = provenance.digest(tmp_path / "table.py")
    (tmp_path / "other.py").write_text("x = 1\n")
    assert provenance.digest(tmp_path / "table.py") == before
    (tmp_path / "deeper.py").write_text("import nets\n\nx = 1\n")
    assert provenance.digest(tmp_path / "table.py") != before


def test_figures_of_another_state_of_a_table_are_taken_over_where_one_asks(tables):
    folder = tables(tiny=SEEDS)
    (folder / "work" / "rows" / "tiny").mkdir(parents=True)
    found = {"row": "net seed 0", "figures": {"accuracy": 0.5}, "notes": []}
    (folder / "work" / "rows" / "tiny" / "a.json").write_text(json.dumps(found))
    done, kept = run(folder, "--page")
    assert "of another state" in done.stdout
    assert kept["rows"]["tiny"] == {}
    _, kept = run(folder, "--page", "--collect")
    assert kept["rows"]["tiny"]["net seed 0"]["figures"] == {"accuracy": 0.5}
    assert kept["rows"]["tiny"]["net seed 0"]["code"] is None


@pytest.mark.parametrize("content", ['{"row": "net se', "[]", '{"row": "net seed 0"}', b"\xff\xfe"])
def test_a_file_that_holds_no_row_is_said_and_left_out(tables, content):
    folder = tables(tiny=SEEDS)
    file = folder / "work" / "rows" / "tiny" / "bad.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done, kept = run(folder, "--page")
    assert done.returncode == 0
    assert f"{file} does not hold a row" in done.stdout
    assert kept["rows"]["tiny"] == {}


def test_the_folders_of_the_file_and_of_the_page_are_made(tables):
    folder = tables(tiny=SEEDS)
    file, page = folder / "build" / "own" / "results.json", folder / "pages" / "results.md"
    words = [*command(folder, "--page"), "--results", str(file), "--out", str(page)]
    subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert json.loads(file.read_text())["rows"] == {"tiny": {}}
    assert page.read_text().startswith("# Made up")


def test_a_row_that_is_listed_no_more_is_kept_until_one_forgets_it(tables):
    folder = tables(tiny=SEEDS, gone=["net seed 5"])
    run(folder)
    (folder / "tiny.py").write_text(TINY.format(benchmarks=str(BENCHMARKS), rows=SEEDS[:1]))
    (folder / "gone.py").unlink()
    done, kept = run(folder, "--page")
    assert "tiny: net seed 1 is listed no more" in done.stdout
    assert "gone: net seed 5 is listed no more" in done.stdout
    assert {table: list(rows) for table, rows in kept["rows"].items()} == {"tiny": SEEDS, "gone": ["net seed 5"]}
    assert kept["environments"]
    page = (folder / "p.md").read_text()
    assert "net seed 0" in page
    assert "net seed 1" not in page
    assert "1 of 1 rows were run" in page
    done, kept = run(folder, "--page", "--forget")
    assert "tiny: net seed 1 is listed no more: removed" in done.stdout
    assert {table: list(rows) for table, rows in kept["rows"].items()} == {"tiny": SEEDS[:1]}


def test_means_are_over_the_seeds_that_were_run(modules):
    _, results_page = modules
    listed = [{"row": f"net, seed {seed}", "minutes": 1, "quick": False} for seed in range(3)]
    rows = {"net, seed 0": {"figures": {"accuracy": 0.5}}, "net, seed 2": {"figures": {"accuracy": 0.7}}}
    text = results_page.Table("tiny", listed, rows).by_seeds(["accuracy as right"])
    assert "| row | seeds | right |" in text
    assert "| net | 2 of 3 | 0.6000 |" in text


def test_rows_that_are_behind_are_named_with_their_figures(modules):
    _, results_page = modules
    listed = [{"row": name, "minutes": 1, "quick": False} for name in ("a", "b", "c by TF-MOT", "d")]
    rows = {name: {"figures": {"ahead by": value}} for name, value in (("a", -0.01), ("b", 0.0), ("c by TF-MOT", -0.5))}
    table = results_page.Table("tiny", listed, rows)
    assert table.where("ahead by", below=0, without="TF-MOT") == "a (-0.0100)"
    assert table.where("ahead by", above=0) == ""
    assert table.standing("ahead by") == "ahead in 0 of 3 rows, behind in 2, level in 1"


def test_a_table_without_rows_has_a_sentence_and_no_lines(modules):
    listed = [{"row": name, "minutes": 1, "quick": False} for name in "ab"]
    text = modules[1].Table("tiny", listed, {}).by_row()
    assert text.startswith("None of these rows was run yet: a, b.")
    assert "|" not in text


def test_a_row_is_set_against_another(modules):
    listed = [{"row": name, "minutes": 1, "quick": False} for name in ("dense", "a", "b", "c", "d")]
    figures = {
        "dense": {"us": 4, "cycles": 8},
        "a": {"us": 2, "cycles": 7},
        "b": {"us": 2, "cycles": 8},
        "c": {"us": 1},
        "d": {"us": 3.95, "cycles": 7},
    }
    rows = {name: {"figures": one} for name, one in figures.items()}
    table = modules[1].Table("tiny", listed, rows)
    assert table.less(["us", "cycles"], than="dense") == "a"
    assert table.ratio("us", "a", "dense") == "0.50"
    assert table.ratio("cycles", "c", "dense") == "-"


def kept_as(run, modules):
    """The page of the tables that are there, a made-up row being kept for the first so many that each lists."""
    content = json.loads((BENCHMARKS / "RESULTS.json").read_text())
    row = {"figures": {"metric": 0.5}, "notes": [], "environment": "one"}
    content["environments"] = {"one": {"machine": "A machine", "versions": {"python": "3"}}}
    content["rows"] = {
        table: {one["row"]: row for one in listed[: run or 0]} for table, listed in content["tables"].items()
    }
    return modules[1].page_of(content, BENCHMARKS / "templates")


def test_the_page_says_how_many_rows_were_run(modules):
    assert "**None of the " in kept_as(0, modules)
    some = kept_as(2, modules)
    assert re.search(r"\*\*10 of the \d+ rows were run\*\*", some)
    assert "zeros 2 of 8" in some
    whole = kept_as(1000, modules)
    assert "rows were run**" not in whole
    assert "None of the" not in whole


def test_the_page_concludes_only_from_rows_that_were_run(modules):
    for sentence, least in (("Which of these, on which device", 1000), ("Against the targets", 1)):
        assert sentence in kept_as(least, modules)
        assert sentence not in kept_as(least - 998 if least > 1 else 0, modules)


def test_a_second_run_in_the_same_folder_is_refused(tables):
    folder = tables(tiny=["waits"])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with at_work(folder, "waits"):
        second = subprocess.run(command(folder), capture_output=True, text=True, check=False, env=environment)
    assert second.returncode == 1
    assert "another run is at work" in second.stderr
    assert ran(folder) == ["waits"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.98765, "0.9877"),
        ("ahead by", 0.01, "+0.0100"),
        ("gzip bytes", 39999.0, "39,999"),
        ("cycles", 1234567, "1,234,567"),
        ("LiteRT us", 453.2, "453"),
        ("milliseconds", 0.2341, "0.234"),
        ("factor", 76.54, "76.5"),
        ("fits", True, "yes"),
    ],
)
def test_figures_have_as_many_digits_as_they_need(modules, name, value, text):
    assert modules[1].number_text(name, value) == text


def test_the_page_is_what_the_file_gives(modules):
    results, results_page = modules
    content = json.loads((BENCHMARKS / "RESULTS.json").read_text())
    assert PAGE.read_text() == results_page.page_of(content, BENCHMARKS / "templates")
    assert set(content["tables"]) == set(results.found_in(BENCHMARKS))


def wrong_with(content, modules):
    """What a file of results has that its tables do not: a line each."""
    results, _ = modules
    for table, listed in content["tables"].items():
        names = [one["row"] for one in listed]
        if not names or len(set(names)) < len(names):
            yield f"{table} has no rows, or two of one name"
        for row, found in content["rows"].get(table, {}).items():
            if row not in names:
                yield f"{table}: {row} is not listed"
            if found["command"] != results.command_of(table, row):
                yield f"{table}: {row} has another command"
            if found["environment"] not in content["environments"]:
                yield f"{table}: {row} was run nowhere"


def test_every_row_is_one_that_its_table_lists(modules):
    results, _ = modules
    content = json.loads((BENCHMARKS / "RESULTS.json").read_text())
    for table, listed in content["tables"].items():
        assert results.listed_by(BENCHMARKS / f"{table}.py") == listed
    assert list(wrong_with(content, modules)) == []
    assert set(content["rows"]) == set(content["tables"])


def test_a_row_that_its_table_does_not_list_is_seen(modules):
    listed = {"tiny": [{"row": "a"}, {"row": "b"}], "none": [], "two": [{"row": "a"}, {"row": "a"}]}
    right = {"command": "python benchmarks/tiny.py --row a", "environment": "one"}
    content = {"environments": {"one": {}}, "tables": listed, "rows": {"tiny": {"a": right, "c": right, "b": {}}}}
    content["rows"]["tiny"]["b"] = {"command": "python benchmarks/tiny.py --row b", "environment": "two"}
    assert list(wrong_with(content, modules)) == [
        "tiny: c is not listed",
        "tiny: c has another command",
        "tiny: b was run nowhere",
        "none has no rows, or two of one name",
        "two has no rows, or two of one name",
    ]


def quoted_in(text, figure):
    """Whether a text has a figure between borders of digits: `.98` is not in `0.98`, in `.981` or in `1.98`."""
    return re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d|[.,]\d)", text) is not None


@pytest.mark.parametrize(
    ("text", "there"), [("a .98, b", True), (".98.", True), ("(.98)", True), ("0.98", False), (".981", False)]
)
def test_a_figure_is_found_between_borders(text, there):
    assert quoted_in(text, ".98") is there


def test_figures_that_the_losses_quote_are_measured_ones():
    text = (BENCHMARKS / "templates" / "losses.md").read_text()
    quoted = set(re.findall(r"(?<![\w.-])\d*\.\d+\b|\b\d{1,3},\d{3}\b", re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "", text)))
    measured = (ROOT / "docs" / "measured.md").read_text()
    assert len(quoted) > 20
    assert not [figure for figure in quoted if not quoted_in(measured, figure)]
