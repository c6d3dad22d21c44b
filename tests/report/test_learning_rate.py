"""What the terminal and the page show of a learning rate finder."""

from types import SimpleNamespace

from tests.report.html_page import check
from tfopt.report import learning_rate as words


def test_what_the_finder_found_is_said_in_two_lines_and_drawn():
    finder = SimpleNamespace(rates=[1e-3, 1e-2, 1e-1, 1.0], losses=[2.0, 1.0, 0.5, 3.0], suggestion=1e-2)
    record = words.rates_record("train", finder)
    assert record["lowest_loss_at"] == 1e-1
    assert record["stopped_at"] == 1.0
    assert words.rates_lines(record) == [
        "learning rate of train: 1.0e-02, where the loss falls most steeply",
        "the loss is smallest at 1.0e-01; the test ended at 1.0e+00",
    ]
    root = check(words.rates_page("mine", record).html())
    [chart] = root.find("svg", class_="chart")
    assert [mark.text for mark in chart.find("polygon")] == ["steepest: 1.0e-02, loss 1", "lowest: 1.0e-01, loss 0.5"]
    [line] = chart.find("polyline")
    assert len(line.attributes["points"].split()) == 4
    assert "Learning rate of train: 1.0e-02, where the loss falls most steeply" in root.text
