"""YAML that is more than a recipe is refused in one line, before it costs time or memory."""

import pytest

from tfopt.errors import RecipeError
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.yaml_limits import MOST_BYTES

LAUGHS = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
# Five levels each, of which each holds the one before.
CHAIN = "a0: &a0 [[[[[x]]]]]\n" + "".join(f"a{n}: &a{n} [[[[[*a{n - 1}]]]]]\n" for n in range(1, 20))
TEXTS = {
    "laughs": (LAUGHS, 5, "more than 10,000 parts"),
    "itself": ("name: a\nmodel: &a\n  x: [*a]\n", 3, r"\*a refers to what it is in"),
    "many keys": ("".join(f"k{n}: 1\n" for n in range(30_000)), 1, "characters"),
    "fewer keys": ("".join(f"k{n}: 1\n" for n in range(6_000)), 5000, "more than 10,000 parts"),
    "deep": ("a: " + "[" * 20_000, 1, "more than 30 levels"),
    "indented": ("".join(f"{' ' * n}a:\n" for n in range(40)), 30, "more than 30 levels"),
    "deep by aliases": (CHAIN, 6, "more than 30 levels"),
    "long": (f"name: {'x' * MOST_BYTES}", 1, "characters"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_more_than_a_recipe_is_one_line_that_names_the_place(tmp_path, kind):
    text, line, words = TEXTS[kind]
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=rf"r\.yaml:{line}: no recipe: .*{words}") as caught:
        Recipe.load(tmp_path / "r.yaml")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["\0", "a: *b", "a: [", "a: 2001-99-99", f"a: {'9' * 5000}", "a: !!int x", "a: !!omap 3", "- a", ""]
)
def test_what_is_no_mapping_is_one_line(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"r\.yaml") as caught:
        Recipe.load(tmp_path / "r.yaml")
    assert len(str(caught.value).splitlines()) == 1


def test_a_device_is_no_recipe():
    with pytest.raises(RecipeError, match="characters"):
        Recipe.load("/dev/zero")


def test_aliases_are_parts_of_a_recipe(tmp_path):
    stages = "stages: [{train: &t {epochs: 2}}, {train: {<<: *t, name: again}}]"
    (tmp_path / "r.yaml").write_text(f"name: r\nmodel: m.py:build\ndata: digits\n{stages}\n")
    assert [stage.epochs for stage in Recipe.load(tmp_path / "r.yaml").stages] == [2, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "x" * 101}, "recipe.name has 100 characters at most"),
        ({"stage": "x" * 300}, "train.name has 100 characters at most"),
        ({"stage": "Report.html"}, "the results folder uses the name"),
        ({"stage": "model_card.md"}, "the results folder uses the name"),
    ],
)
def test_a_name_that_no_folder_can_have_is_refused(tmp_path, changes, words):
    text = f"name: {changes.get('name', 'r')}\nmodel: m.py:build\ndata: digits\n"
    (tmp_path / "r.yaml").write_text(f"{text}stages: [{{train: {{epochs: 1, name: {changes.get('stage', 'a')}}}}}]\n")
    with pytest.raises(RecipeError, match=words) as caught:
        Recipe.load(tmp_path / "r.yaml")
    assert len(str(caught.value)) < 500
