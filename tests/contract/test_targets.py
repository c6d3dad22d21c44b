"""What every target keeps to, and that other packages add targets and stages."""

import dataclasses
import sys

import numpy as np
import pytest

import tfopt
from tests.quantization import zoo
from tfopt.cli import main
from tfopt.errors import ConversionError, InputError, RecipeError
from tfopt.quantization import validation
from tfopt.quantization.conversion import finish
from tfopt.quantization.preparation import prepare
from tfopt.recipe import stage
from tfopt.recipe.device_cost import DeviceCost, Measurement
from tfopt.recipe.export import Export
from tfopt.recipe.figure import Figure, by_name
from tfopt.recipe.modes import MODES
from tfopt.recipe.target import TARGETS, figure_of

# The accelerators of which one stands for all by default.
SIMILAR = [name for name, target in TARGETS.items() if target.suffix == "vela"][1:]
# Every target with every mode that it runs: by default with its first one.
RUNS = [
    pytest.param(name, mode, marks=() if mode == target.modes[0] and name not in SIMILAR else pytest.mark.slow)
    for name, target in TARGETS.items()
    for mode in target.modes
]
# Settings of which one target or another refuses some.
ODD = (
    {"batch": "any"},
    {"io": "float32"},
    {"rules": [{"layers": "a", "to": "float"}]},
    {"mode": "float32", "sparse": True},
)


@pytest.fixture(params=TARGETS)
def target(request):
    return TARGETS[request.param]


@pytest.fixture(scope="module")
def prepared():
    model, samples = zoo.build("conv2d")
    return prepare(model, Export(mode="int8"), samples)


def test_a_target_says_what_it_is(target):
    assert target.about
    assert target.refuses
    assert {target.size, target.time} - {""} <= set(target.figures)
    assert set(target.modes) <= set(MODES)
    for name, figure in target.figures.items():
        known = figure_of(name)
        assert (figure.name, known.unit, known.kind) == (name, figure.unit, figure.kind)  # it means the same everywhere
        assert figure.title
        assert not figure.about or figure.about.endswith(".")
    assert not target.size or target.size.endswith("_bytes")
    assert target.highest_precision == "float" or all(MODES[mode].static for mode in target.modes)
    with pytest.raises(dataclasses.FrozenInstanceError):
        target.name = "other"


def test_what_a_target_refuses_is_a_sentence_that_names_it(target):
    for settings in ODD:
        for sentence in target.refusals(Export(**settings)):
            assert sentence.startswith(f"target {target.name} ")
            assert not sentence.endswith(".")
            with pytest.raises(RecipeError, match=f"target {target.name} "):
                Export(target=target.name, **settings)


@pytest.mark.parametrize(("name", "mode"), RUNS)
def test_a_target_runs_the_modes_that_it_says(prepared, name, mode):
    target = TARGETS[name]
    asked = dataclasses.replace(prepared, export=Export(mode=mode, target=name))
    try:
        made = finish(asked, asked.quantized())
    except InputError as error:
        if "needs the package" not in str(error):
            raise
        pytest.skip(str(error))
    if target.measure is not None:
        assert 0 <= made.figures[target.difference] < 0.1
        assert set(target.figures) <= set(made.figures)
    if target.cost is not None:
        assert made.on_target.cost.figures.items() <= made.figures.items()
        assert all(value > 0 for value in made.on_target.cost.figures.values())
        assert all(layer.layer for layer in made.on_target.layers)
        assert bool(made.on_target.layers) == bool(made.on_target.cost.operators)


def test_a_file_that_gives_something_else_on_its_target_is_refused(prepared):
    def zeros(content, samples):
        return Measurement({name: np.zeros_like(value) for name, value in prepared.expected.items()}, {})

    wrong = dataclasses.replace(TARGETS["litert"], name="board", measure=zeros)
    with pytest.raises(ConversionError, match="target board gives something else than LiteRT"):
        validation.measure_on_target(wrong, prepared.source.content, prepared.few)


@pytest.mark.parametrize(
    "make",
    [
        lambda target: tfopt.Quantize(target=target),
        lambda target: tfopt.Qat(epochs=1, target=target),
        lambda target: tfopt.Search(target=target, max_drop=0.1),
        lambda target: tfopt.PruneChannels(keep=0.5, of="board_cycles", epochs=1, target=target),
        lambda target: tfopt.Benchmark(targets=["litert", target]),
    ],
    ids=["quantize", "qat", "search", "prune_channels", "benchmark"],
)
def test_another_version_of_a_targets_tool_makes_results_anew(make, monkeypatch):
    installed = {"board-tool": "1.0"}
    board = dataclasses.replace(
        TARGETS["litert"],
        name="board",
        package="board_tool",
        distribution="board-tool",
        cost=lambda content, export: DeviceCost({"board_cycles": 1.0}),
        figures=by_name(Figure("board_cycles", "cycles", "cycles", "time")),
    )
    monkeypatch.setattr(TARGETS, "_found", {**TARGETS, "board": board})
    monkeypatch.setattr("tfopt.recipe.target.version", lambda name: installed[name])
    before = make("board").surroundings()
    installed["board-tool"] = "1.1"
    assert make("board").surroundings() != before
    assert make("board").surroundings()[-2:] == ("board-tool", "1.1")


PACKAGE = '''
from typing import ClassVar

import tfopt
from tfopt.recipe.device_cost import Measurement
from tfopt.recipe.figure import Figure, by_name
from tfopt.recipe.target import Target


def _refusals(export):
    if export.batch != 1:
        yield "target board runs one sample at a time. Leave batch out"


def _measure(content, samples):
    from tfopt.tflite.interpreter import Runner

    return Measurement(Runner(content)(samples), {"board_cycles": 7.0})


BOARD = Target("board", "a board on a desk", lambda mode: mode.static, refusals=_refusals, measure=_measure,
               figures=by_name(Figure("board_cycles", "cycles", "cycles", "time")))


class Negate(tfopt.Stage):
    """Turns the signs of all weights."""

    kind: ClassVar[str] = "negate"

    def run(self, inputs, context):
        model = context.load(inputs[0])
        model.set_weights([-weights for weights in model.get_weights()])
        return context.artifact(self, inputs, context.save(model))
'''
MODEL = """
import keras
import numpy as np


def build():
    model = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dense(4, name="head")])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def load():
    generator = np.random.default_rng(0)
    split = generator.normal(size=(40, 6)).astype(np.float32), np.arange(40) % 4
    return {"train": split, "validation": split, "test": split}
"""
RECIPE = """
name: r
model: model.py:build
data: model.py:load
stages:
  - negate
  - quantize: {mode: int8, target: board}
"""


@pytest.fixture
def package(tmp_path, monkeypatch, capfd):
    """Installs a package with entry points for the length of a test, and gives the command tfopt with it."""

    def install(code, **points):
        folder = tmp_path / "site"
        info = folder / "board_for_tfopt-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / "board_for_tfopt.py").write_text(code)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: board-for-tfopt\nVersion: 1.0\n")
        groups = [f"[tfopt.{group}]\nmine = {value}\n" for group, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(groups))
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(folder)
        for registry in (TARGETS, stage.INSTALLED):
            monkeypatch.setattr(registry, "_found", None)
        return run

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tfopt", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code or 0, capfd.readouterr().err

    own = dict(stage._OWN)
    yield install
    stage._OWN.clear()
    stage._OWN.update(own)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def test_another_package_adds_a_target_and_a_stage(package, tmp_path):
    tfopt = package(PACKAGE, targets="board_for_tfopt:BOARD", stages="board_for_tfopt:Negate")
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "r.yaml").write_text(RECIPE)
    code, error = tfopt("run", "r.yaml")
    assert code == 0, error
    [report] = (tmp_path / "saved_models").rglob("report.json")
    assert '"board_cycles": 7.0' in report.read_text()
    assert '"board_max_error": 0.0' in report.read_text()
    assert "Cycles 7; largest difference from LiteRT 0." in report.with_suffix(".md").read_text()
    (tmp_path / "r.yaml").write_text(RECIPE.replace("target: board", "target: board, batch: 2"))
    code, error = tfopt("validate", "--quick", "r.yaml")
    assert code == 2
    assert "target board runs one sample at a time. Leave batch out." in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ({"targets": "board_for_tfopt:BORAD"}, ("does not load", "AttributeError", "remove it.")),
        ({"stages": "nothing_of_the_kind:Negate"}, ("does not load", "No module named", "remove it.")),
        ({"targets": "board_for_tfopt:Negate"}, ("is no Target. Received:",)),
        ({"targets": "board_for_tfopt:LITERT"}, ("with the name 'litert', which is taken.",)),
    ],
    ids=["no such name", "no such module", "another kind of thing", "a name that is taken"],
)
def test_an_entry_point_that_is_broken_is_one_line(package, points, words):
    code = f'{PACKAGE}\n\nLITERT = Target("litert", "another one", lambda mode: True)\n'
    code, error = package(code, **points)("schema")
    assert code == 2
    assert len(error.splitlines()) == 1
    for word in ("'mine'", "board-for-tfopt", f"tfopt.{next(iter(points))}", *words):
        assert word in error
