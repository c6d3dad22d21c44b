"""Commands that a report prints work from one folder, whatever is in the paths."""

import shlex
from dataclasses import replace

import pytest

from tests.detail_examples import BY_TYPE
from tests.report.test_model_card import RECIPE
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.usage import Usage
from tfopt.report.blocks import Code, OnPage, Paragraph
from tfopt.report.sections import recipe, usage


def commands(blocks):
    """The commands in paragraphs, as a shell splits them."""
    flat = [part for block in blocks for part in (block.blocks if isinstance(block, OnPage) else [block])]
    spans = [span for block in flat if isinstance(block, Paragraph) for span in block.text]
    return [shlex.split(span) for span in spans if isinstance(span, Code)]


@pytest.mark.parametrize("out", ["saved_models", "my models"])
def test_paths_are_from_beside_the_folder_of_all_results(tmp_path, out):
    run = tmp_path / out / "digits"
    (run / "int8").mkdir(parents=True)
    (run / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    (run / "int8" / "model.tflite").touch()
    int8 = Artifact("int8", "quantize", run / "int8", "model.tflite", "tflite", "k")
    int8 = replace(int8, details=[BY_TYPE[Usage]])
    [again] = commands(recipe.blocks({"int8": int8}))
    [code] = commands(usage.blocks(int8))
    assert again == ["tfopt", "run", f"{out}/digits/recipe.yaml", "--out", out]
    assert code == ["tfopt", "inspect", f"{out}/digits/int8/model.tflite", "--snippet", "python"]
    assert all((tmp_path / path).exists() for path in (again[2], again[4], code[2]))
