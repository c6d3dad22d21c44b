"""The table of a stage's sparsity over its epochs."""

import itertools
from pathlib import Path

import pytest

from tfopt.recipe.artifact import Artifact
from tfopt.report import summary
from tfopt.report.markdown import lines
from tfopt.report.sections import sparsity_log


def artifact(log):
    details = {} if log is None else {"sparsity_log": log}
    return Artifact("half", "prune", Path("half"), "model.keras", "keras", "", details=details)


def records(epochs, kernels=2, per_epoch=1):
    """Each epoch a little sparser, the kernels each a little sparser than the one before."""
    return [
        {
            "step": number + 1,
            "epoch": number // per_epoch + 1,
            "overall": number / 1000,
            "kernels": {f"layer{kernel}/kernel": number / 1000 + kernel / 100 for kernel in range(kernels)},
        }
        for number in range(epochs * per_epoch)
    ]


def rows(log):
    """The cells of the table, headers first."""
    found = [line for line in lines(sparsity_log.blocks(artifact(log))) if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found if not line.startswith("|---")]


def test_a_row_for_each_epoch_and_a_column_for_each_kernel():
    assert rows(records(2)) == [
        ["epoch", "overall", "layer0/kernel", "layer1/kernel"],
        ["1", "0.0000", "0.0000", "0.0100"],
        ["2", "0.0010", "0.0010", "0.0110"],
    ]


def test_of_several_records_in_an_epoch_the_last_counts():
    assert [row[:2] for row in rows(records(2, per_epoch=5))[1:]] == [["1", "0.0040"], ["2", "0.0090"]]


@pytest.mark.parametrize("epochs", [12, 13, 40, 1000])
def test_of_many_epochs_twelve_are_shown_evenly_with_the_first_and_the_last(epochs):
    shown = [int(row[0]) for row in rows(records(epochs))[1:]]
    gaps = [after - before for before, after in itertools.pairwise(shown)]
    assert (len(shown), shown[0], shown[-1]) == (12, 1, epochs)
    assert max(gaps) - min(gaps) <= 1
    assert min(gaps) >= 1


def test_many_kernels_are_told_by_their_least_their_median_and_their_largest():
    assert len(rows(records(1, kernels=8))[0]) == 10
    assert rows(records(1, kernels=9)) == [
        ["epoch", "overall", "least", "median", "largest"],
        ["1", "0.0000", "0.0000", "0.0400", "0.0800"],
    ]


@pytest.mark.parametrize("log", [None, []])
def test_a_stage_that_kept_no_record_has_no_section(log):
    assert sparsity_log.blocks(artifact(log)) == []


def test_the_report_holds_the_table():
    text = summary.as_markdown("run", {"half": artifact(records(3))})
    assert "## half: sparsity while training\n\n| epoch | overall | layer0/kernel | layer1/kernel |" in text
    assert "| 3 | 0.0020 | 0.0020 | 0.0120 |" in text
    assert "while training" not in summary.as_markdown("run", {"half": artifact(None)})


def test_kernels_that_are_alike_are_one_line():
    log = [record | {"kernels": dict.fromkeys("abc", record["overall"])} for record in records(3)]
    assert rows(log)[0] == ["epoch", "overall"]
    [figure] = [block for grid in sparsity_log.blocks(artifact(log)) for block in getattr(grid, "blocks", ())][:1]
    assert len(figure.chart.lines) == 1
    assert "The 3 kernels are alike." in figure.caption
