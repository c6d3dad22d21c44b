"""Recipes: what is wrong is said with file:line, before anything runs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

import tfopt
from tfopt.errors import RecipeError
from tfopt.recipe.artifact import content_key
from tfopt.recipe.json_schema import json_schema
from tfopt.recipe.recipe import SOURCE, Recipe
from tfopt.recipe.stage import known_stages

HEAD = "name: a\nmodel: m.py:build\ndata: digits\nstages:\n"
PIPELINES = sorted(Path(__file__).parents[2].glob("pipelines/*.yaml"))


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="r.yaml"):
        path = Path(name)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def mistakes(write):
    """The lines of the error that a recipe's text gives, as (line number, sentence)."""

    def read(text):
        with pytest.raises(RecipeError) as caught:
            Recipe.load(write(text))
        found = [re.fullmatch(r"r\.yaml:(\d+): (.+)", line) for line in str(caught.value).splitlines()]
        assert all(found), str(caught.value)
        return [(int(match[1]), match[2]) for match in found]

    return read


def recipe(*stages, **changes):
    return Recipe(**{"name": "a", "model": "m.py:build", "data": "digits", "stages": list(stages), **changes})


WRONG = {
    "unknown stage": (HEAD + "  - quantize: {}\n  - trian: {epochs: 1}\n", 6, "Did you mean 'train'?"),
    "unknown top-level field": (HEAD + "  - quantize: {}\nsed: 3\n", 6, "Did you mean 'seed'?"),
    "unknown field of a stage": (
        HEAD + "  - train:\n      epochs: 1\n      optimzer: adam\n",
        7,
        "Did you mean 'optimizer'?",
    ),
    "unknown field in early_stopping": (
        HEAD + "  - train:\n      epochs: 1\n      early_stopping:\n        patience: 3\n        montor: loss\n",
        9,
        "Did you mean 'monitor'?",
    ),
    "unknown field in a regularizer": (
        HEAD + "  - train:\n      epochs: 1\n      regularizers:\n        - l2: 0.1\n        - onyl: conv\n",
        9,
        "Did you mean 'only'?",
    ),
    "a value out of range in a regularizer": (
        HEAD + "  - train:\n      epochs: 1\n      regularizers:\n        - l2: 0.1\n        - l2: -1\n",
        9,
        "Received: -1",
    ),
    "a word for a number": (HEAD + "  - train:\n      epochs: many\n", 6, "Received: 'many'"),
    "a fraction for a whole number": (HEAD + "  - train:\n      epochs: 1.5\n", 6, "Received: 1.5"),
    "a list for the settings": (HEAD + "  - train: [1]\n", 5, "mapping"),
    "no number": (HEAD + "  - train:\n      epochs: 1\n      l2: .nan\n", 7, "train.l2"),
    "percent": (HEAD + "  - prune:\n      epochs: 1\n      sparsity: 80\n", 7, "prune.sparsity"),
    "text with a percent sign": (HEAD + "  - prune:\n      epochs: 1\n      sparsity: 80%\n", 7, "80%"),
    "zero epochs": (HEAD + "  - train:\n      epochs: 0\n", 6, "train.epochs"),
    "a missing field": (HEAD + "  - prune:\n      sparsity: 0.5\n", 5, "prune.epochs is missing"),
    "a missing top-level field": (
        "name: a\nmodel: m.py:build\nstages:\n  - quantize: {}\n",
        1,
        "recipe.data is missing",
    ),
    "an unknown mode": (HEAD + "  - quantize:\n      mode: int9\n", 6, "'int4'"),
    "a number for the optimizer": (HEAD + "  - train:\n      epochs: 1\n      optimizer: 3\n", 7, "name such as adam"),
    "an unknown metric": ("metrics: acuracy\n" + HEAD + "  - quantize: {}\n", 1, "Did you mean 'accuracy'?"),
    "a negative seed": (HEAD + "  - quantize: {}\nseed: -1\n", 6, "recipe.seed"),
    "a name that leaves the folder": ("name: ../a\nmodel: m\ndata: d\nstages:\n  - quantize\n", 1, "recipe.name"),
    "a stage name that leaves the folder": (HEAD + "  - quantize:\n      name: ../a\n", 6, "quantize.name"),
    "a model that is a number": ("name: a\nmodel: 3\ndata: d\nstages:\n  - quantize\n", 2, "Received: 3"),
    "a model that is empty": ("name: a\nmodel:\ndata: d\nstages:\n  - quantize\n", 2, "model"),
    "data that is empty": ("name: a\nmodel: m\ndata:\nstages:\n  - quantize\n", 3, "data"),
    "no stages": ("name: a\nmodel: m\ndata: d\nstages: []\n", 4, "recipe.stages"),
    "stages as a mapping": ("name: a\nmodel: m\ndata: d\nstages:\n  train: {epochs: 1}\n", 4, "list"),
    "stages as a word": ("name: a\nmodel: m\ndata: d\nstages: train\n", 4, "list"),
    "an empty stage": (HEAD + "  - quantize: {}\n  -\n", 6, "kind"),
    "two stages in one entry": (HEAD + "  - quantize: {}\n    verify: {}\n", 5, "kind"),
    "a number for a stage": (HEAD + "  - quantize: {}\n  - 5\n", 6, "Received: 5"),
    "not YAML": (HEAD + "  - train: {epochs: 1\n", 6, "not YAML"),
    "a decimal comma": (
        HEAD + "  - prune: {sparsity: 0,05, epochs: 1}\n",
        5,
        "sparsity: 0,05? Numbers have a decimal point. Write 0.05.",
    ),
    "a tab after a value": ("name: a\n\tmodel: b\n", 2, "Indent with spaces"),
    "an unquoted colon": ("name: a\nmodel: b: c\n", 2, "not YAML"),
    "a duplicate key": ("name: a\nmodel: b\nname: c\n", 3, "duplicate key"),
    "a duplicate key in a stage": (HEAD + "  - train:\n      epochs: 1\n      epochs: 2\n", 7, "duplicate key"),
    "two documents": (HEAD + "  - quantize\n---\nname: b\n", 6, "another document"),
    "a tab": ("name: a\nstages:\n\t- train\n", 3, "Indent with spaces: YAML takes no tabs"),
    "an empty file": ("", 1, "the file is empty"),
    "only a comment": ("# nothing\n", 1, "only comments in it"),
    "a list": ("- train\n", 1, "mapping"),
    "prune after quantize": (HEAD + "  - quantize: {}\n  - prune: {sparsity: 0.5, epochs: 1}\n", 6, "keras model"),
    "verify without a file": (HEAD + "  - train: {epochs: 1}\n  - verify: {}\n", 6, "tflite file"),
    "an unknown after": (
        HEAD + "  - train: {epochs: 1}\n  - quantize:\n      after: trian\n",
        7,
        "Did you mean 'train'?",
    ),
    "after itself": (HEAD + "  - train:\n      epochs: 1\n      after: train\n", 7, "no earlier stage"),
    "after a later stage": (
        HEAD + "  - quantize:\n      after: train\n  - train: {epochs: 1}\n",
        6,
        "no earlier stage",
    ),
    "after a stage that makes no file": (
        HEAD + "  - quantize: {}\n  - benchmark: {}\n  - verify:\n      after: benchmark\n",
        8,
        "makes no file",
    ),
    "an unknown against": (
        HEAD + "  - train: {epochs: 1}\n  - quantize: {}\n  - verify:\n      against: trian\n",
        8,
        "Did you mean 'train'?",
    ),
    "a name twice": (
        HEAD + "  - train: {epochs: 1, name: x}\n  - quantize:\n      name: x\n",
        7,
        "two stages are called 'x'",
    ),
    "the name of the source": (HEAD + "  - train:\n      epochs: 1\n      name: source\n", 7, "source"),
    "a missing file of stages": ("use: stages.py\n" + HEAD + "  - quantize\n", 1, "no file 'stages.py'"),
    "a number for use": ("use: 3\n" + HEAD + "  - quantize\n", 1, "3"),
}


@pytest.mark.parametrize(("text", "line", "words"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_one_sentence_with_its_file_and_line(mistakes, text, line, words):
    [(found, sentence)] = mistakes(text)
    assert words in sentence
    assert found == line


def test_several_mistakes_in_stages_give_a_line_each(mistakes):
    text = HEAD + "  - trian: {}\n  - prune: {sparsity: 2, epochs: 1}\n  - train:\n      epochs: 0\n      foo: 1\n"
    assert [line for line, _ in mistakes(text)] == [5, 6, 8, 9]


def test_several_mistakes_at_the_top_give_a_line_each(mistakes):
    found = mistakes("name: a b\nmodel: m.py:build\ndata: digits\nsed: 1\nstages:\n  - quantize\n")
    assert [line for line, _ in found] == [1, 4]


def test_mistakes_in_stages_do_not_hide_those_at_the_top(mistakes):
    found = mistakes("name: a b\nmodel: m.py:build\ndata: digits\nstages:\n  - trian: {}\nsed: 1\n")
    assert sorted(line for line, _ in found) == [1, 5, 6]


def test_a_sentence_ends_with_one_mark(mistakes):
    [(_, sentence)] = mistakes("metrics: acuracy\n" + HEAD + "  - quantize: {}\n")
    assert not sentence.endswith("?.")


@pytest.mark.parametrize("name", ["run.log", "recipe.yaml", "report.json", "report.md", "a.old", "a.partial"])
def test_a_stage_name_that_the_results_folder_uses_itself_is_refused(mistakes, name):
    [(line, sentence)] = mistakes(HEAD + f"  - quantize:\n      name: {name}\n")
    assert line == 6
    assert "name" in sentence


def test_a_file_that_is_not_there_is_one_line(write):
    with pytest.raises(RecipeError, match=r"^there is no recipe nothing\.yaml\. Give the path of .*\.$"):
        Recipe.load("nothing.yaml")


def test_a_folder_is_one_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("")
    with pytest.raises(
        RecipeError, match=r"is a folder, and a recipe is a file\. Name one in it, such as .*mine\.yaml"
    ):
        Recipe.load(tmp_path)


def test_a_recipe_with_nearly_the_name_is_named(tmp_path):
    (tmp_path / "vision.yaml").write_text("")
    with pytest.raises(RecipeError, match=r"visoin\.yaml\. Did you mean '.*vision\.yaml'\?"):
        Recipe.load(tmp_path / "visoin.yaml")


def test_a_word_in_another_case_is_named(mistakes):
    [(line, sentence)] = mistakes(HEAD + "  - quantize: {mode: INT8}\n")
    assert line == 5
    assert sentence.endswith("Received: 'INT8'. Did you mean 'int8'?")


@pytest.mark.parametrize("content", [bytes(range(256)), b"PK\x03\x04\x00\x00\x08\x00", b"\x00\x00\x00\x00TFL3"])
def test_a_binary_file_is_one_line(tmp_path, content):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        Recipe.load(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_of_stages_that_does_not_import_is_named_with_its_own_line(write, mistakes):
    write("import tfopt\n1 / 0\n", "broken_stages.py")
    [(line, sentence)] = mistakes(HEAD + "  - quantize\nuse: broken_stages.py\n")
    assert line == 6
    assert "ZeroDivisionError" in sentence
    assert "broken_stages.py:2" in sentence


def test_a_stage_of_ones_own_may_not_take_the_name_of_a_built_in_one(write, mistakes):
    code = 'from typing import ClassVar\nimport tfopt\nclass Mine(tfopt.Stage):\n    kind: ClassVar[str] = "train"\n'
    write(code, "my_train_stage.py")
    [(_, sentence)] = mistakes("use: my_train_stage.py\n" + HEAD + "  - quantize\n")
    assert "'train'" in sentence
    assert known_stages()["train"] is tfopt.Train


@pytest.mark.parametrize("entry", ["quantize", "quantize:", "quantize: {}", "quantize: {mode: int8}"])
def test_a_stage_may_be_written_without_settings(write, entry):
    [stage] = Recipe.load(write(HEAD + f"  - {entry}\n")).stages
    assert stage == tfopt.Quantize(mode="int8")


def test_values_given_to_load_replace_those_of_the_file(write):
    loaded = Recipe.load(write(HEAD + "  - quantize\nseed: 1\n"), seed=5, data="npz:x.npz")
    assert (loaded.seed, loaded.data) == (5, "npz:x.npz")


@pytest.mark.parametrize("field", ["metrics", "use"])
def test_one_word_stands_for_a_list_of_one(field):
    assert getattr(recipe("quantize", **{field: "accuracy"}), field) == ("accuracy",)


def test_relative_paths_start_at_the_recipes_folder(write, tmp_path):
    (tmp_path / "sub").mkdir()
    assert Recipe.load(write(HEAD + "  - quantize\n", "sub/r.yaml")).folder == tmp_path / "sub"


def steps(*stages):
    return {step.name: step.parents for step in recipe(*stages).chain()}


def test_stages_follow_each_other():
    chain = steps(tfopt.Train(epochs=1), tfopt.Prune(sparsity=0.5, epochs=1), tfopt.Quantize())
    assert chain == {"train": (SOURCE,), "prune": ("train",), "quantize": ("prune",)}


def test_stages_without_a_name_are_numbered():
    chain = steps(tfopt.Train(epochs=1), tfopt.Quantize(), tfopt.Quantize(after="train"), tfopt.Quantize(after="train"))
    assert list(chain) == ["train", "quantize", "quantize-2", "quantize-3"]


def test_an_automatic_name_makes_way_for_a_given_one():
    chain = steps(tfopt.Quantize(name="quantize-2"), tfopt.Quantize(after="source"), tfopt.Quantize(after="source"))
    assert list(chain) == ["quantize-2", "quantize", "quantize-3"]


def test_after_branches_from_an_earlier_stage():
    chain = steps(
        tfopt.Train(epochs=1),
        tfopt.Quantize(name="a"),
        tfopt.Prune(sparsity=0.5, epochs=1, after="train"),
        tfopt.Quantize(name="b"),
    )
    assert chain == {"train": (SOURCE,), "a": ("train",), "prune": ("train",), "b": ("prune",)}


def test_a_stage_that_gathers_looks_at_every_file_before_it():
    chain = steps(tfopt.Quantize(name="a"), tfopt.Quantize(name="b", after="source"), tfopt.Verify(), tfopt.Benchmark())
    assert chain["verify"] == ("a", "b")
    assert chain["benchmark"] == ("a", "b")


def test_a_stage_that_gathers_may_be_told_which_file():
    chain = steps(tfopt.Quantize(name="a"), tfopt.Quantize(name="b", after="source"), tfopt.Verify(after="a"))
    assert chain["verify"] == ("a",)


def test_the_chain_goes_on_from_before_a_stage_that_gathers():
    chain = steps(tfopt.Quantize(name="a"), tfopt.Verify(), tfopt.Prune(sparsity=0.5, epochs=1, after="source"))
    assert chain["prune"] == (SOURCE,)


def test_the_way_out_names_a_stage_that_fits():
    with pytest.raises(RecipeError, match="after: train"):
        steps(tfopt.Train(epochs=1), tfopt.Quantize(), tfopt.Prune(sparsity=0.5, epochs=1))


def test_a_recipe_in_python_takes_stages_and_what_yaml_would_say():
    built = recipe(tfopt.Train(epochs=1), {"prune": {"sparsity": 0.5, "epochs": 1}}, "quantize")
    assert [stage.kind for stage in built.stages] == ["train", "prune", "quantize"]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: tfopt.Train(epochs=0), "train.epochs"),
        (lambda: tfopt.Train(), "train.epochs is missing"),
        (lambda: tfopt.Train(epoch=1), "Did you mean 'epochs'?"),
        (lambda: tfopt.Prune(epochs=1, sparsity=80), "prune.sparsity"),
        (lambda: tfopt.Quantize(mode="int9"), "quantize.mode"),
        (lambda: tfopt.Verify(max_drop=-1), "verify.max_drop"),
        (lambda: tfopt.Benchmark(seconds=0), "benchmark.seconds"),
        (lambda: tfopt.Train(epochs=1, optimizer={"adam": {}, "sgd": {}}), "train.optimizer"),
        (lambda: recipe(), "recipe.stages"),
        (lambda: recipe(tfopt.Quantize(), name="a/b"), "recipe.name"),
        (lambda: recipe(tfopt.Quantize), "Received"),
        (lambda: Recipe(name="a", stages=[tfopt.Quantize()]), "recipe.model is missing"),
    ],
)
def test_wrong_values_in_python_raise_the_same_sentences(build, words):
    with pytest.raises(RecipeError) as caught:
        build()
    assert words in str(caught.value)


def test_a_recipe_survives_the_way_through_yaml(write):
    text = """
name: all
model: m.py:build
data: npz:x.npz
loss: mse
metrics: [mae, mse]
seed: 3
trust: true
stages:
  - train:
      epochs: 2
      optimizer: {adam: {learning_rate: {cosine: {initial_learning_rate: 0.01}}}}
      early_stopping: {patience: 2}
      regularizers: [{l1: 0.1, only: conv}]
  - prune: {name: half, sparsity: 0.5, epochs: 1, begin: 10, skip: [dense]}
  - quantize: {after: train, mode: float16}
  - verify: {max_drop: 0.01}
"""
    first = Recipe.load(write(text))
    again = Recipe.load(write(first.to_yaml(), "again.yaml"))
    assert again.model_dump() == first.model_dump()
    assert [stage.settings() for stage in again.stages] == [stage.settings() for stage in first.stages]
    assert again.chain() == first.chain()


def test_the_order_of_metrics_and_of_patterns_survives_being_written(write):
    text = """name: r
model: m.py:build
data: npz:d.npz
loss: {z: mse, a: mse}
metrics: {z: [mae], a: [mse]}
stages: [{train: {epochs: 1, rates: {stem: 0.0, "conv*": 0.1, all: 1.0}}}]
"""
    again = Recipe.load(write(Recipe.load(write(text)).to_yaml(), "again.yaml"))
    assert list(again.metrics) == ["z", "a"]
    assert list(again.stages[0].rates) == ["stem", "conv*", "all"]


@pytest.mark.parametrize(
    ("make", "settings"),
    [(tfopt.Train, {}), (tfopt.Prune, {"sparsity": 0.5}), (tfopt.Cluster, {"clusters": 4})],
    ids=["train", "prune", "cluster"],
)
def test_settings_whose_order_counts_have_a_key_for_each_order(make, settings):
    def key(name, pairs):
        return content_key(make(epochs=1, **settings, **{name: dict(pairs)}).settings())

    orders = {"rates": [("head", 1.0), ("*", 0.1)], "prunable": [("Own", ["a"]), ("*", ["b"])]}
    for name in [name for name in orders if name in make.model_fields]:
        assert key(name, orders[name]) != key(name, reversed(orders[name]))
        assert key(name, orders[name]) == key(name, list(orders[name]))


def test_the_order_of_patterns_counts_inside_of_other_settings():
    def keys(make):
        pairs = [("conv*", 0.1), ("*", 1.0)]
        return [content_key(make(dict(own)).settings()) for own in (pairs, pairs[::-1])]

    def tuned(rates):
        stages = [{"train": {"epochs": 1, "rates": rates}}]
        return tfopt.Tune(trials=2, space={"train.l2": [0.0, 1e-4]}, stages=stages)

    def along(axes):
        return tfopt.Train(epochs=1, optimizer={"proximal_l1": {"axes": axes}})

    def searched(rates):
        return tfopt.Search(within={"gzip_bytes": 1000}, training={"rates": rates})

    for first, second in map(keys, (tuned, along, searched)):
        assert first != second


def test_yaml_holds_only_what_differs_from_the_defaults():
    written = YAML(typ="safe").load(recipe(tfopt.Quantize(), tfopt.Train(epochs=1)).to_yaml())
    assert set(written) == {"name", "model", "data", "stages"}
    assert written["stages"] == [{"quantize": {}}, {"train": {"epochs": 1}}]


def test_objects_are_written_as_references():
    written = YAML(typ="safe").load(recipe(tfopt.Quantize(), model=steps, data=(1, 2)).to_yaml())
    assert written["model"] == f"{__name__}:steps"
    assert isinstance(written["data"], str)


def test_a_whole_number_of_steps_and_a_fraction_stay_what_they_are():
    stage = tfopt.Prune(sparsity=0.5, epochs=1, begin=1, end=1.0)
    assert (type(stage.begin), type(stage.end)) == (int, float)


@pytest.mark.parametrize("schedule", [False, True], ids=["a number", "a schedule"])
def test_an_optimizer_object_is_written_as_a_name_with_arguments_that_build_it_again(write, schedule):
    import keras

    from tfopt.optimizers import build_optimizer

    rate = keras.optimizers.schedules.CosineDecay(0.01, 100) if schedule else 0.01
    optimizer = keras.optimizers.Adam(rate, beta_1=0.8)
    stage = tfopt.Train(epochs=1, optimizer=optimizer)
    assert json.dumps(stage.settings())
    [again] = Recipe.load(write(recipe(stage).to_yaml())).stages
    assert list(again.optimizer) == ["adam"]
    assert build_optimizer(again.optimizer, 100).get_config() == optimizer.get_config()


def accepts(schema, value, root=None):
    """Whether a JSON value fits a schema, for the keywords that recipes use."""
    root = root or schema
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    for word, enough in (("anyOf", lambda n: n > 0), ("oneOf", lambda n: n == 1)):
        if word in schema and not enough(sum(accepts(option, value, root) for option in schema[word])):
            return False
    types = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "null": type(None),
        "integer": int,
        "number": (int, float),
    }
    if "type" in schema:
        if not isinstance(value, types[schema["type"]]):
            return False
        if isinstance(value, bool) and schema["type"] != "boolean":
            return False
    if ("enum" in schema and value not in schema["enum"]) or ("const" in schema and value != schema["const"]):
        return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties", True)
        return (
            all(name in value for name in schema.get("required", ()))
            and schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value))
            and all(accepts(known[n], v, root) if n in known else rest is not False for n, v in value.items())
        )
    if isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(
            accepts(schema.get("items", {}), item, root) for item in value
        )
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, int | float):
        return (
            value >= schema.get("minimum", value)
            and value <= schema.get("maximum", value)
            and not ("exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"])
            and not ("exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"])
        )
    return True


def schema_accepts(text):
    schema, document = json_schema(), YAML(typ="safe").load(text)
    try:
        from jsonschema import Draft202012Validator
    except ImportError:
        return accepts(schema, document)
    return Draft202012Validator(schema).is_valid(document)


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_the_schema_accepts_the_recipes_that_come_along(path):
    assert schema_accepts(path.read_text())


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "  - quantize: {}\n",
        HEAD + "  - quantize:\n",
        HEAD + "  - quantize\n",
        HEAD + "  - train: {epochs: 1, optimizer: adam, early_stopping: {}}\n",
        HEAD + "  - prune: {epochs: 1, sparsity: 0.5, only: [conv], begin: 3}\n",
        HEAD + "  - prune: {epochs: 1, sparsity: 0.5, only: conv}\n",
        HEAD + "  - train: {epochs: 1, regularizers: [{l1: 0.1, only: conv}]}\n",
        "metrics: mae\n" + HEAD + "  - quantize: {}\n",
        "metrics: [mae, mse]\nloss: mse\n" + HEAD + "  - quantize: {}\n",
    ],
)
def test_the_schema_accepts_what_load_accepts(write, text):
    Recipe.load(write(text))
    assert schema_accepts(text)


@pytest.mark.parametrize(
    "name",
    [
        "unknown stage",
        "unknown top-level field",
        "unknown field of a stage",
        "unknown field in early_stopping",
        "a word for a number",
        "percent",
        "zero epochs",
        "a missing field",
        "an unknown mode",
        "a negative seed",
        "no stages",
        "stages as a mapping",
        "two stages in one entry",
        "a name that leaves the folder",
    ],
)
def test_the_schema_refuses_what_load_refuses(name):
    assert not schema_accepts(WRONG[name][0])


def test_every_reference_in_the_schema_leads_somewhere():
    schema = json_schema()
    for name in re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema)):
        assert name in schema["$defs"]


def test_the_text_of_a_recipe_names_its_objects_and_has_none_of_their_arrays():
    pair = (np.arange(4000.0).reshape(2000, 2), np.zeros(2000))
    recipe = tfopt.Recipe(name="r", model="m.py:build", data=(pair, pair), stages=["verify"])
    text = repr(recipe)
    assert text.startswith("Recipe(name='r', model='m.py:build', data=")
    assert "array" not in text
    assert len(text) < 300
