"""How trainings went, side by side."""

import re
from pathlib import Path

from tfopt.recipe.artifact import Artifact
from tfopt.report import summary
from tfopt.report.sections import curves


def artifact(name, history=None):
    details = {} if history is None else {"history": history}
    return Artifact(name, "train", Path(name), "model.keras", "keras", "", details=details)


ADAM = {"loss": [1.0, 0.5], "accuracy": [0.5, 0.7], "val_loss": [1.1, 0.6], "val_accuracy": [0.4, 0.625]}
SGD = {"loss": [1.5, 1.0, 0.75], "penalty": [0.1, 0.2, 0.3]}


def both():
    return {a.name: a for a in (artifact("source"), artifact("adam", ADAM), artifact("sgd", SGD), artifact("int8"))}


def test_the_report_has_the_last_figures_of_each_training():
    lines = [line for line in curves.markdown(both()) if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == ["stage", "epochs", "loss", "val_loss", "val_accuracy", "penalty"]
    assert rows[2:] == [
        ["adam", "2", "0.5", "0.6", "0.625", "-"],
        ["sgd", "3", "0.75", "-", "-", "0.3"],
    ]


def test_one_training_has_nothing_to_be_compared_with():
    alone = {"source": artifact("source"), "adam": artifact("adam", ADAM)}
    assert curves.markdown(alone) == []
    assert curves.page("r", alone) is None


def test_the_page_draws_every_figure_of_every_training():
    page = curves.page("mine", both())
    assert page.count('"name":"adam"') == 3
    assert page.count('"name":"sgd"') == 2
    assert re.search(r'"text":"val_accuracy"', page)
    assert "mine: how its trainings went" in page
    assert "http-equiv" not in page
    assert not re.search(r'<script[^>]+src="http', page)


def test_the_page_lies_beside_the_report_and_goes_when_it_has_nothing_to_show(tmp_path):
    summary.write(both(), tmp_path)
    assert "curves.html" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "curves.html").stat().st_size > 1_000_000  # Plotly itself is in it
    summary.write({"adam": artifact("adam", ADAM)}, tmp_path)
    assert not (tmp_path / "curves.html").exists()
    assert "curves.html" not in (tmp_path / "report.md").read_text()
