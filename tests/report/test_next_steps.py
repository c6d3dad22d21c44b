"""What to try where a gate failed, with the values of the run filled in."""

from dataclasses import replace

import pytest

from tests.report.made_up import run
from tfopt.recipe.details.verification import GatedFile
from tfopt.report.markdown import text
from tfopt.report.next_steps import after_gate

RECIPE = """
name: digits
model: digits.py:build
data: {}
stages:
  - train: {{epochs: 5}}
  - prune: {{sparsity: 0.9, epochs: 7}}
  - quantize: {{name: int8, max_drop: 0.01}}
"""


@pytest.fixture
def told(tmp_path):
    """What is told of a run in a folder with a recipe."""
    folder = tmp_path / "results" / "digits"
    folder.mkdir(parents=True)

    def told(data="keras:mnist", kind="prune", recipe=RECIPE, **scores):
        (folder / "recipe.yaml").write_text(recipe.format(data))
        artifacts = {name: replace(one, folder=folder / name) for name, one in run().items()}
        artifacts["prune"] = replace(artifacts["prune"], kind=kind, metrics={"accuracy": 0.92, **scores})
        file = GatedFile("train", 0.93, 0.91, 0.02)
        return [text(step) for step in after_gate("int8", file, "accuracy", 0.01, artifacts)]

    return told


def test_pruning_has_its_sparsity_its_epochs_and_the_command_with_model_and_data(told):
    where, used, sparsity, command = told(sparsity=0.8, accuracy=0.9125)
    assert where == "Where int8 lost it: prune -1.75 points, int8 -0.25 points. Most of it goes with prune."
    assert used.startswith("prune has used 1.75 of the 1.00 points that are allowed in all")
    assert sparsity == "Try a lower `sparsity` than 0.8 in prune, or more `epochs` than 7 to recover in."
    assert command.startswith("`tfopt sensitivity results/digits/train/model.keras --prune --data keras:mnist`")


def test_a_file_that_was_held_to_a_drop_is_not_told_to_be_so_again(told):
    steps = told(accuracy=0.93)
    assert not [step for step in steps if "max_drop" in step]
    assert "`qat: auto` in int8" in steps[1]
    assert "results/digits/prune/model.keras --data keras:mnist" in steps[-1]
    other = told(accuracy=0.93, recipe=RECIPE.replace(", max_drop: 0.01", ""))
    assert other[1] == "Try `max_drop: 0.01` in int8: as few layers as it takes stay in higher precision."


def test_data_of_more_than_a_word_is_left_to_the_reader(told):
    assert "--data DATA`" in told("{digits.py:load: {images: here.npz}}", accuracy=0.9125)[-1]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("prune_channels", "Try to remove less in prune"),
        ("cluster", "Try more shared values in prune"),
        ("qat", "Try a smaller learning rate in prune"),
        ("search", "Try a larger budget"),
        ("tune", "Try more trials"),
    ],
)
def test_every_kind_of_stage_has_its_own_advice(told, kind, words):
    assert told(kind=kind, accuracy=0.9125)[2].startswith(words)
