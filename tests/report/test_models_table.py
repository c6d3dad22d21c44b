"""The table of a run's models on its page."""

from tfopt.report.blocks import Remark
from tfopt.report.models_table import models_table

MODELS = {
    "train": {"digit_accuracy": 0.9, "speaker_accuracy": 0.8},
    "int8": {"digit_accuracy": 0.89, "speaker_accuracy": 0.8, "raw_bytes": 1234.0, "latency_median_seconds": 4.94e-6},
}
REMARKS = [("baseline", *[""] * 7), ("", "-1.00 points", "", "", "4.0x", "", "", "2.0x")]


def test_the_metric_that_counts_the_sizes_and_the_latency_come_first():
    table = models_table(MODELS, ["digit_accuracy", "speaker_accuracy"], REMARKS)
    assert list(table.headers) == ["stage", "digit_accuracy", "bytes", "median latency", "speaker_accuracy"]


def test_each_figure_has_what_it_comes_to_below_it():
    table = models_table(MODELS, ["digit_accuracy", "speaker_accuracy"], REMARKS)
    assert table.rows[0] == (("train", Remark("baseline")), "0.9000", "-", "-", "0.8000")
    assert table.rows[1] == (
        "int8",
        ("0.8900", Remark("-1.00 points")),
        ("1,234", Remark("4.0x")),
        ("4.94 µs", Remark("2.0x")),
        "0.8000",
    )
