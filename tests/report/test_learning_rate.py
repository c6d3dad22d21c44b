"""What the terminal and the plot show of a learning rate finder."""

from types import SimpleNamespace

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
    page = words.rates_plot("mine", record)
    assert "steepest: 1.0e-02" in page
    assert "loss over the learning rate of train" in page
