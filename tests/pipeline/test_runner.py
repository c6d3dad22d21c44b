"""Running a recipe: what is reused, what runs again, and what is left when something fails."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import tfopt
from tests.own_stages import COPY_AND_GATE
from tfopt.errors import DataError, GateError, InputError, ModelError, RecipeError, StorageError, TfoptError
from tfopt.pipeline import runner
from tfopt.pipeline.runner import Result, clean
from tfopt.recipe import stage
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.progress import Progress
from tfopt.recipe.workspace import Workspace
from tfopt.user_code import import_file

STAGES = (
    COPY_AND_GATE
    + '''

class Boom(tfopt.Stage):
    """Raises."""

    kind: ClassVar[str] = "boom"
    error: str = "RuntimeError"
    """What to raise, a class of tfopt or of Python."""
    early: bool = False
    """In the check already."""

    def check(self, model, context):
        if self.early:
            raise tfopt.InputError("this cannot work", ("error",))

    def run(self, inputs, context):
        (context.folder / "half-done").write_text("half")
        os.write(2, b"the library's own words")
        raise (getattr(tfopt, self.error, None) or getattr(builtins, self.error))("the sky fell")


class Vanish(tfopt.Stage):
    """Removes the folder of the run."""

    kind: ClassVar[str] = "vanish"

    def run(self, inputs, context):
        shutil.rmtree(context.folder.parent)
        (context.folder / "model.keras").write_text("model")
'''
)

MODEL = '''
import keras


def build():
    """A tiny classifier."""
    layers = [keras.layers.Input((3,)), keras.layers.Dense(2, activation="softmax", name="last")]
    model = keras.Sequential(layers)
    model.compile(loss="sparse_categorical_crossentropy")
    return model
'''

DATA = """
import numpy as np
from model import build


def load():
    x = np.ones((20, 3), np.float32)
    y = np.arange(20) % 2
    return (x, y), (x, y)
"""


@pytest.fixture(autouse=True)
def forgotten(tmp_path):
    """Takes the stages and modules of a test's folder out of the process again."""
    own = stage._OWN
    before = dict(own)
    yield
    own.clear()
    own.update(before)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def arrays(seed=0):
    x = np.random.default_rng(seed).normal(size=(20, 3)).astype(np.float32)
    return {"x_train": x, "y_train": np.arange(20) % 2, "x_test": x, "y_test": np.arange(20) % 2}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a model, data and stages, as the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_stages.py").write_text(STAGES)
    (tmp_path / "model.py").write_text(MODEL)
    np.savez(tmp_path / "data.npz", **arrays())
    return tmp_path


def recipe(*stages, **fields):
    """Writes r.yaml and returns its path."""
    fields = {"name": "r", "model": "model.py:build", "data": "npz:data.npz", "use": "my_stages.py", **fields}
    lines = [f"{name}: {value}" for name, value in fields.items()]
    Path("r.yaml").write_text("\n".join([*lines, "stages:", *(f"  - {stage}" for stage in stages), ""]))
    return "r.yaml"


CHAIN = ("copy: {name: a}", "copy: {name: b}", "copy: {name: c}")


def again(*stages, **fields):
    """The stages that a second run does not run."""
    return tfopt.run(recipe(*(stages or CHAIN), **fields)).reused


def test_a_run_leaves_each_result_in_its_folder_with_the_reports(project):
    result = tfopt.run(recipe(*CHAIN))
    assert list(result.artifacts) == ["source", "baseline", "a", "b", "c"]
    assert result.reused == ()
    assert result.folder == project / "saved_models" / "r"
    reports = {"report.json", "report.md", "report.html", "recipe.yaml", "provenance.json"}
    names = {"source", "a", "b", "c", "baseline", *reports, "run.log", ".lock"}
    assert {path.name for path in result.folder.iterdir()} == names
    assert result.path == result.folder / "c" / "model.keras"
    assert result.final.seconds > 0


def test_results_lie_where_out_says(project):
    assert tfopt.run(recipe("copy"), out="elsewhere").folder == project / "elsewhere" / "r"


def test_the_final_file_is_the_last_that_was_made_with_all_that_was_measured_of_it(project):
    result = tfopt.run(recipe("copy: {name: a}", "gate: {}"))
    assert result.final.name == "a"
    assert result.metrics == {"accuracy": 0.4}


def test_a_second_run_reuses_everything_and_touches_nothing(project):
    first = tfopt.run(recipe(*CHAIN))
    times = {name: artifact.path.stat().st_mtime_ns for name, artifact in first.artifacts.items()}
    second = tfopt.run(recipe(*CHAIN))
    assert second.reused == ("a", "b", "c")
    assert second.artifacts == first.artifacts
    assert {name: artifact.path.stat().st_mtime_ns for name, artifact in second.artifacts.items()} == times


def test_a_second_run_neither_builds_the_model_nor_looks_at_the_data(project):
    tfopt.run(recipe(*CHAIN))
    (project / "model.py").write_bytes((project / "model.py").read_bytes())
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == str(project / "model.py"):
            del sys.modules[name]
    assert again() == ("a", "b", "c")
    assert str(project / "model.py") not in {getattr(m, "__file__", None) for m in sys.modules.values()}


def test_a_changed_setting_runs_its_stage_and_those_after_it(project):
    tfopt.run(recipe(*CHAIN))
    assert again(CHAIN[0], "copy: {name: b, tag: new}", CHAIN[2]) == ("a",)


def test_a_branch_is_untouched_by_the_other_branch(project):
    tfopt.run(recipe("copy: {name: a}", "copy: {name: b}", "copy: {name: c, after: a}"))
    assert again("copy: {name: a}", "copy: {name: b, tag: new}", "copy: {name: c, after: a}") == ("a", "c")


def test_an_added_stage_runs_alone(project):
    tfopt.run(recipe(*CHAIN[:2]))
    assert again(*CHAIN) == ("a", "b")


def test_writing_a_default_out_changes_nothing(project):
    tfopt.run(recipe("copy"))
    assert again("copy: {tag: ''}", seed=0) == ("copy",)


def test_another_seed_runs_everything(project):
    first = tfopt.run(recipe(*CHAIN, seed=1))
    second = tfopt.run(recipe(*CHAIN, seed=2))
    assert second.reused == ()
    assert second.artifacts["source"].key != first.artifacts["source"].key


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(project):
    import keras

    def weights(seed, out):
        return keras.models.load_model(tfopt.run(recipe("copy", seed=seed), out=out).path).get_weights()[0]

    np.testing.assert_array_equal(weights(1, "one"), weights(1, "two"))
    assert not np.array_equal(weights(1, "one"), weights(2, "three"))


def test_other_data_runs_every_stage(project):
    tfopt.run(recipe(*CHAIN))
    np.savez(project / "data.npz", **arrays(seed=1))
    assert again() == ()


@pytest.mark.sample(1)
def test_changed_source_code_of_the_model_runs_everything_with_the_new_code(project):
    import keras

    first = tfopt.run(recipe(*CHAIN))
    assert keras.models.load_model(first.path).count_params() == 8
    (project / "model.py").write_text(MODEL.replace('Dense(2, activation="softmax"', 'Dense(20, activation="softmax"'))
    second = tfopt.run(recipe(*CHAIN))
    assert second.reused == ()
    assert keras.models.load_model(second.path).count_params() == 80


def test_changed_source_code_of_a_stage_runs_it_and_those_after_it(project):
    tfopt.run(recipe("copy", "gate"))
    with open(project / "my_stages.py", "a") as file:
        file.write("# a new line\n")
    assert again("copy", "gate") == ()


def test_changed_code_of_a_stage_is_the_code_that_runs(project):
    tfopt.run(recipe("copy"))
    (project / "my_stages.py").write_text(STAGES.replace('{"accuracy": 0.5}', '{"accuracy": 0.75}'))
    assert tfopt.run(recipe("copy")).metrics == {"accuracy": 0.75}


def test_another_loss_in_the_recipe_runs_everything(project):
    tfopt.run(recipe(*CHAIN))
    assert again(loss="mse") == ()


def test_a_result_that_was_damaged_runs_again(project):
    first = tfopt.run(recipe(*CHAIN))
    (first.folder / "b" / "artifact.json").write_text("{")
    assert again() == ("a", "c")


def test_what_was_measured_is_measured_again_where_the_file_was_moved_away(project):
    stages = ("copy: {name: a}", "gate: {}")
    tfopt.run(recipe(*stages))
    (project / "saved_models" / "r" / "a").rename(project / "elsewhere")
    assert again(*stages) == ()
    assert again(*stages) == ("a", "gate")


def test_a_folder_that_is_removed_while_it_is_written_is_one_line_and_the_run_can_be_repeated(project):
    with pytest.raises(StorageError, match="was removed while it was written") as caught:
        tfopt.run(recipe("copy: {name: a}", "vanish"))
    assert len(str(caught.value).splitlines()) == 1
    assert tfopt.run(recipe("copy: {name: a}")).reused == ()


def test_the_data_function_sees_the_files_beside_it_and_new_data_runs_every_stage(project):
    (project / "my_data.py").write_text(DATA)
    tfopt.run(recipe("copy", data="my_data.py:load"))
    assert again("copy", data="my_data.py:load") == ("copy",)
    (project / "more_data.py").write_text(DATA.replace("np.ones", "np.zeros"))
    assert again("copy", data="more_data.py:load") == ()


def test_a_gate_that_is_not_met_raises_after_the_report_was_written(project):
    with pytest.raises(GateError, match="not accurate enough") as caught:
        tfopt.run(recipe("copy", "gate: {failed: not accurate enough}", "copy: {name: late, after: copy}"))
    assert caught.value.result.path == project / "saved_models" / "r" / "late" / "model.keras"
    folder = project / "saved_models" / "r"
    assert json.loads((folder / "report.json").read_text())["passed"] is False
    assert (folder / "copy" / "model.keras").is_file()
    assert (folder / "late" / "model.keras").is_file(), "what comes after the gate is made all the same"


def test_the_sentence_of_a_failed_gate_is_in_the_report_for_reading(project):
    with pytest.raises(GateError):
        tfopt.run(recipe("copy", "gate: {failed: not accurate enough}"))
    assert "not accurate enough" in (project / "saved_models" / "r" / "report.md").read_text()


def test_a_gate_that_is_not_met_raises_again_without_running(project):
    path = recipe("copy", "gate: {failed: not accurate enough}")
    with pytest.raises(GateError):
        tfopt.run(path)
    record = project / "saved_models" / "r" / "gate" / "artifact.json"
    before = record.stat().st_mtime_ns
    with pytest.raises(GateError, match="not accurate enough"):
        tfopt.run(path)
    assert record.stat().st_mtime_ns == before


def test_a_gate_that_is_met_after_a_change_passes(project):
    with pytest.raises(GateError):
        tfopt.run(recipe("copy", "gate: {failed: too bad}"))
    assert tfopt.run(recipe("copy", "gate: {}")).reused == ("copy",)
    assert json.loads((project / "saved_models" / "r" / "report.json").read_text())["passed"] is True


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("RuntimeError", TfoptError),
        ("MemoryError", TfoptError),
        ("KeyError", TfoptError),
        ("OSError", TfoptError),
        ("TrainingError", tfopt.TrainingError),
        ("ConversionError", tfopt.ConversionError),
        ("DataError", DataError),
        ("InputError", InputError),
    ],
)
def test_a_stage_that_raises_is_one_line_with_its_name_and_what_was_done_before_stays(project, error, kind):
    with pytest.raises(TfoptError) as caught:
        tfopt.run(recipe("copy", f"boom: {{name: middle, error: {error}}}", "copy: {name: late}"))
    assert type(caught.value) is kind
    assert "middle" in str(caught.value)
    assert "the sky fell" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    folder = project / "saved_models" / "r"
    assert (folder / "copy" / "model.keras").is_file()
    assert not (folder / "middle").exists()
    assert not (folder / "late").exists()
    assert again("copy") == ("copy",)


def test_the_whole_story_of_an_unexpected_error_is_in_the_log(project):
    with pytest.raises(TfoptError) as caught:
        tfopt.run(recipe("boom"))
    assert caught.value.log == project / "saved_models" / "r" / "run.log"
    log = caught.value.log.read_text()
    assert "the library's own words" in log
    assert "Traceback" in log
    assert "RuntimeError: the sky fell" in log


def test_a_stage_that_cannot_work_is_found_before_any_stage_computes(project):
    with pytest.raises(InputError, match=r"^r\.yaml:8: this cannot work$"):
        tfopt.run(recipe("copy", "copy: {name: b}", "boom: {early: true}"))
    assert not (project / "saved_models" / "r" / "copy").exists()


def test_a_chain_that_cannot_hold_leaves_no_folder(project):
    with pytest.raises(RecipeError, match=r"^r\.yaml:6: "):
        tfopt.run(recipe("verify"))
    assert not (project / "saved_models").exists()


@pytest.mark.parametrize(
    ("fields", "error", "line", "words"),
    [
        ({"model": "modle.py:build"}, InputError, 2, "modle.py"),
        ({"model": "model.py:biuld"}, InputError, 2, "Did you mean 'build'"),
        ({"model": "none.keras"}, InputError, 2, "none.keras"),
        ({"model": "model.py"}, ModelError, 2, "model.py"),
        ({"model": "my_stages.py:Copy"}, InputError, 2, "Copy"),
        ({"data": "npz:none.npz"}, InputError, 3, "none.npz"),
        ({"data": "keras:mnits"}, DataError, 3, "Did you mean 'mnist'"),
        ({"data": "dgits"}, DataError, 3, "Did you mean 'digits'"),
        ({"data": "model.py:build"}, DataError, 3, "pairs"),
    ],
)
def test_what_is_wrong_with_the_model_or_the_data_has_the_recipes_line(project, fields, error, line, words):
    with pytest.raises(error) as caught:
        tfopt.run(recipe("copy", **fields))
    assert str(caught.value).startswith(f"r.yaml:{line}: ")
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_validate_returns_the_steps_and_leaves_nothing(project):
    steps = tfopt.validate(recipe(*CHAIN))
    assert [(step.name, step.parents) for step in steps] == [("a", ("source",)), ("b", ("a",)), ("c", ("b",))]
    assert not (project / "saved_models").exists()


def test_validate_finds_what_a_stage_knows(project):
    with pytest.raises(InputError, match="this cannot work"):
        tfopt.validate(recipe("boom: {early: true}"))


def test_the_log_holds_the_last_run_only(project):
    with pytest.raises(TfoptError):
        tfopt.run(recipe("boom"))
    result = tfopt.run(recipe("copy"))
    assert "the sky fell" not in (result.folder / "run.log").read_text()


def test_progress_is_told_what_runs_and_what_is_reused(project):
    class Heard(Progress):
        def __init__(self):
            self.words = []

        def stage(self, name, kind, index, count):
            self.words.append(f"{name} runs {index}/{count}")

        def reused(self, name, kind, index, count):
            self.words.append(f"{name} reused {index}/{count}")

        def done(self, artifact):
            self.words.append(f"{artifact.name} done")

        def close(self):
            self.words.append("closed")

    tfopt.run(recipe(*CHAIN[:1]))
    heard = Heard()
    tfopt.run(recipe(*CHAIN[:2]), progress=heard)
    assert heard.words == ["a reused 1/2", "b runs 2/2", "b done", "closed"]
    heard = Heard()
    with pytest.raises(TfoptError):
        tfopt.run(recipe("boom"), progress=heard)
    assert heard.words == ["boom runs 1/1", "closed"]


def test_a_folder_in_use_is_refused_before_anything_runs(project):
    with (
        Workspace(project / "saved_models" / "r").locked(),
        pytest.raises(StorageError, match="in use"),
    ):
        tfopt.run(recipe("copy"))
    assert not (project / "saved_models" / "r" / "copy").exists()


def test_clean_removes_only_what_is_half_done_or_all_of_it(project):
    path = recipe("copy", "boom")
    with pytest.raises(TfoptError):
        tfopt.run(path)
    loaded, out = tfopt.Recipe.load(path), project / "saved_models"
    assert [folder.name for folder in clean(loaded, out, partial_only=True)] == ["boom.partial"]
    assert (out / "r" / "copy").is_dir()
    assert clean(loaded, out) == [out / "r"]
    assert list(out.iterdir()) == []
    assert clean(loaded, out) == []


def test_clean_leaves_a_folder_in_use_alone(project):
    tfopt.run(recipe("copy"))
    with Workspace(project / "saved_models" / "r").locked(), pytest.raises(StorageError, match="in use"):
        clean(tfopt.Recipe.load("r.yaml"), project / "saved_models")
    assert (project / "saved_models" / "r" / "copy").is_dir()


def test_the_written_recipe_is_the_one_that_ran(project):
    result = tfopt.run(recipe("copy: {tag: x}", seed=4))
    again = tfopt.Recipe.load(result.folder / "recipe.yaml")
    assert (again.seed, again.stages[0].tag) == (4, "x")


def test_a_recipe_in_python_takes_a_function_and_arrays(project):
    copy = import_file(project / "my_stages.py").Copy
    data = arrays()
    pairs = ((data["x_train"], data["y_train"]), (data["x_test"], data["y_test"]))

    def made(pairs, tag=""):
        function = import_file(project / "model.py").build
        return tfopt.Recipe(name="python", model=function, data=pairs, stages=[copy(tag=tag)])

    first = tfopt.run(made(pairs))
    assert (first.folder / "copy" / "model.keras").is_file()
    assert tfopt.run(made(pairs)).reused == ("copy",)
    assert tfopt.run(made(pairs, tag="new")).reused == ()
    other = ((data["x_train"] + 1, data["y_train"]), pairs[1])
    assert tfopt.run(made(other, tag="new")).reused == ()


def test_a_recipe_in_python_takes_a_model_and_other_weights_run_again(project):
    copy = import_file(project / "my_stages.py").Copy
    model = import_file(project / "model.py").build()
    made = tfopt.Recipe(name="python", model=model, data="npz:data.npz", stages=[copy()])
    tfopt.run(made)
    assert tfopt.run(made).reused == ("copy",)
    model.set_weights([weight + 1 for weight in model.get_weights()])
    assert tfopt.run(made).reused == ()


def test_a_model_file_is_a_model(project):
    model = import_file(project / "model.py").build()
    model.optimizer.build(model.trainable_variables)
    model.save(project / "mine.keras")
    tfopt.run(recipe("copy", model="mine.keras"))
    assert again("copy", model="mine.keras") == ("copy",)


def test_the_result_of_a_run_with_only_the_source_is_the_source():
    source = Artifact("source", "source", Path("x"), "model.keras", "keras", "k")
    assert Result({"source": source}, (), Path("x")).final is source


def test_renaming_a_stage_renames_what_those_after_it_say(project):
    first = tfopt.run(recipe("copy: {name: a}", "copy: {name: b}"))
    second = tfopt.run(recipe("copy: {name: z}", "copy: {name: b}"))
    assert first.artifacts["b"].parents == ("a",)
    assert second.artifacts["b"].parents == ("z",)


def test_recipes_with_stages_of_the_same_word_keep_to_their_own(project):
    template = (
        "from typing import ClassVar\nimport tfopt\n"
        "class Same(tfopt.Stage):\n    kind: ClassVar[str] = 'same'\n"
        "    def run(self, inputs, context):\n"
        "        return context.artifact(self, inputs, context.save(context.load(inputs[0])), metrics={{'from': {}}})\n"
    )
    for number in (1, 2):
        (project / f"same{number}.py").write_text(template.format(number))
    for number in (1, 2, 1):
        assert tfopt.run(recipe("same", use=f"same{number}.py")).metrics["from"] == number


def test_a_result_whose_file_was_changed_by_hand_runs_again(project):
    first = tfopt.run(recipe(*CHAIN))
    (first.folder / "b" / "model.keras").write_bytes(b"")
    assert again() == ("a", "c")


def test_a_stage_that_returns_nothing_is_told_what_to_return(project):
    (project / "nothing.py").write_text(
        "from typing import ClassVar\nimport tfopt\nclass Nothing(tfopt.Stage):\n    kind: ClassVar[str] = 'nothing'\n"
        "    def run(self, inputs, context):\n        pass\n"
    )
    with pytest.raises(TfoptError, match=r"nothing\.run must return context\.artifact"):
        tfopt.run(recipe("nothing", use="nothing.py"))


def test_a_users_stage_cannot_take_the_word_of_a_built_in_one(project):
    (project / "clash.py").write_text(
        "from typing import ClassVar\nimport tfopt\nclass Mine(tfopt.Stage):\n    kind: ClassVar[str] = 'train'\n"
    )
    with pytest.raises(InputError, match=r"^r\.yaml:4: .*built-in"):
        tfopt.run(recipe("train", use="clash.py"))


MODELS = """
import keras
from keras import layers


def logits():
    model = keras.Sequential([layers.Input((2,)), layers.Dense(4)])
    model.compile(loss="sparse_categorical_crossentropy")
    return model


def told():
    model = keras.Sequential([layers.Input((2,)), layers.Dense(4)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def two():
    inputs = layers.Input((2,))
    model = keras.Model(inputs, {name: layers.Dense(4, activation="softmax", name=name)(inputs) for name in "ab"})
    model.compile(loss="sparse_categorical_crossentropy")
    return model
"""


def test_class_ids_that_the_model_has_no_output_for_are_refused_where_nothing_trains(project):
    given = arrays()
    np.savez(project / "from_one.npz", **{**given, "y_train": given["y_train"] + 1})
    with pytest.raises(InputError, match=r"^r\.yaml:3: y_train does not fit .* class ids from 0 to 1,.* there is 2"):
        runner.validate(recipe("copy", data="npz:from_one.npz"))


@pytest.mark.parametrize(
    ("build", "words"), [("logits", "from_logits=True"), ("two", "outputs a, b: give y_train as a dict")]
)
def test_a_model_that_would_train_to_nothing_is_refused(build, words, project):
    (project / "models4.py").write_text(MODELS)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(64, 2)).astype("float32"), generator.integers(0, 4, 64)
    np.savez(project / "data4.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(InputError, match=words):
        runner.validate(recipe("train: {epochs: 1}", model=f"models4.py:{build}", data="npz:data4.npz"))
    runner.validate(recipe("train: {epochs: 1}", model="models4.py:told", data="npz:data4.npz"))
    stages = ("train: {epochs: 1}", "quantize", "verify: {max_drop: 2}")
    with pytest.raises(InputError, match=r"^r\.yaml:\d+: max_drop is a fraction"):
        runner.validate(recipe(*stages, model="models4.py:told", data="npz:data4.npz"))
