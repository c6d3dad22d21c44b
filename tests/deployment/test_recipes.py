"""The snippets on the files of the recipes that come with tfopt, a short training each."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.deployment import recording
from tests.deployment.test_snippets import RUNTIMES, bit_for_bit, compiled, run
from tfopt.deployment import snippet
from tfopt.inspection import inspect
from tfopt.pipeline import runner
from tfopt.recipe.recipe import Recipe
from tfopt.tflite.interpreter import Runner

PIPELINES = Path(__file__).parents[2] / "pipelines"


def shortened(name, data=None):
    """A recipe with one epoch to a training and no gate."""
    recipe = Recipe.load(PIPELINES / f"{name}.yaml")
    stages = [
        stage.model_copy(update={"epochs": 1}) if hasattr(stage, "epochs") else stage
        for stage in recipe.stages
        if stage.kind not in ("verify", "benchmark")
    ]
    return recipe.model_copy(update={"stages": stages, **({"data": data} if data else {})})


@pytest.fixture(params=["digits", "two_senses"])
def made(request, tmp_path):
    """The files of a recipe by stage, and samples of their inputs."""
    generator = np.random.default_rng(0)
    if request.param == "digits":
        result = runner.run(shortened("digits"), tmp_path / "out")
    else:
        folder = request.getfixturevalue("real_data")
        files = {"images": str(folder / "mnist.npz"), "sounds": str(folder / "fsdd.npz")}
        result = runner.run(shortened("two_senses", {"two_senses.py:load": files}), tmp_path / "out")
    samples = {}
    for end in inspect(result.path).usage.inputs:
        low, high = (0, 255) if end.name == "image" else (-4, 4) if end.name == "sound" else (0, 1)
        samples[end.name] = generator.uniform(low, high, (3, *end.shape[1:])).astype(np.float32)
    return {name: result.artifacts[name].path for name in ("float32", "int8")}, samples


@pytest.mark.slow
def test_the_snippets_give_tfopts_own_outputs(made, tmp_path, monkeypatch):
    files, x = made
    for mode, file in files.items():
        folder = tmp_path / mode
        folder.mkdir()
        shutil.copy(file, folder / "model.tflite")
        monkeypatch.chdir(folder)
        found, content = inspect(file).usage, file.read_bytes()
        space = {"__name__": "snippet"}
        exec(compile(snippet(found), "predict.py", "exec"), space)
        runner_ = Runner(content)
        for number in range(recording.SAMPLES):
            one = {end.name: x[end.name][number : number + 1] for end in found.inputs}
            outputs, classes = space["predict"](*one.values())
            wanted = runner_(one)
            assert all(bit_for_bit(outputs[name], wanted[name]) for name in wanted)
            assert {name: list(ids) for name, ids in classes.items()} == {
                name: list(values.argmax(-1)) for name, values in wanted.items()
            }
        if shutil.which("g++") is None:
            continue
        expected = recording.record(folder / "record", found, content, x)
        languages = {"c++": (recording.cpp_driver(found, "model.tflite"), [RUNTIMES / "c_api.cpp"])}
        if not found.not_on_tflm:
            languages["tflm"] = (recording.tflm_driver(found, "model_tflite"), [])
        for language, (driver, sources) in languages.items():
            (folder / "predict.cpp").write_text(snippet(found, language))
            (folder / "driver.cpp").write_text(driver)
            done = run([compiled(folder, folder / "driver.cpp", *sources)], folder)
            assert done.returncode == 0, done.stderr
            recording.check(folder / "record", found, expected)
