"""What every quantization mode keeps to, and that a new one is one new file."""

import dataclasses
import importlib
from typing import get_args

import pytest

from tests.quantization import zoo
from tfopt.quantization import convert, modes
from tfopt.quantization.conversion import finish
from tfopt.quantization.preparation import prepare
from tfopt.recipe import modes as recipe_modes
from tfopt.recipe import target
from tfopt.recipe.export import Export
from tfopt.recipe.modes import MODES, Io, Precision
from tfopt.recipe.target import TARGETS
from tfopt.tflite.file import read

NETS = ("conv2d", "dense")


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


@pytest.fixture(scope="module", params=[NETS[0], *(pytest.param(net, marks=pytest.mark.slow) for net in NETS[1:])])
def prepared(request):
    """One float conversion of a net, as for the mode that takes most."""
    model, samples = zoo.build(request.param)
    return prepare(model, Export(mode="int8"), samples)


def tolerance(mode):
    """The largest error against Keras, as a share of the largest output."""
    return 0.2 if mode.weights == "int4" else 0.04


def kernel_types(content):
    return {t.dtype.lower() for t in read(content).tensors if t.parameter and len(t.shape) > 1}


def test_a_mode_is_alone_in_the_file_of_its_name(mode):
    module = importlib.import_module(f"tfopt.quantization.modes.{mode.name}")
    assert MODES.entries_of(module) == [mode]


def test_a_mode_says_what_it_is_in_words_that_there_are(mode):
    assert mode.about
    assert not mode.about.endswith(".")
    assert set(mode.rules) <= set(get_args(Precision))
    assert mode.io is None or mode.io in get_args(Io)
    assert bool(mode.rules) == mode.weights.startswith("int")
    assert mode.precision in mode.rules or not mode.static


def test_a_mode_cannot_be_changed(mode):
    with pytest.raises(dataclasses.FrozenInstanceError):
        mode.weights = "int2"


def test_the_file_of_a_mode_is_near_keras(mode, prepared):
    asked = dataclasses.replace(prepared, export=Export(mode=mode.name))
    made = finish(asked, asked.quantized())
    assert zoo.error(made.content, asked.model, asked.samples) < tolerance(mode)
    assert kernel_types(made.content) == {mode.weights}
    ends = {dtype.lower() for dtype, _ in read(made.content).inputs.values()}
    assert ends == {mode.io or "float32"}


def test_a_new_mode_is_one_new_file(tmp_path, monkeypatch):
    (tmp_path / "dynamic_int4.py").write_text(
        "from tfopt.recipe.modes import Mode\n"
        'MODE = Mode("dynamic_int4", "4 bits", weights="int4", rules=("int8", "int4", "float"))\n'
    )
    monkeypatch.setattr(modes, "__path__", [*modes.__path__, str(tmp_path)])
    monkeypatch.setattr(MODES, "_found", None)
    model, samples = zoo.build("conv2d")
    content = convert(model, "dynamic_int4")
    assert kernel_types(content) == {"int4"}
    assert zoo.error(content, model, samples) < 0.2
    assert "dynamic_int4" in TARGETS["litert"].modes
    assert "dynamic_int4" not in TARGETS["int_only"].modes
    assert "dynamic_int4" in Export.model_json_schema()["properties"]["mode"]["enum"]


@pytest.mark.parametrize(
    ("place", "name"),
    [(recipe_modes, "MODES"), (recipe_modes, "RANGES"), (recipe_modes, "TRAINED_RANGES"), (target, "TARGETS")],
)
def test_what_a_conversion_can_be_asked_for_is_known_without_a_framework(place, name, listed_afresh):
    names, heavy = listed_afresh[place.__name__, name]
    assert names == list(getattr(place, name))
    assert heavy == []
