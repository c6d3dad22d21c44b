"""The command line: exit codes, one line for what is wrong, and nothing left behind."""

import io
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import tfopt
from tests.own_stages import COPY_AND_GATE
from tfopt.recipe import stage
from tfopt.recipe.workspace import Workspace

STAGES = (
    COPY_AND_GATE
    + '''

class Boom(tfopt.Stage):
    """Raises."""

    kind: ClassVar[str] = "boom"

    def run(self, inputs, context):
        for number in range(100):
            os.write(2, f"noise {number} of a library\\n".encode())
        raise RuntimeError("the sky fell")


class Refusing(tfopt.Stage):
    """Fails with an error of tfopt, after a library has printed."""

    kind: ClassVar[str] = "refusing"

    def run(self, inputs, context):
        os.write(2, b"noise of a library\\n")
        raise tfopt.ConversionError("there is no kernel")


class Interrupted(tfopt.Stage):
    """Is stopped by hand."""

    kind: ClassVar[str] = "interrupted"

    def run(self, inputs, context):
        raise KeyboardInterrupt
'''
)

MODEL = '''
import keras

number = 4


def build():
    """A tiny classifier."""
    layers = [keras.layers.Input((3,)), keras.layers.Dense(2, activation="softmax", name="last")]
    model = keras.Sequential(layers)
    model.compile(loss="sparse_categorical_crossentropy")
    return model


def nothing():
    pass


def raises():
    raise ValueError("no\\nway")


def unbuilt():
    return keras.Sequential([keras.layers.Dense(2)])


def needs(size):
    return size
'''

ARRAYS = {"x_train": np.ones((20, 3), np.float32), "y_train": np.arange(20) % 2}
ARRAYS |= {"x_test": ARRAYS["x_train"], "y_test": ARRAYS["y_train"]}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A folder with a model, data, stages and a recipe, as the working directory; forgotten afterwards."""
    own = stage._OWN
    before = dict(own)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_stages.py").write_text(STAGES)
    (tmp_path / "model.py").write_text(MODEL)
    np.savez(tmp_path / "data.npz", **ARRAYS)
    write("ok.yaml")
    yield tmp_path
    own.clear()
    own.update(before)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def write(path, *stages, **fields):
    fields = {"name": "r", "model": "model.py:build", "data": "npz:data.npz", "use": "my_stages.py", **fields}
    lines = [f"{name}: {value}" for name, value in fields.items()]
    entries = (f"  - {stage}" for stage in stages or ("copy: {name: a}", "copy: {name: b}"))
    Path(path).write_text("\n".join([*lines, "stages:", *entries, ""]))


def only_checks(out):
    """Whether a run has shown nothing but that it checks."""
    return all(line.startswith("checking ") or line.endswith(": checked") for line in out.splitlines())


NOISY = """
import keras
from keras import layers


def build():
    keras.utils.set_random_seed(1)
    x = layers.Input((3,))
    model = keras.Model(x, layers.Dense(2)(keras.ops.log(x * x + 1e-6)))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model
"""


def test_a_warning_is_shown_by_a_run_by_the_next_that_reuses_the_file_and_by_the_report(cli, project):
    (project / "noisy.py").write_text(NOISY)
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    np.savez("noisy.npz", x_train=x, y_train=np.arange(40) % 2, x_test=x, y_test=np.arange(40) % 2)
    write("noisy.yaml", "quantize: {mode: int8, least_snr_db: -100}", model="noisy.py:build", data="npz:noisy.npz")
    shown = [cli("run", "noisy.yaml"), cli("run", "noisy.yaml"), cli("report", "saved_models/r")]
    for code, _, err in shown:
        assert code == 0
        [warning] = [line for line in err.splitlines() if line.startswith("warning:")]
        assert warning.startswith("warning: quantize: the int8 file is noisy: SNR")
    assert "1 warning" in shown[0][1]


def test_a_run_shows_the_table_the_file_and_the_report(cli):
    code, out, err = cli("run", "ok.yaml")
    assert (code, err) == (0, "")
    assert "[1/2] a: runs" in out
    assert "accuracy" in out
    assert "file    saved_models/r/b/model.keras" in out
    assert "report  saved_models/r/report.html" in out


def test_a_second_run_says_what_it_reused(cli):
    cli("run", "ok.yaml")
    code, out, _ = cli("run", "ok.yaml")
    assert code == 0
    assert "[1/2] a: reused" in out
    assert "[2/2] b: reused" in out


def test_out_data_and_seed_replace_what_the_recipe_says(cli, project):
    np.savez(project / "more.npz", **{name: array + name.startswith("x") for name, array in ARRAYS.items()})
    write("r.yaml", data="npz:none.npz")
    code, _, err = cli("run", "r.yaml", "--out", "elsewhere", "--data", "npz:more.npz", "--seed", 7)
    assert (code, err) == (0, "")
    text = (project / "elsewhere" / "r" / "recipe.yaml").read_text()
    assert "more.npz" in text
    assert "seed: 7" in text
    assert not (project / "saved_models").exists()


def test_data_that_a_command_names_is_that_of_the_working_directory(cli, project):
    (project / "deep").mkdir()
    np.savez(project / "deep" / "data.npz", **{name: array[:12] for name, array in ARRAYS.items()})
    write("deep/r.yaml", model="../model.py:build", use="../my_stages.py")
    assert cli("run", "deep/r.yaml", "--data", "data.npz")[0] == 0
    written = (project / "saved_models" / "r" / "recipe.yaml").read_text()
    assert str(project / "data.npz") in written.replace("\n", "")
    assert str(project / "deep") not in written


def test_a_gate_that_is_not_met_is_exit_code_3_with_the_table_and_one_line(cli):
    write("r.yaml", "copy", "gate: {failed: not accurate enough}")
    for _ in range(2):
        code, out, err = cli("run", "r.yaml")
        assert code == 3
        assert err == "not accurate enough\n"
        assert "0.4000" in out
        assert "report.html" in out


def test_a_stage_that_fails_is_exit_code_1_with_one_line_and_the_end_of_the_log(cli):
    write("r.yaml", "copy", "boom")
    code, _, err = cli("run", "r.yaml")
    first, head, *rest = err.splitlines()
    assert code == 1
    assert first.startswith("boom failed: RuntimeError: the sky fell")
    assert "run.log" in head
    assert "noise 99 of a library" in rest
    assert rest[-1] == "RuntimeError: the sky fell"
    assert len(rest) <= 20


def test_a_stage_that_fails_with_an_error_of_tfopt_is_one_line_and_nothing_of_the_log(cli):
    write("r.yaml", "copy", "refusing")
    code, _, err = cli("run", "r.yaml")
    assert (code, err) == (1, "refusing: there is no kernel\n")
    assert "noise of a library" in Path("saved_models/r/run.log").read_text()


def test_an_interrupted_run_is_exit_code_130_and_says_how_to_go_on(cli, project):
    write("r.yaml", "copy", "interrupted")
    code, _, err = cli("run", "r.yaml")
    assert code == 130
    assert "same command" in err
    assert len(err.splitlines()) == 1
    assert (project / "saved_models" / "r" / "copy" / "model.keras").is_file()


def test_a_folder_in_use_is_exit_code_1_and_one_line(cli, project):
    with Workspace(project / "saved_models" / "r").locked():
        code, _, err = cli("run", "ok.yaml")
    assert code == 1
    assert "in use" in err
    assert len(err.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_exit_code_1_and_one_line(cli):
    code, _, err = cli("run", "ok.yaml", "--out", "model.py")
    assert code == 1
    assert "cannot be written" in err
    assert len(err.splitlines()) == 1


RECIPES = {
    "unknown stage": (("trian: {epochs: 1}",), {}),
    "unknown setting": (("train: {epocs: 1, epochs: 1}",), {}),
    "unknown nested setting": (("train: {epochs: 1, early_stopping: {pacience: 1}}",), {}),
    "missing setting": (("prune: {epochs: 1}",), {}),
    "percent": (("prune: {epochs: 1, sparsity: 80}",), {}),
    "prune after quantize": (("quantize", "prune: {epochs: 1, sparsity: 0.5}"), {}),
    "verify without a file": (("verify",), {}),
    "unknown metric": ((), {"metrics": "acuracy"}),
    "unknown loss": (("train: {epochs: 1}",), {"loss": "sparse_crossentropy"}),
    "unknown optimizer": (("train: {epochs: 1, optimizer: adm}",), {}),
    "unknown argument of an optimizer": (("train: {epochs: 1, optimizer: {adam: {lr: 1}}}",), {}),
    "a word for a learning rate": (("train: {epochs: 1, optimizer: {adam: {learning_rate: fast}}}",), {}),
    "a word in a schedule": (
        ("train: {epochs: 1, optimizer: {adam: {learning_rate: {cosine: {initial_learning_rate: x}}}}}",),
        {},
    ),
    "a value to watch that is not logged": (("train: {epochs: 1, early_stopping: {monitor: val_los}}",), {}),
    "a pattern without a layer": (("prune: {epochs: 1, sparsity: 0.5, only: conv}",), {}),
    "a penalty on no layer": (("train: {epochs: 1, regularizers: [{l2: 0.1, only: conv}]}",), {}),
    "pruning that ends before it begins": (("prune: {epochs: 1, sparsity: 0.5, begin: 0.9, end: 0.1}",), {}),
    "a name with a slash": ((), {"name": "a/b"}),
    "no model": ((), {"model": ""}),
    "a number as model": ((), {"model": "3"}),
    "no such model file": ((), {"model": "modle.py:build"}),
    "no such function": ((), {"model": "model.py:biuld"}),
    "a function without its name": ((), {"model": "model.py"}),
    "no such module": ((), {"model": "no_such_module.here:build"}),
    "a number instead of a function": ((), {"model": "model.py:number"}),
    "a function that returns nothing": ((), {"model": "model.py:nothing"}),
    "a function that raises": ((), {"model": "model.py:raises"}),
    "a function that wants arguments": ((), {"model": "model.py:needs"}),
    "a model without weights": ((), {"model": "model.py:unbuilt"}),
    "no such keras file": ((), {"model": "none.keras"}),
    "a keras file that is text": ((), {"model": "text.keras"}),
    "a keras file that is a folder": ((), {"model": "folder.keras"}),
    "no data": ((), {"data": ""}),
    "unknown data": ((), {"data": "dgits"}),
    "unknown keras data": ((), {"data": "keras:mnits"}),
    "no such npz": ((), {"data": "npz:none.npz"}),
    "an npz that is a folder": ((), {"data": "npz:folder.keras"}),
    "an npz that is text": ((), {"data": "npz:text.keras"}),
    "an npz cut short": ((), {"data": "npz:cut.npz"}),
    "an npz without labels": ((), {"data": "npz:nolabels.npz"}),
    "fewer labels than samples": ((), {"data": "npz:fewer.npz"}),
    "not a number in the data": ((), {"data": "npz:nan.npz"}),
    "samples of another shape": ((), {"data": "npz:shape.npz"}),
    "no samples": ((), {"data": "npz:empty.npz"}),
    "labels the model does not have": (("train: {epochs: 1}",), {"data": "npz:labels.npz"}),
    "a data function that returns no data": ((), {"data": "model.py:nothing"}),
    "no such file of stages": ((), {"use": "stages.py"}),
    "a number as file of stages": ((), {"use": "3"}),
}


@pytest.fixture
def wrong(project):
    """Files that are not what they should be, and a function that writes one of the recipes above."""
    (project / "text.keras").write_text("hello")
    (project / "folder.keras").mkdir()
    (project / "cut.npz").write_bytes((project / "data.npz").read_bytes()[:300])
    x, y = ARRAYS["x_train"], ARRAYS["y_train"]
    broken = {
        "nolabels": {"y_train": None},
        "fewer": {"y_train": y[:5]},
        "nan": {"x_train": np.where(np.arange(20)[:, None] == 3, np.nan, x)},
        "shape": {"x_train": x[:, :2], "x_test": x[:, :2]},
        "empty": {"x_train": x[:0], "y_train": y[:0]},
        "labels": {"y_train": y + 7},
    }
    for name, change in broken.items():
        arrays = {key: array for key, array in {**ARRAYS, **change}.items() if array is not None}
        np.savez(project / f"{name}.npz", **arrays)

    def wrong(name):
        stages, fields = RECIPES[name]
        write("wrong.yaml", *stages, **fields)

    return wrong


@pytest.mark.parametrize("name", RECIPES)
def test_validate_finds_a_wrong_recipe_and_says_where_in_one_line(cli, wrong, name):
    wrong(name)
    code, out, err = cli("validate", "wrong.yaml")
    assert code == 2
    assert err.startswith("wrong.yaml:")
    assert len(err.splitlines()) == 1
    assert out == ""


@pytest.mark.sample(8)
@pytest.mark.parametrize("name", RECIPES)
def test_a_run_of_a_wrong_recipe_is_exit_code_2_and_one_line_and_leaves_no_folder(cli, wrong, project, name):
    wrong(name)
    before = sorted(project.iterdir())
    code, out, err = cli("run", "wrong.yaml")
    assert code == 2
    assert err.startswith("wrong.yaml:")
    assert len(err.splitlines()) == 1
    assert only_checks(out)
    assert [path for path in sorted(project.iterdir()) if path not in before and path.name != "__pycache__"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "none.yaml"], "none.yaml"),
        (["run", "."], "is a folder"),
        (["run", "model.py"], "model.py"),
        (["run", "data.npz"], "data.npz"),
        (["run", "model.keras"], "model.keras"),
        (["run", "empty.yaml"], "empty.yaml"),
        (["run", "ok.yaml", "--seed", "-1"], "seed"),
        (["run", "ok.yaml", "--data", "dgits"], "Did you mean 'digits'?"),
        (["run", "ok.yaml", "--data", "npz:none.npz"], "none.npz"),
        (["run", "ok.yaml", "--data", "none.npz"], "none.npz"),
        (["run", "ok.yaml", "--data", ""], "data"),
        (["validate", "none.yaml"], "none.yaml"),
        (["validate", "none.yaml", "--quick"], "none.yaml"),
        (["validate", "ok.yaml", "--data", "npz:none.npz"], "none.npz"),
        (["stages", "prun"], "Did you mean 'prune'?"),
        (["inspect", "none.keras"], "none.keras"),
        (["inspect", "none.tflite"], "none.tflite"),
        (["inspect", "."], "folder"),
        (["inspect", "ok.yaml"], ".tflite"),
        (["inspect", "text.keras"], "text.keras"),
        (["inspect", "text.tflite"], "text.tflite"),
        (["inspect", "text.h5"], "text.h5"),
        (["report", "none"], "none"),
        (["report", "."], "results"),
        (["report", "ok.yaml"], "results"),
        (["clean", "none.yaml"], "none.yaml"),
        (["learning-rate", "none.yaml"], "none.yaml"),
        (["learning-rate", "ok.yaml"], "a stage that trains"),
        (["learning-rate", "ok.yaml", "--low", "1", "--high", "0.1"], "low"),
        (["learning-rate", "ok.yaml", "--plot", "none/rate.html"], "none"),
    ],
    ids=" ".join,
)
def test_a_wrong_argument_is_exit_code_2_and_one_line(cli, project, arguments, words):
    for name in ("text.keras", "text.tflite", "text.h5"):
        (project / name).write_text("hello")
    (project / "model.keras").write_bytes(b"PK\x03\x04\xff\xfe")
    (project / "empty.yaml").write_text("")
    before = sorted(project.iterdir())
    code, out, err = cli(*arguments)
    assert code == 2
    assert words in err
    assert len(err.splitlines()) == 1
    assert only_checks(out)
    assert [path for path in sorted(project.iterdir()) if path not in before and path.name != "__pycache__"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rn", "ok.yaml"], "rn"),
        (["run"], "recipe"),
        (["run", "ok.yaml", "--oot", "x"], "--oot"),
        (["run", "ok.yaml", "--seed", "abc"], "--seed"),
        (["run", "ok.yaml", "extra"], "extra"),
        (["inspect"], "file"),
    ],
    ids=" ".join,
)
def test_a_command_that_is_typed_wrong_is_exit_code_2_without_a_traceback(cli, project, arguments, words):
    code, _, err = cli(*arguments)
    assert code == 2
    assert words.lower() in err.lower()
    assert len(err.splitlines()) == 1
    assert not (project / "saved_models").exists()


def test_several_mistakes_are_a_line_each(cli):
    write("r.yaml", "trian: {epochs: 1}", "prune: {epochs: -1, sparsity: 2}")
    code, _, err = cli("run", "r.yaml")
    assert code == 2
    assert len(err.splitlines()) == 3
    assert all(line.startswith("r.yaml:") for line in err.splitlines())


def test_help_names_every_command(cli):
    code, out, _ = cli("--help")
    assert code == 0
    for command in ("run", "validate", "stages", "schema", "inspect", "report", "clean"):
        assert command in out


@pytest.mark.parametrize("command", ["run", "validate", "stages", "schema", "inspect", "report", "clean"])
def test_every_command_has_help(cli, command):
    code, out, err = cli(command, "-h")
    assert (code, err) == (0, "")
    assert f"tfopt {command}" in out


def test_stages_lists_each_with_its_formats(cli):
    code, out, _ = cli("stages")
    assert code == 0
    for kind in ("train", "prune", "quantize", "verify", "benchmark"):
        [line] = [line for line in out.splitlines() if line.startswith(f"{kind} ")]
        assert f"{stage.INSTALLED[kind].takes} -> {stage.INSTALLED[kind].gives}" in line


def test_stages_of_one_kind_shows_its_settings(cli):
    code, out, _ = cli("stages", "prune")
    assert code == 0
    [line] = [line for line in out.splitlines() if line.startswith("│ epochs ")]
    assert "required" in line
    [line] = [line for line in out.splitlines() if " batch_size " in line]
    assert "32" in line


def test_the_schema_is_json(cli):
    code, out, err = cli("schema")
    assert (code, err) == (0, "")
    assert json.loads(out)["properties"]["stages"]


def test_validate_shows_the_chain_and_leaves_nothing(cli, project):
    code, out, err = cli("validate", "ok.yaml")
    assert (code, err) == (0, "")
    assert "a  <- starting model" in out
    assert "b  <- a" in out
    assert "ok.yaml can run." in out
    assert not (project / "saved_models").exists()


def test_validate_quick_looks_at_the_words_only(cli):
    write("r.yaml", model="none.py:build", data="npz:none.npz")
    assert cli("validate", "r.yaml", "--quick")[0] == 0
    assert cli("validate", "r.yaml")[0] == 2


def test_validate_quick_finds_a_broken_chain(cli):
    write("r.yaml", "verify")
    code, _, err = cli("validate", "r.yaml", "--quick")
    assert code == 2
    assert err.startswith("r.yaml:6: ")


@pytest.fixture
def telling(project):
    """Whether the project's own code has run since it was last asked; nothing of it is known to the process before."""
    text = "\nwith open('ran', 'w') as file:\n    file.write('here')\n"
    for name in ("my_stages.py", "model.py"):
        (project / name).write_text((project / name).read_text() + text)

    def ran():
        there = (project / "ran").exists()
        (project / "ran").unlink(missing_ok=True)
        stage._OWN.clear()
        for name in ("my_stages", "model"):
            sys.modules.pop(name, None)
        return there

    ran()  # other tests' stages have the same kinds
    return ran


def test_commands_that_need_no_code_of_ones_own_run_none(cli, telling):
    for command in ("validate ok.yaml --quick", "schema", "stages", "clean ok.yaml --yes"):
        assert cli(*command.split())[0] == 0
        assert not telling()
    assert cli("run", "ok.yaml")[0] == 0
    assert telling()
    for named in ("ok.yaml", "saved_models/r"):
        assert cli("report", named)[0] == 0
        assert not telling()


def test_code_of_ones_own_is_run_where_it_is_asked_for(cli, telling):
    code, out, _ = cli("validate", "ok.yaml", "--quick")
    assert code == 0
    assert "copy: of your own code, which was not run; --use runs it" in out
    assert cli("validate", "ok.yaml", "--quick", "--use")[0] == 0
    assert telling()
    assert "not run" not in cli("validate", "ok.yaml", "--quick", "--use")[1]
    telling()
    cli("run", "ok.yaml")
    write("ok.yaml", "copy: {name: a}", "copy: {name: b, tag: other}")
    telling()
    assert "which was not run; --use runs it, and tells whether the stages were changed" in cli("report", "ok.yaml")[1]
    assert not telling()
    assert "the recipe has other stages than this run" in cli("report", "ok.yaml", "--use")[1]
    assert telling()


def test_settings_of_ones_own_stages_are_checked_where_their_code_is_run(cli, telling):
    write("r.yaml", "copy: {tagg: x}", "train: {epochs: many}")
    _, _, err = cli("validate", "r.yaml", "--quick")
    assert "tagg" not in err
    assert "r.yaml:7: train.epochs is a whole number" in err
    assert "copy has no field 'tagg'" in cli("validate", "r.yaml", "--quick", "--use")[2]


def test_inspect_shows_the_layers_of_a_model(cli):
    cli("run", "ok.yaml")
    code, out, err = cli("inspect", "saved_models/r/a/model.keras")
    assert (code, err) == (0, "")
    assert "last" in out
    assert "Dense" in out
    assert "8 parameters" in out


def test_report_shows_the_table_and_writes_all_files_again(cli, project):
    cli("run", "ok.yaml")
    folder = project / "saved_models" / "r"
    before = json.loads((folder / "report.json").read_text())
    (folder / "report.json").unlink()
    (folder / "report.md").unlink()
    (folder / "report.html").unlink()
    code, out, err = cli("report", "saved_models/r")
    assert (code, err) == (0, "")
    assert "0.5000" in out
    assert json.loads((folder / "report.json").read_text()) == before
    assert (folder / "report.md").is_file()
    assert "0.5000" in (folder / "report.html").read_text()


@pytest.mark.parametrize("named", ["saved_models/r", "ok.yaml"], ids=["folder", "recipe"])
@pytest.mark.parametrize("browser", [True, False], ids=["browser", "no_browser"])
def test_report_opens_the_page_where_there_is_a_browser_and_tells_its_path(cli, project, monkeypatch, named, browser):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or browser)
    cli("run", "ok.yaml")
    code, out, err = cli("report", "--open", named)
    page = project / "saved_models" / "r" / "report.html"
    assert code == 0
    assert "report  saved_models/r/report.html" in out
    assert opened == [page.resolve().as_uri()]
    assert err == ("" if browser else "no browser is found on this machine. The page is saved_models/r/report.html.\n")


def test_report_of_a_recipe_looks_where_its_results_are(cli):
    cli("run", "ok.yaml", "--out", "elsewhere")
    assert cli("report", "ok.yaml", "--out", "elsewhere")[0] == 0
    code, out, err = cli("report", "ok.yaml")
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def test_the_result_of_a_run_names_its_page(project):
    result = tfopt.run("ok.yaml", "out")
    assert result.page == (project / "out" / "r" / "report.html").resolve()
    assert result.page.is_file()


def test_report_json_is_what_the_file_holds(cli, project):
    cli("run", "ok.yaml")
    code, out, _ = cli("report", "saved_models/r", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((project / "saved_models" / "r" / "report.json").read_text())


def test_report_shows_no_stage_that_the_recipe_no_longer_has(cli, project):
    write("r.yaml", "copy", "gate: {failed: too bad}")
    cli("run", "r.yaml")
    write("r.yaml", "copy")
    assert cli("run", "r.yaml")[0] == 0
    before = (project / "saved_models" / "r" / "report.json").read_text()
    cli("report", "saved_models/r")
    assert (project / "saved_models" / "r" / "report.json").read_text() == before


def test_clean_asks_first(cli, project, monkeypatch):
    cli("run", "ok.yaml")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    code, _, _ = cli("clean", "ok.yaml")
    assert code == 1
    assert (project / "saved_models" / "r" / "a").is_dir()


def test_clean_removes_the_results_of_the_recipe_only(cli, project):
    cli("run", "ok.yaml")
    (project / "saved_models" / "other").mkdir()
    code, out, err = cli("clean", "ok.yaml", "--yes")
    assert (code, err) == (0, "")
    assert "removed saved_models/r" in out
    assert [path.name for path in (project / "saved_models").iterdir()] == ["other"]


def test_clean_partial_removes_what_is_half_done_without_asking(cli, project):
    write("r.yaml", "copy", "boom")
    cli("run", "r.yaml")
    code, out, _ = cli("clean", "r.yaml", "--partial")
    assert code == 0
    assert "boom.partial" in out
    assert (project / "saved_models" / "r" / "copy").is_dir()


def test_clean_of_nothing_is_no_mistake(cli, project):
    code, out, _ = cli("clean", "ok.yaml", "--yes")
    assert code == 0
    assert "nothing to remove" in out
    assert not (project / "saved_models").exists()


def test_python_m_tfopt_is_the_same_command(monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["tfopt", "stages"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("tfopt", run_name="__main__")
    assert not caught.value.code
    assert "benchmark" in capfd.readouterr().out


def test_the_version_is_told(cli):
    code, out, _ = cli("--version")
    assert code == 0
    assert out.startswith("tfopt 0.")


def test_a_stage_of_ones_own_is_listed_with_its_file(cli, project):
    code, out, _ = cli("stages", "copy", "--use", "my_stages.py")
    assert code == 0
    assert "tag" in out


def test_stages_of_ones_own_are_found_through_a_recipe_and_the_way_is_said(cli, project):
    write("r.yaml")
    code, out, _ = cli("stages", "copy", "--use", "r.yaml")
    assert code == 0
    assert "tag" in out
    stage._OWN.clear()
    code, _, err = cli("stages", "copy")
    assert code == 2
    assert err.endswith("One of your own is found with --use and its file.\n")


def test_data_of_a_run_may_be_an_npz_file_as_it_is(cli):
    code, _, err = cli("validate", "ok.yaml", "--data", "data.npz")
    assert (code, err) == (0, "")


PRINTING = """
import keras

print("from the file of the model")


def build():
    print("from the function of the model")
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy")
    return model


def data():
    import numpy as np

    print("from the function of the data")
    x, y = np.ones((20, 3)), np.arange(20) % 2
    return {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
"""

OWN_STAGE = """
from typing import ClassVar

import tfopt

print("from the file of stages")


class Talk(tfopt.Stage):
    kind: ClassVar[str] = "talk"

    def run(self, inputs, context):
        print("from a stage")
        return context.artifact(self, inputs, context.save(context.load(inputs[0])))
"""


@pytest.mark.parametrize("verbose", [True, False])
def test_what_ones_own_code_prints_is_in_the_log_and_on_the_screen_when_asked_for(cli, project, verbose):
    (project / "talking.py").write_text(PRINTING)
    (project / "talk.py").write_text(OWN_STAGE)
    write("r.yaml", "talk: {}", model="talking.py:build", data="talking.py:data", use="talk.py")
    code, out, _ = cli("run", "r.yaml", *(["--verbose"] if verbose else []))
    assert code == 0
    log = (project / "saved_models/r/run.log").read_text()
    for word in ("file of the model", "function of the model", "function of the data", "file of stages", "a stage"):
        assert f"from the {word}".replace("the a", "a") in log
        assert (f"from the {word}".replace("the a", "a") in out) == verbose


def test_a_pipe_sees_at_once_that_the_checks_go_on(cli):
    _, out, _ = cli("run", "ok.yaml")
    checks = ["  the data: checked", "  the model: checked", "  a: checked", "  b: checked"]
    assert out.splitlines()[:5] == ["checking the model and the data", *checks]
    _, again, _ = cli("run", "ok.yaml")
    assert again.splitlines()[:2] == ["checking the model and the data", "[1/2] a: reused"]


def test_clean_takes_the_folder_that_report_takes(cli, project):
    cli("run", "ok.yaml")
    code, out, err = cli("clean", "saved_models/r", "--yes")
    assert (code, err) == (0, "")
    assert out == "removed saved_models/r\n"
    assert not (project / "saved_models" / "r").exists()


def test_clean_of_a_folder_that_is_no_run_removes_nothing(cli, project):
    (project / "photos").mkdir()
    (project / "photos" / "one.txt").write_text("mine")
    code, out, err = cli("clean", "photos", "--yes")
    assert (code, out) == (2, "")
    assert err.startswith("photos is not the folder of a run.")
    assert [path.name for path in (project / "photos").iterdir()] == ["one.txt"]


def test_clean_without_anybody_to_answer_names_the_option(cli, project, monkeypatch):
    cli("run", "ok.yaml")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    code, _, err = cli("clean", "ok.yaml")
    assert (code, err) == (2, "nobody answered whether to remove saved_models/r. Say so with --yes.\n")
    assert (project / "saved_models" / "r" / "a").is_dir()


def test_clean_of_a_folder_in_use_says_so_before_it_asks(cli, project, monkeypatch):
    cli("run", "ok.yaml")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with Workspace(project / "saved_models" / "r").locked():
        code, out, err = cli("clean", "ok.yaml")
    assert (code, out) == (1, "")
    assert "is in use by process" in err


def test_report_shows_the_line_of_a_gate_that_failed(cli):
    write("r.yaml", "copy", "gate: {failed: not accurate enough}")
    cli("run", "r.yaml")
    code, out, _ = cli("report", "r.yaml")
    assert code == 0
    assert "FAIL  not accurate enough\n" in out


def test_report_of_an_interrupted_run_says_how_far_it_came(cli, project):
    write("r.yaml", "copy", "train: {epochs: 60}", "interrupted")
    write("early.yaml", "copy", "interrupted")
    cli("run", "early.yaml")
    workspace = Workspace(project / "saved_models" / "r")
    for epoch in ("epoch-000006", "epoch-000007"):
        (workspace.begin("train", "key") / ".backup" / epoch).mkdir(parents=True)
    code, out, _ = cli("report", "r.yaml")
    assert code == 0
    assert "note  train: 7 of 60 epochs, not finished; tfopt run goes on\n" in out
    assert "note  interrupted: not finished; tfopt run goes on\n" in out
    assert "note  train: 7 epochs, not finished" in cli("report", "saved_models/r")[1]


def test_report_leaves_out_what_was_made_from_an_earlier_state(cli, project):
    write("r.yaml", "copy: {name: a}", "copy: {name: b}", "copy: {name: c}")
    assert cli("run", "r.yaml")[0] == 0
    write("r.yaml", "copy: {name: a}", "boom: {name: b}", "copy: {name: c}", seed=5)
    assert cli("run", "r.yaml")[0] == 1
    code, out, _ = cli("report", "saved_models/r")
    assert code == 0
    notes = [line for line in out.splitlines() if line.startswith("note  ")]
    assert "note  b: left out, as it was made from an earlier a; tfopt run makes it again" in notes
    assert "note  c: left out, as it was made from an earlier b; tfopt run makes it again" in notes
    record = json.loads(cli("report", "saved_models/r", "--json")[1])
    assert [one["name"] for one in record["artifacts"]] == ["source", "a"]
    code, _, err = cli("compare", "saved_models/r", "saved_models/r/a/model.keras", "--data", "data.npz")
    assert code == 2
    assert "b of saved_models/r was made from an earlier a. Run its recipe to the end first." in err
    write("r.yaml", "copy: {name: a}", "copy: {name: b}", "boom: {name: c}", seed=5)
    assert cli("run", "r.yaml")[0] == 1
    record = json.loads(cli("report", "saved_models/r", "--json")[1])
    assert [one["name"] for one in record["artifacts"]] == ["source", "a", "b"]


def test_a_stage_that_the_recipe_no_longer_has_is_not_called_outdated(cli, project):
    write("r.yaml", "copy: {name: a}", "copy: {name: b}")
    assert cli("run", "r.yaml")[0] == 0
    write("r.yaml", "copy: {name: a}", "copy: {name: other}", seed=5)
    assert cli("run", "r.yaml")[0] == 0
    assert "left out" not in cli("report", "saved_models/r")[1]


def test_report_says_that_the_recipe_was_changed_since(cli):
    cli("run", "ok.yaml")
    assert "note" not in cli("report", "ok.yaml")[1]
    write("ok.yaml", "copy: {name: a}", "copy: {name: b, tag: other}", seed=3)
    assert "note  the recipe has other stages, seed than this run; tfopt run makes" in cli("report", "ok.yaml")[1]


def test_report_of_results_that_cannot_be_written_is_the_table_and_a_note(cli, project):
    cli("run", "ok.yaml")
    page = project / "saved_models" / "r" / "report.md"
    page.unlink()
    page.mkdir()  # what a read-only disk is for root, too: nothing can be written there
    code, out, err = cli("report", "saved_models/r")
    assert code == 0
    assert "0.5000" in out
    assert err.startswith("note: saved_models/r cannot be written: Is a directory.")
    assert len(err.splitlines()) == 1
