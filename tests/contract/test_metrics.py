"""What every metric that a recipe can name keeps to."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from sklearn import metrics as sk

from tfopt.errors import InputError
from tfopt.metrics import FAMILIES, METRICS, Decision, default_metric, find, known

GENERATOR = np.random.default_rng(0)
IDS = GENERATOR.integers(0, 4, 200)
SCORES = GENERATOR.dirichlet(np.ones(4), 200) * 0.8 + 0.2 * np.eye(4)[IDS]
FOUND = SCORES.argmax(1)
FLAGS = GENERATOR.integers(0, 2, 200)
ONE = (0.3 * FLAGS + 0.7 * GENERATOR.random(200))[:, None]
Y = GENERATOR.normal(size=(200, 3))
VALUES = Y + 0.1 * GENERATOR.normal(size=(200, 3))

AVERAGED = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
# scikit-learn's own word, for several classes or for values, and for one score of class 1.
EXPECTED = {
    "accuracy": lambda: sk.accuracy_score(IDS, FOUND),
    "balanced_accuracy": lambda: sk.balanced_accuracy_score(IDS, FOUND),
    **{name: (lambda f=f: f(IDS, FOUND, average="macro")) for name, f in AVERAGED.items()},
    **{
        f"{name}_{average}": (lambda f=f, average=average: f(IDS, FOUND, average=average))
        for name, f in AVERAGED.items()
        for average in ("macro", "micro", "weighted")
    },
    "roc_auc": lambda: sk.roc_auc_score(IDS, SCORES, multi_class="ovr"),
    "top_2": lambda: sk.top_k_accuracy_score(IDS, SCORES, k=2),
    "mae": lambda: sk.mean_absolute_error(Y, VALUES),
    "mse": lambda: sk.mean_squared_error(Y, VALUES),
    "r2": lambda: sk.r2_score(Y, VALUES),
}
OF_ONE_SCORE = {
    "accuracy": lambda: sk.accuracy_score(FLAGS, ONE[:, 0] > 0.5),
    "balanced_accuracy": lambda: sk.balanced_accuracy_score(FLAGS, ONE[:, 0] > 0.5),
    **{name: (lambda f=f: f(FLAGS, ONE[:, 0] > 0.5)) for name, f in AVERAGED.items()},
    "roc_auc": lambda: sk.roc_auc_score(FLAGS, ONE[:, 0]),
}
CLASSES = [name for name in EXPECTED if find(name).of_classes]


def samples(metric):
    """Targets and imperfect outputs of the kind that the metric scores, and perfect outputs."""
    return (IDS, SCORES, 5.0 * np.eye(4)[IDS]) if metric.of_classes else (Y, VALUES, Y)


def test_the_cases_are_all_there_are():
    assert {name for name in EXPECTED if name != "top_2"} == set(METRICS)
    assert list(FAMILIES) == ["top_"]


@pytest.mark.parametrize("name", EXPECTED)
def test_it_goes_by_its_name(name):
    assert find(name).name == name
    assert name == "top_2" or find(name) is METRICS[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_it_is_what_scikit_learn_says(name):
    metric = find(name)
    y, outputs, _ = samples(metric)
    assert metric.score(y, outputs) == pytest.approx(EXPECTED[name](), rel=1e-6)


@pytest.mark.parametrize("name", OF_ONE_SCORE)
@pytest.mark.parametrize("outputs", [ONE, ONE[:, 0]], ids=["a column", "a vector"])
def test_of_one_score_it_is_what_scikit_learn_says_of_class_one(name, outputs):
    assert find(name).score(FLAGS, outputs) == pytest.approx(OF_ONE_SCORE[name](), rel=1e-6)


@pytest.mark.parametrize("name", EXPECTED)
def test_perfect_outputs_have_its_best_value_and_all_others_a_worse_one(name):
    metric = find(name)
    y, outputs, perfect = samples(metric)
    best, value = metric.score(y, perfect), metric.score(y, outputs)
    assert best == pytest.approx(1 if metric.higher_is_better else 0)
    assert (value < best) == metric.higher_is_better
    assert value != best


@pytest.mark.parametrize("name", EXPECTED)
def test_a_drop_is_positive_where_it_got_worse(name):
    metric = find(name)
    y, outputs, perfect = samples(metric)
    best, value = metric.score(y, perfect), metric.score(y, outputs)
    assert metric.drop(best, value) == pytest.approx(abs(best - value))
    assert metric.drop(value, best) == pytest.approx(-abs(best - value))


@pytest.mark.parametrize("name", EXPECTED)
def test_its_value_is_a_float_of_python(name):
    y, outputs, _ = samples(find(name))
    assert type(find(name).score(y, outputs.astype(np.float32))) is float


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("form", [lambda ids: ids[:, None], lambda ids: np.eye(4)[ids], lambda ids: ids.astype("f4")])
def test_labels_may_be_a_column_one_hot_or_floats(name, form):
    assert find(name).score(form(IDS), SCORES) == find(name).score(IDS, SCORES)


MEANS = [name for name in EXPECTED if find(name).each]


def test_what_is_a_mean_over_samples():
    assert {"accuracy", "mae", "mse", "top_2"} <= set(MEANS)


@pytest.mark.parametrize("name", MEANS)
def test_the_numbers_of_the_samples_have_it_as_their_mean(name):
    metric = find(name)
    y, outputs, _ = samples(metric)
    found = metric.by_sample(y, outputs, "output")
    assert found.shape == (len(y),)
    assert found.mean() == pytest.approx(metric.value(y, outputs, "output"), rel=1e-6)
    assert found[:9] == pytest.approx([metric.value(y[i : i + 1], outputs[i : i + 1], "output") for i in range(9)])


@pytest.mark.parametrize("name", MEANS)
def test_samples_of_several_values_count_once(name):
    metric = find(name)
    y, outputs, _ = samples(metric)
    y, outputs = (array.reshape(40, 5, *array.shape[1:]) for array in (y, outputs))
    found = metric.by_sample(y, outputs, "output")
    assert found.shape == (40,)
    assert found.mean() == pytest.approx(metric.value(y, outputs, "output"), rel=1e-6)


def test_accuracy_of_logits_and_of_flags_has_its_mean_too():
    metric = replace(METRICS["accuracy"], decisions=(("logits", Decision(True)), ("flags", Decision(True, True))))
    logits, generator = ONE - 0.5, np.random.default_rng(1)
    flags = generator.integers(0, 2, (50, 4))
    for y, outputs, name in ((FLAGS, logits, "logits"), (flags, generator.normal(size=(50, 4)), "flags")):
        found = metric.by_sample(y, outputs, name)
        assert found.shape == (len(y),)
        assert found.mean() == pytest.approx(metric.value(y, outputs, name))


def test_of_equal_scores_top_k_takes_the_same_for_a_sample_as_for_all():
    metric, outputs = find("top_2"), np.zeros((4, 4))
    ids = np.arange(4)
    assert metric.by_sample(ids, outputs, "output").mean() == metric.value(ids, outputs, "output") == 0.5


def test_under_another_name_of_its_output_it_is_the_same():
    metric = replace(METRICS["accuracy"], decisions=(("a_b", Decision(True)), ("c", Decision(True)))).of("a_b")
    renamed = metric.renamed({"a_b": "x", "x": "a_b"})
    assert (renamed.name, renamed.output) == ("x_accuracy", "x")
    assert dict(renamed.decisions) == {"x": Decision(True), "c": Decision(True)}
    assert renamed.renamed({"x": "a_b"}) == metric
    assert METRICS["mse"].renamed({"a": "b"}) == METRICS["mse"]


@pytest.mark.parametrize("name", EXPECTED)
def test_of_an_output_it_has_the_name_that_keras_gives_it(name):
    metric = find(name).of("head")
    assert (metric.name, metric.output) == (f"head_{name}", "head")
    assert metric.at(["head", "tail"]) == [metric]
    assert [m.output for m in find(name).at(["head", "tail"])] == ["head", "tail"]
    assert [m.output for m in find(name).at(["head"])] == [None]


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name].keras])
def test_keras_has_it_under_every_name_that_it_says_and_computes_the_same(name):
    metric = METRICS[name]
    y, outputs, _ = samples(metric)
    for alias in metric.keras_aliases:
        assert known(alias) is metric
    for keras_name in (metric.keras, *metric.keras_aliases):
        if keras_name not in ("accuracy", "acc"):  # for which Keras looks at the shapes in compile
            assert keras.metrics.get(keras_name) is not None
    model = keras.Sequential([keras.layers.Input(outputs.shape[1:]), keras.layers.Identity()])
    loss = "sparse_categorical_crossentropy" if metric.of_classes else "mse"
    model.compile("sgd", loss, metrics=[metric.keras])
    logs = model.evaluate(outputs.astype(np.float32), y, verbose=0, return_dict=True)
    assert logs[metric.keras] == pytest.approx(metric.score(y, outputs), rel=1e-5)


def test_no_name_stands_for_two_metrics():
    names = [name for metric in METRICS.values() for name in (metric.name, *metric.keras_aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name].of_losses])
def test_it_is_the_usual_metric_of_the_losses_that_it_says(name):
    for part in METRICS[name].of_losses:
        assert default_metric(f"some_{part}") is METRICS[name]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_makes_the_metric_of_any_number_and_of_nothing_else(family):
    assert find(FAMILIES[family].example).name == FAMILIES[family].example
    for number in (1, 2, 17):
        assert find(f"{family}{number}").name == f"{family}{number}"
    for wrong in ("0", "-1", "01", "1.5", "", "k"):
        with pytest.raises(InputError, match=FAMILIES[family].example):
            find(f"{family}{wrong}")


def test_taking_them_imports_no_framework(python):
    code = """
import json, sys
import numpy as np
from tfopt.metrics import METRICS
y, outputs = np.array([0, 1, 1, 2]), np.random.default_rng(0).random((4, 3))
for metric in METRICS.values():
    metric.score(y if metric.of_classes else outputs, outputs)
print(json.dumps([name for name in ("tensorflow", "keras", "ai_edge_litert") if name in sys.modules]))
"""
    assert json.loads(python(code)) == []
