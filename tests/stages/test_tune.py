"""The stage `tune` from a recipe to the model that goes on."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.errors import InputError, RecipeError, TfoptError
from tfopt.recipe.recipe import Recipe
from tfopt.training import trainer


def network():
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def quick(*units):
    """For trainings of a step or two, which are over sooner than they would be traced."""
    hidden = [layers.Dense(each) for each in units]
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), *hidden, layers.Dense(4)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"], run_eagerly=True)
    return model


def tunable(hp):
    return quick(hp.Choice("units", [2, 24]))


@pytest.fixture(scope="module")
def data(make_blobs):
    x, y = make_blobs()
    return tfopt.Data(tfopt.Split(x[:192], y[:192]), tfopt.Split(x[128:], y[128:]), tfopt.Split(x[64:], y[64:]))


def recipe(data, *stages, model=network, **more):
    return Recipe(name="tuned", model=model, data=lambda: data, stages=list(stages), **more)


def train(**more):
    return {"train": {"epochs": 2, "batch_size": 16, **more}}


def short(**more):
    return train(epochs=1, batch_size="full", **more)


RATES = {"train.optimizer.adam.learning_rate": {"choice": [1e-6, 1e-2, 1e38]}}


def tuned(result):
    return result.artifacts["tune"].details["tune"]


@pytest.fixture(scope="module")
def result(data, tmp_path_factory):
    """Of three learning rates, the last of which no training bears."""
    stage = tfopt.Tune(stages=[train()], space=RATES, tuner="grid")
    return tfopt.run(recipe(data, stage, tfopt.Quantize(mode="float16")), tmp_path_factory.mktemp("tuned"))


def test_the_best_of_the_trials_goes_on(result):
    found = tuned(result)
    scores = {one["values"]["train.optimizer.adam.learning_rate"]: one["score"] for one in found["trials"]}
    assert scores[1e-2] > scores[1e-6]
    best = next(o for o in found["trials"] if o["number"] == found["best"])
    assert best["score"] == max(score for score in scores.values() if score is not None)
    assert found["stages"] == [train(optimizer={"adam": {"learning_rate": 1e-2}})]
    assert result.artifacts["tune"].metrics["accuracy"] > 0.8
    assert result.path.suffix == ".tflite"
    text = (result.folder / "report.md").read_text()
    assert "## tune: trials" in text
    assert "The best of 3, with `accuracy` on the validation split" in text
    assert "accuracy of 2 trials and their values" in result.page.read_text()


def test_the_best_model_is_that_of_its_stages_run_alone(result, data, tmp_path):
    """Independent of the stage: the recipe that the report names, run by itself."""
    [settings] = tuned(result)["stages"]
    alone = tfopt.run(recipe(data, tfopt.Train(**settings["train"])), tmp_path)
    models = [keras.models.load_model(path) for path in (result.artifacts["tune"].path, alone.path)]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_trial_that_fails_is_in_the_report(result):
    failed = [one for one in tuned(result)["trials"] if one["status"] == "FAILED"]
    assert len(failed) == 1
    assert "the loss became" in failed[0]["message"]
    assert f"- trial {failed[0]['number']} failed: " in (result.folder / "report.md").read_text()


def test_a_model_function_of_hyperparameters_is_tuned_along(data, tmp_path):
    stage = tfopt.Tune(stages=[short()], tuner="grid")
    result = tfopt.run(recipe(data, stage, model=tunable), tmp_path)
    values = {one["values"]["units"]: one["score"] for one in tuned(result)["trials"]}
    assert set(values) == {2, 24}
    best = max(values, key=values.get)
    model = keras.models.load_model(result.path)
    assert model.layers[1].units == best
    assert [layer.name for layer in model.layers] == ["flatten", "dense", "dense_1"]  # as in the first trial


def test_without_tune_such_a_function_gives_its_defaults(data, tmp_path):
    result = tfopt.run(recipe(data, tfopt.Train(**short()["train"]), model=tunable), tmp_path)
    assert keras.models.load_model(result.path).layers[1].units == 2


def test_stages_are_tuned_together(data, tmp_path):
    stages = [short(), {"prune": {"sparsity": 0.5, "epochs": 1, "batch_size": "full"}}]
    space = {"prune.sparsity": {"choice": [0.6, 0.9]}, "train.epochs": [1, 2]}
    result = tfopt.run(recipe(data, tfopt.Tune(stages=stages, space=space, trials=2), model=quick), tmp_path)
    best = next(one for one in tuned(result)["trials"] if one["number"] == tuned(result)["best"])
    kernel = keras.models.load_model(result.path).layers[1].kernel.numpy()
    assert np.mean(kernel == 0) == pytest.approx(best["values"]["prune.sparsity"], abs=0.01)


@pytest.mark.slow
def test_hyperband_spreads_the_epochs(data, tmp_path):
    stage = tfopt.Tune(stages=[train(epochs=3)], space={"train.l2": {"log": [1e-6, 1e-2]}}, tuner="hyperband")
    result = tfopt.run(recipe(data, stage), tmp_path)
    assert {one["epochs"] for one in tuned(result)["trials"]} == {1, 3}


def test_every_stage_has_a_name_of_its_own():
    stages = [train(), train(name="again"), train(), train(name="prune"), {"prune": {"sparsity": 0.5, "epochs": 1}}]
    stage = tfopt.Tune(stages=stages, space={"train-2.l2": [1e-4, 1e-2], "again.epochs": [1, 2]})
    assert stage._names() == ["train", "again", "train-2", "prune", "prune-2"]
    assert [part.l2 for part in stage.with_values({"train-2.l2": 0.5})[:3]] == [0.0, 0.0, 0.5]


def test_where_all_fail_the_reason_is_told(data, tmp_path):
    space = {"train.optimizer.sgd.learning_rate": {"choice": [2e38, 3e38]}}
    stage = tfopt.Tune(stages=[train(batch_size="full")], space=space, trials=1)
    with pytest.raises(TfoptError, match="no trial came to a score: the loss became"):
        tfopt.run(recipe(data, stage, model=quick), tmp_path)


def test_a_tuner_from_a_file(data, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import keras_tuner\n\n\nclass Two(keras_tuner.RandomSearch):\n"
        "    def __init__(self, most=9, **more):\n        super().__init__(**{**more, 'max_trials': most})\n"
    )
    tuner = {f"{tmp_path}/mine.py:Two": {"most": 1}}
    stage = tfopt.Tune(stages=[short()], space={"train.l2": [0.0, 1e-3]}, tuner=tuner)
    result = tfopt.run(recipe(data, stage, model=quick), tmp_path / "out")
    assert len(tuned(result)["trials"]) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": []}, "tune.stages"),
        ({"stages": [{"trian": {}}]}, "there is no stage 'trian'. Did you mean 'train'?"),
        ({"stages": [{"quantize": {}}]}, "quantize cannot be tuned here"),
        ({"stages": [{"tune": {"stages": [train()]}}]}, "tune cannot be tuned here"),
        ({"stages": [train(after="x")]}, "after goes with the stages of a recipe"),
        ({"space": {"prune.sparsity": [0.1, 0.2]}}, "no stage inside tune is called 'prune'"),
        ({"space": {"train": [1, 2]}}, "'train' is a stage: write its field behind a dot"),
        ({"space": {"train.epoch": [1, 2]}}, "train has no field 'epoch'. Did you mean 'epochs'?"),
        ({"space": {"train.epochs": [0, 2]}}, "tune.space.train.epochs = 0: train.epochs"),
        ({"space": {"train.l2": {"log": [0, 1]}}}, "a range on a log scale begins above 0"),
        ({"space": {"train.l2": "all"}}, "tune.space.train.l2: is one of [low, high]"),
        ({"stages": [train(name="x"), train(name="x")]}, "two stages inside tune are called 'x'"),
        ({"space": {"train.learning_rate": [0.1, 0.2]}}, "It is the optimizer's: train.optimizer.adam.learning_rate."),
        ({"tuner": "hyperband", "trials": 3}, "hyperband decides the number of trials"),
    ],
)
def test_wrong_settings_are_one_line(settings, message):
    with pytest.raises(RecipeError) as caught:
        tfopt.Tune(**{"stages": [train()], **settings})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "there is nothing to tune"),
        ({"space": RATES, "tuner": "baysian"}, "there is no tuner 'baysian'. Did you mean 'bayesian'?"),
        ({"space": RATES, "metric": "f2"}, "'f2' is not among the metrics that are measured"),
        ({"space": {"train.optimizer": {"choice": ["adam", "adm"]}}}, "adm"),
        ({"space": {"train.freeze": {"choice": ["Flatten", "nosuch"]}}}, "'nosuch'"),
    ],
)
def test_what_cannot_work_is_found_before_any_trial(data, settings, message, tmp_path):
    with pytest.raises(InputError) as caught:
        tfopt.run(recipe(data, tfopt.Tune(stages=[train()], **settings)), tmp_path)
    assert message in str(caught.value)
    assert not (tmp_path / "tuned").exists()


def test_it_goes_through_yaml(tmp_path):
    space = {"train.l2": {"log": [1e-6, 1e-3]}, "train.epochs": [1, 3], "train.batch_size": {"choice": [8, 16]}}
    stage = tfopt.Tune(stages=[train()], space=space, tuner="bayesian", trials=4)
    file = tmp_path / "a.yaml"
    file.write_text(Recipe(name="a", model="m.py:f", data="digits", stages=[stage]).to_yaml())
    read = Recipe.load(file).stages[0]
    assert json.dumps(read.settings()) == json.dumps(stage.settings())
    assert read.space == stage.space


def test_what_is_to_be_known_of_the_best_trial_is_a_warning_of_the_run_and_of_the_others_is_not(
    data, tmp_path, monkeypatch
):
    monkeypatch.setattr(trainer, "batches_warning", lambda model, settings, samples: f"{settings.batch_size} a batch.")
    space = {"train.batch_size": {"choice": [192, 96]}}
    stage = tfopt.Tune(stages=[short()], space=space, tuner="grid")
    with pytest.warns(tfopt.TfoptWarning, match="tune: .* a batch"):
        found = tfopt.run(recipe(data, stage, model=quick), tmp_path)
    best = next(one for one in tuned(found)["trials"] if one["number"] == tuned(found)["best"])
    [sentence] = found.artifacts["tune"].warnings
    assert sentence == f"{best['values']['train.batch_size']} a batch."
