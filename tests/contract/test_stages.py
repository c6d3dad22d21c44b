"""What every stage that comes with tfopt keeps to."""

import contextlib
import inspect
import json
import sys

import keras
import pytest
from keras import layers
from pydantic import ValidationError

import tfopt
from tfopt.errors import InputError, RecipeError
from tfopt.models.read_models import state
from tfopt.pipeline.plan import Plan
from tfopt.recipe.json_schema import json_schema
from tfopt.recipe.progress import Progress
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.stage import Stage, known_stages

STAGES = {kind: stage for kind, stage in known_stages().items() if stage.__module__.startswith("tfopt.")}
VALUES = {"stages": [{"train": {"epochs": 1}}], "units": 4, "epochs": 2, "clusters": 8, "keep": 0.5}
# What has another name in Python, where that of its kind is taken: `tfopt.export`, `tfopt.Export`.
OTHERWISE = {"export": "exportkit"}
# What a stage takes one of, so that none of them is required by itself.
ONE_OF = {"prune": {"sparsity": 0.5}, "search": {"max_drop": 0.01}}


@pytest.fixture(params=STAGES)
def kind(request):
    return request.param


@pytest.fixture
def stage(kind):
    return STAGES[kind]


def required(stage):
    return {name for name, field in stage.model_fields.items() if field.is_required()}


def made(stage, **more):
    return stage(**{**{name: VALUES[name] for name in required(stage)}, **ONE_OF.get(stage.kind, {}), **more})


def nested(stage):
    """The settings within a stage's settings."""
    found = []
    for field in stage.model_fields.values():
        for option in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if inspect.isclass(option) and hasattr(option, "model_fields"):
                found.append(option)
    return found


def test_the_registry_holds_the_documented_stages():
    assert list(STAGES) == [
        "replace_head",
        "train",
        "tune",
        "prune",
        "prune_channels",
        "remove_dead",
        "cluster",
        "search",
        "qat",
        "quantize",
        "verify",
        "benchmark",
        "export",
    ]


def test_a_stage_is_registered_under_its_kind(kind, stage):
    assert stage.kind == kind
    assert issubclass(stage, Stage)


def test_a_stage_is_public_and_lives_in_the_file_of_its_kind(kind, stage):
    assert getattr(tfopt, stage.__name__) is stage
    assert stage.__module__ == f"tfopt.stages.{kind}"
    assert stage.__name__.lower() == OTHERWISE.get(kind, kind.replace("_", ""))


def test_a_stage_says_in_one_sentence_what_it_does(stage):
    first = (stage.__doc__ or "").strip().splitlines()[0]
    assert first.endswith(".")
    assert 20 < len(first) <= 120


def test_a_stage_takes_and_gives_a_known_format(stage):
    assert {stage.takes, stage.gives} <= {"keras", "tflite"}
    assert isinstance(stage.version, int)


def test_every_setting_has_a_description(stage):
    for owner in (stage, *nested(stage)):
        for name, field in owner.model_fields.items():
            assert (field.description or "").strip().endswith("."), f"{owner.__name__}.{name}"


def test_every_setting_is_in_the_json_schema_with_its_description(stage):
    schema = stage.model_json_schema()
    assert json.dumps(schema)
    assert set(schema["properties"]) == set(stage.model_fields)
    assert set(schema.get("required", ())) == required(stage)
    assert schema["additionalProperties"] is False
    for name, field in stage.model_fields.items():
        assert schema["properties"][name]["description"] == field.description


def test_the_schema_of_recipes_knows_the_stage(kind):
    options = json_schema()["properties"]["stages"]["items"]["anyOf"]
    assert kind in {word for option in options for word in option.get("properties", ())}


def test_what_is_required_is_what_has_no_sensible_default(stage):
    assert required(stage) <= set(VALUES)


REQUIRED = [(kind, name) for kind, stage in STAGES.items() for name in sorted(required(stage))]


@pytest.mark.parametrize(("kind", "name"), REQUIRED)
def test_a_required_setting_that_is_missing_is_named(kind, name):
    stage = STAGES[kind]
    with pytest.raises(RecipeError, match=f"{kind}.{name} is missing"):
        stage(**{other: VALUES[other] for other in required(stage) - {name}})


def test_every_default_passes_its_own_check(stage):
    given = required(stage) | set(ONE_OF.get(stage.kind, ()))
    defaults = {name: field.default for name, field in stage.model_fields.items() if name not in given}
    assert made(stage, **defaults) == made(stage)


def test_a_stage_cannot_be_changed_afterwards(stage):
    built = made(stage)
    for name in stage.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(built, name, None)


def test_an_unknown_setting_is_refused_with_the_nearest_one(kind, stage):
    with pytest.raises(RecipeError, match=rf"{kind} has no field 'aftr'. Did you mean 'after'\?"):
        made(stage, aftr="x")


def test_a_name_that_makes_no_folder_is_refused(kind, stage):
    with pytest.raises(RecipeError, match=f"{kind}.name"):
        made(stage, name="../a")


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "two words", 3])
def test_no_other_name_that_makes_no_folder_passes(name):
    with pytest.raises(RecipeError, match=r"quantize\.name"):
        tfopt.Quantize(name=name)


def test_the_settings_are_json_and_leave_the_name_and_the_place_out(stage):
    built = made(stage, name="x", after="y")
    assert json.loads(json.dumps(built.settings())) == built.settings()
    assert set(built.settings()) == set(stage.model_fields) - {"name", "after"}
    assert built.settings() == made(stage).settings()


def test_the_settings_build_the_same_stage_again(stage):
    assert stage(**made(stage).settings()) == made(stage)


def test_a_stage_survives_the_way_through_yaml(stage, tmp_path):
    first = tfopt.Quantize(name="file")
    recipe = Recipe(name="a", model="m.py:f", data="digits", stages=[first, made(stage, name="x", after="file")])
    path = tmp_path / "r.yaml"
    if stage.takes == "keras":
        recipe = Recipe(name="a", model="m.py:f", data="digits", stages=[first, made(stage, name="x", after="source")])
    path.write_text(recipe.to_yaml())
    assert Recipe.load(path).stages == recipe.stages


def test_the_command_line_shows_every_setting(kind, stage, monkeypatch, capsys):
    from tfopt.cli import main

    monkeypatch.setattr(sys, "argv", ["tfopt", "stages", kind])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    text = capsys.readouterr().out
    assert stage.__doc__.strip().splitlines()[0] in text
    words = {word for line in text.splitlines() for word in line.split()}
    assert set(stage.model_fields) <= words
    assert ("required" in words) == bool(required(stage))


def test_a_stage_defines_its_own_run(stage):
    assert stage.run is not Stage.run


@pytest.fixture(scope="module")
def to_check(tmp_path_factory):
    """A model and the context of its check."""
    folder = tmp_path_factory.mktemp("to_check")
    keras.utils.set_random_seed(0)
    stack = [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.Dropout(0.2), layers.Flatten(), layers.Dense(10)]
    model = keras.Sequential([layers.Input((8, 8, 1)), *stack, layers.Softmax()])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.save(folder / "m.keras")
    (folder / "r.yaml").write_text("name: r\nmodel: m.keras\ndata: digits\nstages: [quantize, verify]\n")
    plan = Plan(Recipe.load(folder / "r.yaml"), folder, Progress())
    return plan.model, plan.context("check", "", folder, {})


def test_the_check_of_a_stage_changes_nothing_of_the_model(stage, to_check):
    """It is the one that is converted and scored later."""
    model, context = to_check
    before, flags = state(model), [(layer.name, layer.trainable) for layer in model.layers]
    with contextlib.suppress(InputError):
        made(stage).check(model, context)
    with contextlib.suppress(InputError):
        made(stage).preview(model, context)
    assert state(model) == before
    assert [(layer.name, layer.trainable) for layer in model.layers] == flags
