"""The latency of files: histograms on one axis, quantiles marked, the processor named."""

from dataclasses import replace
from pathlib import Path

from tests.detail_examples import BY_TYPE
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.timing import Latencies
from tfopt.report.blocks import Figure, Grid, OnPage, Paragraph
from tfopt.report.sections import latency


def made(factors, **more):
    given = BY_TYPE[Latencies]
    [one, *_] = given.files.values()
    files = {
        f"file{factor}": replace(
            one,
            edges=[edge * factor for edge in one.edges],
            seconds={name: value * factor for name, value in one.seconds.items()},
        )
        for factor in factors
    }
    return Artifact("b", "benchmark", Path("run/b"), "m", "tflite", "k", details=[replace(given, files=files)], **more)


def figures(artifact):
    [shown] = [block for block in latency.blocks(artifact) if isinstance(block, OnPage)]
    [grid] = shown.blocks
    assert isinstance(grid, Grid)
    return [figure for figure in grid.blocks if isinstance(figure, Figure)]


def test_all_files_are_on_the_same_axis():
    first, second = figures(made([1, 10]))
    assert first.chart.reach_x == second.chart.reach_x
    assert first.chart.x_title == second.chart.x_title
    assert first.chart.log_x


def test_files_of_about_the_same_latency_are_on_a_linear_axis():
    artifact = made([1])
    given = artifact.details.of(Latencies)
    near = {name: replace(one, edges=[1.0, 1.5, 2.0]) for name, one in given.files.items()}
    [figure] = figures(replace(artifact, details=[replace(given, files=near)]))
    assert not figure.chart.log_x
    assert "log" not in figure.chart.x_title


def test_the_quantiles_are_marked():
    [figure] = figures(made([1]))
    known = [name for name in ("p50", "p90", "p99") if name in next(iter(BY_TYPE[Latencies].files.values())).seconds]
    assert [text for _, text in figure.chart.verticals] == known


def test_the_processor_is_named_where_the_record_has_it():
    said = [
        block.text
        for block in latency.blocks(made([1], environment={"processor": "XYZ 7"}))
        if isinstance(block, Paragraph)
    ]
    assert "thread of XYZ 7" in said[0] or "threads of XYZ 7" in said[0]
