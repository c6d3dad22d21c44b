"""Settings whose errors are sentences."""

from typing import ClassVar

import pytest
from pydantic import Field, ValidationError, field_validator

import tfopt
from tfopt.errors import InputError, RecipeError, did_you_mean
from tfopt.recipe.settings import Settings


class Inner(Settings):
    patience: int = Field(5, ge=0)
    """How long."""


class Outer(Settings):
    kind: ClassVar[str] = "outer"
    size: int = Field(ge=1)
    """How large."""
    color: str = "red"
    """Which color."""
    share: float | None = None
    """How much."""
    point: int | float = 0
    """Where."""
    inner: Inner | None = None
    """More."""
    many: tuple[Inner, ...] = ()
    """Even more."""

    @field_validator("color")
    @classmethod
    def _no_blue(cls, color):
        if color == "blue":
            raise ValueError("there is no blue")
        return color


def problems(**values):
    with pytest.raises(RecipeError) as caught:
        Outer(**values)
    return caught.value.problems


def test_the_nearest_known_word_is_suggested():
    assert did_you_mean("trian", ["prune", "train"]) == "Did you mean 'train'?"


def test_all_known_words_are_listed_in_order_where_none_is_near():
    assert did_you_mean("xyz", ["prune", "benchmark"]) == "Known: benchmark, prune."


@pytest.mark.parametrize("word", [3, None, True, 1.5])
def test_a_word_that_is_no_text_still_gets_an_answer(word):
    assert did_you_mean(word, ["train"]).startswith("Known")


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("final_sparsity", ["initial_sparsity", "sparsity"], "sparsity"),
        ("begin_step", ["begin", "end"], "begin"),
        ("pruning_schedule", ["schedule", "prunable"], "schedule"),
        ("number_of_clusters", ["clusters"], "clusters"),
        ("LR", ["learning_rate", "momentum"], "learning_rate"),
        ("batch", ["batch_size", "patches"], "batch_size"),
        ("optim", ["optimizer", "only"], "optimizer"),
    ],
)
def test_a_name_of_the_field_leads_to_the_one_that_means_it(word, known, meant):
    assert did_you_mean(word, known) == f"Did you mean {meant!r}?"


@pytest.mark.parametrize("word", ["lr", "learning_rate"])
def test_the_learning_rate_is_looked_for_in_the_optimizer(word):
    assert "optimizer: {adam: {learning_rate: ...}}" in did_you_mean(word, ["epochs", "optimizer"])
    assert did_you_mean(word, ["epochs"]) == "Known: epochs."


def test_right_values_are_kept():
    knobs = Outer(size=2, inner={"patience": 1})
    assert (knobs.size, knobs.color, knobs.inner.patience) == (2, "red", 1)


def test_an_unknown_field_names_its_owner_and_the_nearest_field():
    [(place, sentence)] = problems(size=1, colour="red")
    assert place == ("colour",)
    assert "outer" in sentence
    assert "Did you mean 'color'?" in sentence


def test_a_missing_field_is_named():
    [(place, sentence)] = problems()
    assert place == ("size",)
    assert "outer.size is missing" in sentence


@pytest.mark.parametrize("value", [0, "many", 1.5, None, [1]])
def test_an_impossible_value_is_shown_with_its_field(value):
    [(place, sentence)] = problems(size=value)
    assert place == ("size",)
    assert sentence.startswith("outer.size is ")
    assert sentence.endswith(f"Received: {value!r}.")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"share": "1%"}, "outer.share is a fraction: write 0.01 for 1%. Received: '1%'."),
        ({"point": " 50 % "}, "outer.point is a fraction: write 0.5 for 50 %. Received: ' 50 % '."),
        ({"point": "100%"}, "outer.point is a fraction: write 1.0 for 100%. Received: '100%'."),
    ],
)
def test_a_percentage_is_answered_with_its_fraction(values, sentence):
    [name] = values
    assert problems(size=1, **values) == [((name,), sentence)]


def test_a_percentage_of_a_whole_number_is_no_fraction():
    [(_, sentence)] = problems(size="5%")
    assert "fraction" not in sentence


def test_a_validators_own_sentence_is_kept():
    [(_, sentence)] = problems(size=1, color="blue")
    assert "there is no blue" in sentence
    assert "Value error" not in sentence


def test_every_mistake_has_its_own_line():
    found = problems(size=0, colour=1, color=3)
    assert {place for place, _ in found} == {("size",), ("colour",), ("color",)}
    assert all("\n" not in sentence for _, sentence in found)


def test_an_unknown_field_of_nested_settings_is_placed_under_the_field_that_holds_them():
    [(place, sentence)] = problems(size=1, inner={"patiance": 1})
    assert place == ("inner", "patiance")
    assert "Did you mean 'patience'?" in sentence
    assert "outer.inner" in sentence


def test_an_impossible_value_in_a_list_of_settings_is_placed_by_its_index():
    [(place, sentence)] = problems(size=1, many=[{"patience": 1}, {"patience": -1}])
    assert place == ("many", 1, "patience")
    assert "Received: -1" in sentence


def test_mistakes_in_nested_settings_do_not_hide_the_others():
    assert len(problems(size=0, inner={"patience": -1})) == 2


def test_a_recipe_error_is_one_line_per_problem_and_an_input_error():
    with pytest.raises(InputError) as caught:
        Outer(size=0, colour=1)
    assert len(str(caught.value).splitlines()) == 2
    assert caught.value.exit_code == 2


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        Outer(size=1).size = 2


def test_descriptions_come_from_the_line_below_a_field():
    assert Outer.model_fields["size"].description == "How large."


def test_a_value_without_a_name_is_one_line_that_shows_how():
    with pytest.raises(RecipeError, match=r"^Prune takes its settings by name: Prune\(.*=\.\.\.\)\. Received: 0\.8\.$"):
        tfopt.Prune(0.8)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"stages": []}, "recipe.stages is a list with 1 or more in it. Received: []."),
        ({"stages": {"train": {}}}, "recipe.stages is a list of stages, each written `- kind: {settings}`. Received: "),
        ({"name": "my run"}, "recipe.name is made of letters, digits, dots, hyphens and underscores, the first "),
    ],
    ids=["no stages", "a mapping of stages", "a name with a space"],
)
def test_a_recipe_is_refused_in_our_own_words(given, sentence):
    with pytest.raises(RecipeError) as caught:
        tfopt.Recipe(**{"name": "r", "model": "m.py:f", "data": "digits", "stages": ["verify"], **given})
    assert str(caught.value).startswith(sentence)
