import json

import keras_tuner
import pytest

from tfopt.search.tuning.ranges import ValueRange, set_value


@pytest.mark.parametrize(
    ("written", "kind", "sampling"),
    [
        ([0.1, 0.9], "Float", "linear"),
        ([8, 64], "Int", "linear"),
        ({"log": [1e-4, 1e-2]}, "Float", "log"),
        ({"log": [8, 512]}, "Int", "log"),
        ({"range": [0.0, 1.0], "step": 0.25}, "Float", "linear"),
        ({"range": [16, 64], "step": 16}, "Int", "linear"),
    ],
)
def test_a_range_is_keras_tuners(written, kind, sampling):
    hyperparameters = keras_tuner.HyperParameters()
    span = ValueRange.read(written)
    span.declare("a", hyperparameters)
    [made] = hyperparameters.space
    assert type(made).__name__ == kind
    assert made.sampling == sampling
    assert (made.min_value, made.max_value) == span.ends()
    assert ValueRange.read(span.written()) == span
    assert all(span.low <= made.random_sample(seed) <= span.high for seed in range(20))


@pytest.mark.parametrize("choices", [[0.7, 0.8], ["adam", "sgd"], [1, 2, 4], [True, False]])
def test_choices_of_one_type_are_keras_tuners(choices):
    hyperparameters = keras_tuner.HyperParameters()
    assert ValueRange.read({"choice": choices}).declare("a", hyperparameters) == choices[0]
    assert list(hyperparameters.space[0].values) == choices


@pytest.mark.parametrize("choices", [[{"adam": {}}, "sgd"], [1, 0.5], [None, "balanced"], [["conv"], []]])
def test_choices_that_keras_tuner_does_not_take_go_as_text(choices):
    hyperparameters = keras_tuner.HyperParameters()
    assert ValueRange.read({"choice": choices}).declare("a", hyperparameters) == choices[0]
    assert [json.loads(text) for text in hyperparameters.space[0].values] == choices


@pytest.mark.parametrize(
    "written",
    [
        3,
        "adam",
        [],
        [1],
        [2, 1],
        [1, 2, 3],
        ["a", "b"],
        {"log": [0, 1]},
        {"log": [1e-3, 1e-2], "step": 1},
        {"choice": []},
        {"choice": [1], "step": 1},
        {"range": [0, 1], "step": 5},
        {"range": [0, 1], "log": [1, 2]},
        {"values": [1, 2]},
        [0.1, float("inf")],
    ],
)
def test_what_is_no_span_is_refused(written):
    with pytest.raises(ValueError, match="Received"):
        ValueRange.read(written)


def test_a_value_is_put_where_its_name_leads():
    settings = {"epochs": 3, "rules": [{"layers": "head", "sparsity": 0.5}]}
    set_value(settings, ["optimizer", "adam", "learning_rate"], 0.1)
    set_value(settings, ["rules", "0", "sparsity"], 0.9)
    set_value(settings, ["epochs"], 4)
    assert settings == {
        "epochs": 4,
        "rules": [{"layers": "head", "sparsity": 0.9}],
        "optimizer": {"adam": {"learning_rate": 0.1}},
    }


def test_a_name_becomes_a_mapping_and_what_it_was_given_stays():
    assert _after({"optimizer": "adam"}, "optimizer.adam.learning_rate") == {
        "optimizer": {"adam": {"learning_rate": 1}}
    }
    before = {"optimizer": {"adam": {"beta_1": 0.8}}}
    assert _after(before, "optimizer.adam.learning_rate")["optimizer"]["adam"] == {"beta_1": 0.8, "learning_rate": 1}
    assert before == {"optimizer": {"adam": {"beta_1": 0.8}}} or before["optimizer"]["adam"]["learning_rate"] == 1


def _after(settings, name):
    set_value(settings, name.split("."), 1)
    return settings


@pytest.mark.parametrize("name", ["epochs.more", "rules.3.sparsity", "rules.first.sparsity"])
def test_a_name_that_leads_nowhere_is_refused(name):
    with pytest.raises(ValueError, match=r"which has no settings|needs a number below"):
        set_value({"epochs": 3, "rules": [{"sparsity": 0.5}]}, name.split("."), 1)
