"""The table of files on targets: the best of each column stands out, and who does not take a file is said."""

from pathlib import Path

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.device_files import FileOnTarget, FilesOnTargets
from tfopt.report.blocks import Bullets, Strong, Table
from tfopt.report.sections.on_targets import best_files, blocks

ROWS = (
    FileOnTarget("a", "litert", {"latency_median_seconds": 2e-6}),
    FileOnTarget("a", "ethos-u55-128", {"npu_milliseconds": 0.1, "compiled_bytes": 700.0, "cpu_operators": 2.0}),
    FileOnTarget("b", "litert", {"latency_median_seconds": 3e-6}),
    FileOnTarget("b", "ethos-u55-128", {"npu_milliseconds": 0.2, "compiled_bytes": 800.0}),
    FileOnTarget("c", "litert", {"latency_median_seconds": 4e-6}),
    FileOnTarget("c", "ethos-u55-128", {}, "it computes in float"),
    FileOnTarget("d", "litert", {"latency_median_seconds": 2e-6}),
    FileOnTarget("d", "ethos-u55-128", {"npu_milliseconds": 0.2, "compiled_bytes": 850.0}),
)


def made(rows):
    details = [FilesOnTargets(rows, {"ethos-u55-128": ("Vela's estimate for system S",)})]
    return Artifact("b", "benchmark", Path("run/b"), "m", "tflite", "k", details=details)


def test_the_best_of_each_column_stands_out():
    [table] = [block for block in blocks(made(ROWS)) if isinstance(block, Table)]
    assert table.headers == (
        "file",
        "litert: median latency",
        "ethos-u55-128: NPU time",
        "ethos-u55-128: compiled file",
    )
    cells = {row[0]: row[1:] for row in table.rows}
    assert cells["a"] == ("2 µs", "100 µs + CPU", "700 B")
    assert cells["c"] == ("4 µs", "-", "-")
    strong = {name: [isinstance(cell, Strong) for cell in row] for name, row in cells.items()}
    assert strong == {
        "a": [True, False, False],
        "b": [False, True, True],
        "c": [False, False, False],
        "d": [True, True, False],
    }


def test_sources_reasons_and_what_the_cpu_runs_are_said():
    [said] = [block.items for block in blocks(made(ROWS)) if isinstance(block, Bullets)]
    assert said == [
        "ethos-u55-128: Vela's estimate for system S",
        "ethos-u55-128 does not take c: it computes in float",
        "a on ethos-u55-128: 2 operators are left to the CPU, whose part is not in the figures",
    ]


def test_of_two_that_are_as_good_the_next_figure_decides():
    assert best_files(made(ROWS)) == [
        "best on litert: a, median latency 2 µs",
        "best on ethos-u55-128 (Vela's estimate): b, NPU time 200 µs",
    ]
    assert best_files(made(())) == []


def test_what_the_cpu_runs_in_part_is_not_the_best():
    assert best_files(made(ROWS[:2])) == [
        "best on litert: a, median latency 2 µs",
        "no file runs whole on ethos-u55-128",
    ]


def test_a_file_alone_is_not_the_best():
    [table] = [block for block in blocks(made(ROWS[:2])) if isinstance(block, Table)]
    assert not any(isinstance(cell, Strong) for row in table.rows for cell in row)
