"""Scripts of data whose names come out of files that anyone may have written."""

import ast
from pathlib import Path

import pytest

from tfopt.drafting.array_roles import WHOLE, Roles
from tfopt.drafting.data_script import DataScript
from tfopt.drafting.model_facts import InputFacts, ModelFacts, OutputFacts
from tfopt.drafting.recipe_text import Field, recipe_text
from tfopt.drafting.task import task_of

HOSTILE = 'a"] if not __import__("os").system("true") else arrays["a\\'
NAMES = [HOSTILE, "it's", "two\nlines", "\u2028", '"""']


def script(name, targets="arrays", from_text=""):
    output = OutputFacts(name, (3,), "softmax")
    facts = ModelFacts((InputFacts(name, (4,), "float32"),), (output,), from_text=from_text)
    roles = Roles({WHOLE: {name: name}}, {WHOLE: {name: name}} if targets == "arrays" else {}, (), {WHOLE: 10})
    file, model = Path(f"/{name.replace('/', '_')}.npz"), Path(f"/{name.replace('/', '_')}.keras")
    return DataScript(f"{name}.yaml", file, roles, facts, targets, model, (task_of(output, None),)).text(Path("/"))


@pytest.mark.parametrize("targets", ["arrays", "inputs", "answers"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_and_no_code(name, targets):
    plain = [type(node) for node in ast.walk(ast.parse(script("plain", targets, "plain")))]
    tree = ast.parse(script(name, targets, name))
    assert [type(node) for node in ast.walk(tree)] == plain
    assert name in {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_does_not_end_a_comment(name):
    fields = [Field("model", "m.keras", remark=name, above=[name])]
    text = recipe_text([name], fields, [("train", {"epochs": 1}, name)], [name])
    assert len(text.splitlines()) == len(
        recipe_text(["n"], fields, [("train", {"epochs": 1}, "n")], ["n"]).splitlines()
    )
    assert all(line.lstrip().startswith(("#", "model:", "stages:", "- train")) for line in text.splitlines())
