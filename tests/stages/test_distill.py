"""`distill` in whole recipes on small data: who teaches, what it costs to be interrupted, what is refused."""

import re
import shutil
import sys

import keras
import numpy as np
import pytest

import tfopt
from tfopt.errors import RecipeError
from tfopt.recipe.progress import Progress
from tfopt.recipe.recipe import Recipe
from tfopt.stages.training_stage import Distill

MODEL = """
import keras
from keras import layers


def build():
    keras.utils.set_random_seed(3)
    hidden = layers.Dense(8, activation="relu", name="hidden")
    model = keras.Sequential([layers.Input((5,)), hidden, layers.Dense(3, activation="softmax", name="head")])
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)  # few steps: sooner than traced
    return model
"""

HEAD = "name: r\nmodel: model.py:build\ndata: npz:data.npz\nstages:\n"
TEACHER = "  - train: {name: teacher, epochs: 2, optimizer: {adam: {learning_rate: 0.05}}}\n"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A folder with a model and data, as the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(160, 5)).astype(np.float32)
    y = (x @ generator.normal(size=(5, 3))).argmax(-1)
    np.savez(tmp_path / "data.npz", x_train=x[:96], y_train=y[:96], x_test=x[96:], y_test=y[96:])
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    def write(*stages, name="r.yaml"):
        (tmp_path / name).write_text(HEAD + "".join(stages))
        return name

    return write


def student(distill, epochs=3):
    """The line of a stage that learns from the start."""
    return f"  - train: {{name: student, after: source, epochs: {epochs}{distill and ', distill: ' + distill}}}\n"


def weights(result, name):
    return keras.models.load_model(result.artifacts[name].path).get_weights()


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.slow
def test_the_named_stage_teaches(write):
    adam = "optimizer: {adam: {learning_rate: 0.05}}"
    settings = {
        "plain": "",
        "without": ", distill: {teacher: teacher, weight: 0}",
        "taught": ", distill: {teacher: teacher, weight: 1}",
    }
    lines = [
        f"  - train: {{name: {name}, after: source, epochs: 4, {adam}{more}}}\n" for name, more in settings.items()
    ]
    result = tfopt.run(write(TEACHER, *lines))
    assert equal(weights(result, "plain"), weights(result, "without"))
    x = np.load("data.npz")["x_train"]
    models = {name: keras.models.load_model(result.artifacts[name].path) for name in ("teacher", "plain", "taught")}
    said = {name: np.asarray(model(x)) for name, model in models.items()}
    apart = {name: np.abs(said[name] - said["teacher"]).mean() for name in ("plain", "taught")}
    assert apart["taught"] < apart["plain"] / 2


@pytest.mark.parametrize("distill", ["{weight: 1}", "{weight: 1, teacher: source}"])
@pytest.mark.sample(1)
def test_the_model_a_stage_starts_from_teaches_if_none_is_named(distill, write):
    """It has nothing to learn from itself."""
    sgd = f"  - train: {{epochs: 2, optimizer: {{sgd: {{learning_rate: 0.1}}}}, distill: {distill}}}\n"
    result = tfopt.run(write(sgd))
    for a, b in zip(weights(result, "train"), weights(result, "source"), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_braces_alone_ask_for_it(write):
    [_, stage] = Recipe.load(write(TEACHER, student("{}"))).stages
    assert stage.distill == Distill(teacher=None, temperature=4.0, weight=0.5)
    assert Recipe.load(write(TEACHER, student(""))).stages[1].distill is None


class Interrupt(Progress):
    """Stops the process, as it were, after the second epoch of a stage."""

    name = ""

    def stage(self, name, kind, index, count):
        self.name = name

    def epoch(self, epoch, epochs, logs):
        if self.name == "student" and epoch == 2:
            raise KeyboardInterrupt


def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(write):
    path = write(TEACHER, student("{teacher: teacher, weight: 0.8}", epochs="3, batch_size: 48"))
    whole = tfopt.run(path, out="whole")
    shutil.copytree("whole/r/teacher", "cut/r/teacher")
    with pytest.raises(KeyboardInterrupt):
        tfopt.run(path, out="cut", progress=Interrupt())
    resumed = tfopt.run(path, out="cut")
    assert resumed.reused == ("teacher",)
    assert equal(weights(whole, "student"), weights(resumed, "student"))
    assert whole.artifacts["student"].details == resumed.artifacts["student"].details


@pytest.mark.slow
def test_another_teacher_is_another_result(write):
    stages = (student("{teacher: teacher}", epochs=1), student("", epochs=1).replace("student", "alone"))
    tfopt.run(write(TEACHER, *stages))
    again = tfopt.run(write(TEACHER.replace("0.05", "0.01"), *stages))
    assert again.reused == ("alone",)
    assert tfopt.run("r.yaml").reused == ("teacher", "student", "alone")


WRONG = {
    "an unknown teacher": ("teacher: techer", 7, "Did you mean 'teacher'?"),
    "itself": ("teacher: student", 7, "no earlier stage is called 'student'"),
    "a stage that makes a file": ("teacher: file", 7, "teacher takes a keras model, and 'file' gives a tflite file"),
    "no temperature": ("temperature: 0", 7, "distill.temperature"),
    "no number": ("temperature: .nan", 7, "distill.temperature"),
    "more than all": ("weight: 1.5", 7, "distill.weight"),
    "an unknown setting": ("temprature: 3", 7, "Did you mean 'temperature'?"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_sentence_with_its_file_and_line(name, write):
    setting, line, words = WRONG[name]
    file = "  - quantize: {name: file, mode: float16}\n"
    path = write(
        TEACHER, file, f"  - train: {{name: student, after: source, epochs: 1, distill: {{\n    {setting}}}}}\n"
    )
    with pytest.raises(RecipeError) as caught:
        Recipe.load(path)
    found = re.fullmatch(r"r\.yaml:(\d+): (.+)", str(caught.value))
    assert found
    assert words in found[2]
    assert int(found[1]) == line + 1


def test_the_way_out_names_the_stages_that_could_teach(write):
    path = write(TEACHER, "  - quantize: {name: file, mode: float16}\n", student("{teacher: file}"))
    with pytest.raises(RecipeError, match=r"Name one of source, teacher\.$"):
        Recipe.load(path)


def test_it_survives_the_way_through_yaml(write, tmp_path):
    first = Recipe.load(
        write(TEACHER, student("{teacher: teacher, temperature: 2}"), student("{}").replace("nt,", "nt2,"))
    )
    (tmp_path / "again.yaml").write_text(first.to_yaml())
    assert Recipe.load("again.yaml").stages == first.stages
