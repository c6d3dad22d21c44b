"""The settings that would mend a noisy file, as a recipe and as the command have them."""

import shlex

from ruamel.yaml import YAML

from tfopt.quantization.remedies import Remedy
from tfopt.recipe.export import Rule


def test_the_settings_of_a_remedy_are_all_rules_in_their_order_for_a_recipe_and_as_options():
    given = [Rule(layers="*", to="int4"), Rule(layers=["a", "b"], to="float")]
    remedy = Remedy((*given, Rule(layers=["front", "a"], to="float"), Rule(layers="c d", to="int8")), "float32", 30.0)
    assert YAML(typ="safe").load(remedy.settings.removesuffix(" and io: float32")) == {
        "rules": [
            {"layers": "*", "to": "int4"},
            {"layers": ["a", "b", "front"], "to": "float"},
            {"layers": "c d", "to": "int8"},
        ]
    }
    words = ["--rule", "*=int4", "--rule", "a=float", "--rule", "b=float", "--rule", "front=float", "--rule"]
    assert shlex.split(remedy.options) == [*words, "c d=int8", "--io", "float32"]
