"""How trainings went, side by side."""

from pathlib import Path

import pytest

from tests.report.html_page import check
from tfopt.recipe.artifact import Artifact
from tfopt.report import summary
from tfopt.report.markdown import lines
from tfopt.report.page import Page, Part
from tfopt.report.sections import curves


def artifact(name, history=None, log=None):
    details = {} if history is None else {"history": history}
    details |= {} if log is None else {"sparsity_log": log}
    return Artifact(name, "train", Path(name), "model.keras", "keras", "", details=details)


ADAM = {"loss": [1.0, 0.5], "accuracy": [0.5, 0.7], "val_loss": [1.1, 0.6], "val_accuracy": [0.4, 0.625]}
SGD = {"loss": [1.5, 1.0, 0.75], "penalty": [0.1, 0.2, 0.3]}


def both():
    return {a.name: a for a in (artifact("source"), artifact("adam", ADAM), artifact("sgd", SGD), artifact("int8"))}


def test_the_report_has_the_last_figures_of_each_training():
    found = [line for line in lines(curves.blocks(both())) if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found]
    assert rows[0] == [
        "stage",
        "epochs",
        "training loss",
        "validation loss",
        "validation accuracy",
        "penalty of the regularizers",
    ]
    assert rows[2:] == [
        ["adam", "2", "0.5", "0.6", "0.625", "-"],
        ["sgd", "3", "0.75", "-", "-", "0.3"],
    ]


def charts(artifacts):
    """The charts of the section by what they show."""
    root = check(Page("mine", parts=[Part("curves", "Trainings", curves.blocks(artifacts))]).html())
    return {chart.attributes["aria-label"].partition(" over ")[0]: chart for chart in root.find("svg", class_="chart")}


def test_a_run_without_trainings_has_no_section():
    assert curves.blocks({"source": artifact("source"), "int8": artifact("int8")}) == []


def test_every_figure_of_every_training_is_drawn_in_the_colour_of_its_stage():
    found = charts(both())
    assert list(found) == ["training loss", "validation loss", "validation accuracy", "penalty of the regularizers"]
    drawn = {name: [line.text for line in chart.find("polyline")] for name, chart in found.items()}
    assert list(drawn.values()) == [["adam", "sgd"], ["adam"], ["adam"], ["sgd"]]
    styles = {line.text: line.attributes["class"] for chart in found.values() for line in chart.find("polyline")}
    assert len(set(styles.values())) == 2
    assert "sgd, 3: 0.75" in found["training loss"].text


def test_a_loss_is_on_a_logarithmic_axis_where_it_is_positive():
    logged = {"loss": [1.0, 0.1, 0.01], "val_loss": [1.0, 0.5, -0.5]}
    places = {}
    for name, chart in charts({"a": artifact("a", logged)}).items():
        [line] = chart.find("polyline")
        places[name] = [float(point.split(",")[1]) for point in line.attributes["points"].split()]
    first, second, third = places["training loss"]
    assert second - first == pytest.approx(third - second, abs=0.11)
    first, second, third = places["validation loss"]
    assert (second - first) * 2 == pytest.approx(third - second, abs=0.21)


def test_the_pruning_schedule_is_shaded_behind_the_curves_of_its_stage():
    log = [{"step": epoch, "epoch": epoch, "overall": epoch / 4, "kernels": {"a": epoch / 4}} for epoch in (1, 2, 3)]
    pruned = artifact("half", {"loss": [1.0, 0.5, 0.25], "sparsity": [0.25, 0.5, 0.75]}, log)
    found = charts({"half": pruned, "adam": artifact("adam", {"accuracy": [0.5]})})
    shaded = {name: [area.text for area in chart.find("polygon")] for name, chart in found.items()}
    assert shaded == {"training loss": ["half: sparsity from 0.2500 to 0.7500"], "accuracy": []}
    assert "sparsity (shaded) 0 0.5 1" in found["training loss"].text  # with an axis of its own
    assert "shaded" not in found["accuracy"].text


def test_of_many_trainings_the_first_are_drawn_and_all_are_in_the_table():
    many = {f"run{number}": artifact(f"run{number}", {"loss": [1.0, 0.5]}) for number in range(40)}
    root = check(Page("mine", parts=[Part("curves", "Trainings", curves.blocks(many))]).html())
    assert len(root.find("polyline")) == curves.DRAWN
    assert f"The first {curves.DRAWN} of 40 trainings are drawn" in root.text
    assert len(root.find("tbody")[-1].find("tr")) == 40


def test_a_value_that_is_not_finite_leaves_a_gap():
    [chart] = charts({"a": artifact("a", {"loss": [1.0, 0.5, float("nan"), 0.25, float("inf")]})}).values()
    assert [len(line.attributes["points"].split()) for line in chart.find("polyline")] == [2, 1]


def test_the_report_has_the_last_figures_of_each(tmp_path):
    summary.write(both(), tmp_path)
    assert "| sgd | 3 |" in (tmp_path / "report.md").read_text()
