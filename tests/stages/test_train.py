"""How a stage says what it trains with: batches, optimizers, penalties, learning rates."""

import json
import warnings

import keras
import numpy as np
import pytest

import tfopt
from tfopt.callbacks import LearningRateFinder
from tfopt.data import sources
from tfopt.errors import InputError, ModelError, RecipeError
from tfopt.pipeline import runner
from tfopt.pipeline.learning_rate import check, find_learning_rate
from tfopt.recipe.recipe import Recipe
from tfopt.training import trainer

MODEL = """
import keras
def build():
    model = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model
"""


@pytest.fixture
def project(tmp_path, monkeypatch, blobs):
    """A folder with a model, data and room for recipes, to work in."""
    x, y = blobs
    np.savez(
        tmp_path / "data.npz",
        x_train=x[:192],
        y_train=y[:192],
        x_test=x[192:],
        y_test=y[192:],
        x_validation=x[192:],
        y_validation=y[192:],
    )
    (tmp_path / "model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recipe(*stages, name="r"):
    lines = ["name: " + name, "model: model.py:build", "data: npz:data.npz", "stages:"]
    return "\n".join([*lines, *(f"  - {stage}" for stage in stages), ""])


def run(project, *stages):
    (project / "r.yaml").write_text(recipe(*stages))
    return tfopt.run("r.yaml")


@pytest.mark.parametrize(
    ("setting", "batch"),
    [
        ("", 32),
        ("batch_size: full", 192),
        ("batch_size: 1", 1),
        ("optimizer: gradient_descent", 192),
        ("optimizer: {stochastic_gradient_descent: {learning_rate: 0.001}}", 1),
        ("optimizer: mini_batch_gradient_descent", 32),
        ("optimizer: mini_batch_gradient_descent, batch_size: full", 192),
        ("optimizer: momentum, batch_size: 96", 96),
    ],
)
@pytest.mark.sample(3)
def test_the_batch_is_what_is_said_or_what_the_name_stands_for(project, monkeypatch, setting, batch):
    seen, fit = [], trainer.fit

    def look(model, data, settings, *rest):
        seen.append(settings.batch_size)
        return fit(model, data, settings, *rest)

    monkeypatch.setattr(trainer, "fit", look)
    run(project, f"train: {{epochs: 1, {setting}}}" if setting else "train: {epochs: 1}")
    assert seen == [batch]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("batch_size: 0", "full for the whole training split"),
        ("batch_size: all", "full for the whole training split"),
        ("batch_size: true", "full for the whole training split"),
        ("optimizer: gradient_descent, batch_size: 32", "mini_batch_gradient_descent"),
        ("optimizer: stochastic_gradient_descent, batch_size: full", "one sample"),
        ("optimizer: adahesian", "Did you mean 'adahessian'"),
        ("optimizer: {sam: {optimizer: {adam: {learning_rat: 1}}}}", "Did you mean 'learning_rate'"),
        ("optimizer: {sam: {learning_rate: 0.1}}", "inner optimizer"),
        ("optimizer: {proximal_adam: {l1: -1}}", "l1 is 0 or above"),
        ("optimizer: {newton_cg: {gradient_accumulation_steps: 2}}", "batch_size"),
        ("optimizer: {sgd: {learning_rate: {one_cycle: {}}}}", "max_learning_rate"),
        ("regularizers: [{}]", "orthogonal"),
        ("early_stopping: {monitor: val_los}", "Did you mean 'val_loss'"),
    ],
)
def test_a_mistake_is_one_line_that_says_where(project, setting, words):
    with pytest.raises(InputError) as caught:
        run(project, f"train: {{epochs: 1, {setting}}}")
    message = str(caught.value)
    assert message.startswith("r.yaml:5:")
    assert words in message
    assert len(message.splitlines()) == 1
    assert not (project / "saved_models" / "r" / "train").exists()


def test_a_loss_of_the_recipe_that_takes_logits_for_probabilities_is_named_at_its_line(project):
    text = recipe("train: {epochs: 1}").replace("stages:", "loss: sparse_categorical_crossentropy\nstages:")
    (project / "r.yaml").write_text(text)
    with pytest.raises(ModelError, match=r"^r\.yaml:4: .*loss: \{sparse_categorical_crossentropy: \{from_logits: true"):
        tfopt.run("r.yaml")
    (project / "r.yaml").write_text(
        text.replace(
            "loss: sparse_categorical_crossentropy", "loss: {sparse_categorical_crossentropy: {from_logits: true}}"
        )
    )
    tfopt.validate("r.yaml")


@pytest.mark.parametrize("optimizer", ["sam", "adahessian", "newton_cg", "{proximal_adam: {l1: 0.001}}"])
@pytest.mark.sample(1)
def test_a_recipe_gives_every_optimizer_what_it_needs_and_two_runs_give_the_same_weights(project, optimizer):
    found = []
    for _ in range(2):
        result = run(project, f"train: {{epochs: 3, optimizer: {optimizer}}}")
        losses = result.artifacts["train"].details["history"]["loss"]
        assert losses[-1] < losses[0]
        found.append(keras.saving.load_model(result.path).get_weights())
        runner.clean(tfopt.Recipe.load("r.yaml"), project / "saved_models")
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sam", "adahessian", "newton_cg", "{proximal_adam: {l1: 0.001}}"])
def test_another_process_loads_what_was_trained(project, python, optimizer):
    """As a run does that goes on after its training, and `tfopt convert`."""
    path = run(project, f"train: {{epochs: 1, optimizer: {optimizer}}}").path
    assert python(f"import tfopt; print(len(tfopt.convert({str(path)!r}, 'float32')))").split()[-1].isdigit()


def test_newtons_method_on_mini_batches_is_a_warning_of_the_run(project):
    with pytest.warns(tfopt.TfoptWarning, match="train: NewtonCG solves every batch on its own") as caught:
        result = run(project, "train: {epochs: 1, optimizer: {newton_cg: {iterations: 1}}}")
    assert sum(one.category is tfopt.TfoptWarning for one in caught) == 1
    [said] = result.artifacts["train"].warnings
    assert said.endswith("Received: 6 batches in an epoch.")
    assert said in (project / "saved_models" / "r" / "report.md").read_text()


def test_newtons_method_on_all_samples_is_none(project, recwarn):
    result = run(project, "train: {epochs: 1, batch_size: full, optimizer: {newton_cg: {iterations: 1}}}")
    assert result.artifacts["train"].warnings == ()
    assert not [one for one in recwarn if one.category is tfopt.TfoptWarning]


def test_the_penalty_is_in_the_history_and_can_be_watched(project):
    stage = "train: {epochs: 3, l2: 0.01, early_stopping: {monitor: val_task_loss}}"
    history = run(project, stage).artifacts["train"].details["history"]
    for total, penalty, task in zip(history["val_loss"], history["penalty"], history["val_task_loss"], strict=True):
        assert penalty > 0
        assert task == pytest.approx(total - penalty, rel=1e-5)


def test_branches_are_compared_on_the_page(project):
    result = run(
        project,
        "train: {name: adam, after: source, epochs: 2, optimizer: adam}",
        "train: {name: sam, after: source, epochs: 2, optimizer: sam}",
    )
    assert "loss over the epochs of adam, sam" in result.page.read_text()
    assert "| sam | 2 |" in (result.folder / "report.md").read_text()


def test_a_learning_rate_is_found_for_a_stage_and_nothing_is_written(project):
    (project / "r.yaml").write_text(
        recipe(
            "train: {epochs: 1, optimizer: {adam: {learning_rate: {cosine: {initial_learning_rate: 0.1}}}}}",
            "train: {name: other, after: source, epochs: 1, optimizer: sam}",
            "train: {name: later, epochs: 1}",
        )
    )
    parts = []
    for stage, name in ((None, "train"), ("other", "other")):
        finder = LearningRateFinder(1e-5, 10, steps=40)
        assert find_learning_rate("r.yaml", finder, stage, parts.append) == name
        assert 1e-5 < finder.suggestion < 10
    assert max(parts) <= 1
    assert not (project / "saved_models").exists()
    for stage in ("later", "none"):
        with pytest.raises(InputError, match=f"train, other in r. Received: {stage}"):
            find_learning_rate("r.yaml", LearningRateFinder(), stage)


def test_the_learning_rate_finder_loads_what_its_check_loaded(project, monkeypatch):
    (project / "r.yaml").write_text(recipe("train: {epochs: 1}"))
    loads = []
    whole = sources.load
    monkeypatch.setattr(sources, "load", lambda source: loads.append(source) or whole(source))
    plan = check(Recipe.load("r.yaml"))
    assert len(loads) == 1
    assert find_learning_rate(plan, LearningRateFinder(1e-5, 10, steps=10)) == "train"
    assert len(loads) == 1


def test_the_settings_of_a_recipe_in_python_are_checked_too():
    with pytest.raises(RecipeError, match="full for the whole training split"):
        tfopt.Train(epochs=1, batch_size="whole")
    assert json.loads(json.dumps(tfopt.Train(epochs=1, batch_size="full").settings()))["batch_size"] == "full"


def test_warnings_in_a_training_are_those_of_the_run_and_others_stay_pythons(project):
    """A stage of one's own may train with callbacks that have something to say."""

    class Says(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            warnings.warn("the room is dark.", tfopt.TfoptWarning, stacklevel=2)
            warnings.warn("an old name", DeprecationWarning, stacklevel=2)

    class TrainAloud(tfopt.Train):
        kind = "train_aloud"

        def distillation(self, inputs, context):
            return [Says()]

    namespace = {}
    exec(MODEL, namespace)
    x, y = (np.load("data.npz")[name] for name in ("x_train", "y_train"))
    stage = TrainAloud(epochs=2, batch_size="full")
    made = tfopt.Recipe(name="aloud", model=namespace["build"], data=lambda: ((x, y), (x, y)), stages=[stage])
    with pytest.warns(tfopt.TfoptWarning, match="^train_aloud: the room is dark.$") as caught:
        result = tfopt.run(made)
    assert [one.category for one in caught if "dark" in str(one.message)] == [tfopt.TfoptWarning]
    assert [one for one in caught if "an old name" in str(one.message)]
    assert result.final.warnings == ("the room is dark.",)


def test_a_training_that_takes_the_zeros_or_the_values_of_the_stage_before_says_so(project):
    with pytest.warns(tfopt.TfoptWarning) as told:
        run(
            project,
            "prune: {sparsity: 0.8, epochs: 1}",
            "train: {epochs: 1}",
            "cluster: {clusters: 4, epochs: 1}",
            "prune: {name: again, sparsity: 0.2, epochs: 1}",
        )
    said = [str(one.message) for one in told if one.category is tfopt.TfoptWarning]
    assert any(one.startswith("train: 80% of the weights were zero before this training, and") for one in said)
    assert any(one.startswith("again: this training gave the weights of dense") for one in said)
    assert not any(one.startswith(("prune:", "cluster:")) and "this training" in one for one in said)
