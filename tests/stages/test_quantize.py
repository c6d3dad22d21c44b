"""Stage `quantize` through whole runs on small data, and what it refuses before any of them."""

import json
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import tfopt
from tfopt.errors import ConversionError, GateError, InputError, RecipeError
from tfopt.markdown_text import escaped
from tfopt.quantization import input_range
from tfopt.recipe.details.quantization import ConversionNotes, ConversionWarnings, NoiseRemedy
from tfopt.recipe.progress import Progress
from tfopt.stages.quantize import Quantize
from tfopt.tflite import interpreter
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner

MODEL = '''
import keras
import numpy as np
from keras import layers


def _compiled(*parts):
    model = keras.Sequential([layers.Input((12,), name="x"), *parts])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def _dense(name):
    return layers.Dense(16, activation="relu", bias_initializer="ones", name=name)


def build():
    """Quantizes well."""
    keras.utils.set_random_seed(2)
    return _compiled(_dense("first"), _dense("second"), layers.Dense(6, bias_initializer="normal", name="head"))


def fragile():
    """What `decide` decides by is lost beside a unit of `spread` that reaches thousands and counts for nothing."""
    keras.utils.set_random_seed(2)
    model = _compiled(_dense("first"), _dense("spread"), _dense("decide"), layers.Dense(6, name="head"))
    spread, decide = model.get_layer("spread"), model.get_layer("decide")
    kernel, bias = spread.get_weights()
    kernel[:, 0], bias[0] = kernel[:, 0] * 300, 1500
    spread.set_weights([kernel, bias])
    kernel, bias = decide.get_weights()
    kernel[0] = 0
    decide.set_weights([kernel, bias])
    return model


def noisy():
    """The logarithm of squares, whose small values are all of what it tells."""
    keras.utils.set_random_seed(2)
    x = layers.Input((12,), name="x")
    model = keras.Model(x, layers.Dense(6, name="head")(keras.ops.log(x * x + 1e-5)))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model
'''

DATA = '''
import numpy as np

import model


def _labelled(build):
    """Samples that the model itself has labelled, so that its accuracy is 1."""
    x = np.random.default_rng(0).normal(size=(360, 12)).astype(np.float32)
    y = build().predict(x, verbose=0).argmax(-1)
    parts = {"train": slice(0, 120), "validation": slice(120, 240), "test": slice(240, 360)}
    return {name: (x[part], y[part]) for name, part in parts.items()}


def load():
    return _labelled(model.build)


def fragile():
    return _labelled(model.fragile)


def noisy():
    return _labelled(model.noisy)
'''


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A folder with a model and data, as the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("model", "data"):  # of another test's project
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "data.py").write_text(DATA)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def recipe(*stages, **fields):
    """Writes r.yaml and returns its path."""
    lines = [f"{k}: {v}" for k, v in {"name": "r", "model": "model.py:build", "data": "data.py:load", **fields}.items()]
    Path("r.yaml").write_text("\n".join([*lines, "stages:", *(f"  - {stage}" for stage in stages), ""]))
    return "r.yaml"


def fragile(*stages):
    return recipe(*stages, model="model.py:fragile", data="data.py:fragile")


def noisy(*stages):
    return recipe(*stages, model="model.py:noisy", data="data.py:noisy")


def refused(path):
    with pytest.raises(InputError) as caught:
        tfopt.run(path)
    assert not Path("saved_models").is_dir() or not any(Path("saved_models").iterdir())
    return str(caught.value)


def dtypes(artifact):
    return {row["layer"]: row["dtype"] for row in artifact.details["audit"]["rows"]}


# Noise


def test_a_noisy_file_is_refused_with_the_rules_that_mend_it(one_line):
    with pytest.raises(ConversionError, match="has to exceed 10") as caught:
        tfopt.run(noisy("quantize: {mode: int8}"))
    assert re.search(r"Most is lost in add\w*, multiply\w*: rules: .* would give", one_line(caught))
    # Names of operations count on with every model that this process builds; their classes do not.
    final = tfopt.run(noisy("quantize: {mode: int8, rules: [{layers: [Add, Multiply], to: float}]}")).final
    assert final.metrics["calibration_snr_db"] > 20
    assert final.details.of(ConversionWarnings) is None


def test_with_the_users_word_a_noisy_file_is_there_with_a_warning():
    result = tfopt.run(noisy("quantize: {mode: int8, least_snr_db: -100}"))
    [warning] = result.final.details.of(ConversionWarnings).warnings
    assert f"SNR {result.metrics['calibration_snr_db']:.1f} dB" in warning
    assert f"**WARNING** quantize: {escaped(warning)}" in (result.folder / "report.md").read_text()


@pytest.mark.parametrize(
    "stages",
    [
        ("quantize: {mode: int8}", "verify: {max_drop: 0.99}"),
        ("quantize: {mode: int8, max_drop: 0.99}",),
        (
            "quantize: {mode: int8, name: a}",
            "quantize: {mode: dynamic, after: source}",
            "verify: {max_drop: 0.99, after: a}",
        ),
    ],
)
def test_where_a_metric_judges_the_file_a_poor_ratio_is_a_warning_with_what_mends_it(stages):
    result = tfopt.run(noisy(*stages))
    made = next(artifact for artifact in result.artifacts.values() if artifact.kind == "quantize")
    assert made.metrics["calibration_snr_db"] < 10
    if "max_drop" in stages[0]:  # its own search has measured the metric
        assert any("the metric decides" in note for note in made.details.of(ConversionNotes).notes)
        assert made.warnings == ()
        return
    [warning] = made.warnings
    assert f"SNR {made.metrics['calibration_snr_db']:.1f} dB" in warning
    remedy = made.details.of(NoiseRemedy)
    assert f"would give {remedy.snr_db:.1f} dB" in warning
    assert "mode: int8" in remedy.settings
    assert all(entry in warning for entry in remedy.settings if entry.startswith("rules"))


@pytest.mark.parametrize(
    "stages",
    [
        ("quantize: {mode: int8}", "verify: {}"),
        (
            "quantize: {mode: dynamic, name: a}",
            "quantize: {mode: int8, after: source}",
            "verify: {max_drop: 0.99, after: a}",
        ),
    ],
)
def test_a_stage_that_only_measures_or_judges_another_file_does_not_excuse_it(stages):
    with pytest.raises(ConversionError, match="has to exceed 10"):
        tfopt.run(noisy(*stages))


def test_a_noisy_file_does_not_outlive_the_gate_that_excused_it():
    tfopt.run(noisy("quantize: {mode: int8}", "verify: {max_drop: 0.99}"))
    with pytest.raises(ConversionError, match="has to exceed 10"):
        tfopt.run(noisy("quantize: {mode: int8}"))


def test_the_check_before_a_training_asks_for_no_ratio():
    tfopt.validate(noisy("train: {epochs: 1}", "quantize: {mode: int8, least_snr_db: 60}"))


# Files


@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic", "weight_only", "int8", "int16x8", "int4"])
@pytest.mark.sample(3)
def test_every_mode_makes_a_file_that_runs(mode):
    final = tfopt.run(recipe(f"quantize: {{mode: {mode}}}")).final
    assert (final.format, final.path.name) == ("tflite", "model.tflite")
    assert final.metrics["raw_bytes"] == final.path.stat().st_size
    assert len(final.details["audit"]["rows"]) == 3
    assert "steps" not in final.details
    [output] = Runner(final.path)(np.zeros((2, 12), np.float32)).values()
    assert output.shape == (2, 6)


def test_a_rule_gives_its_layers_a_precision_and_what_is_left_in_float_is_told():
    rules = "[{layers: [first, head], to: int4}, {layers: head, to: float}]"
    final = tfopt.run(recipe(f"quantize: {{mode: int8, rules: {rules}}}")).final
    assert dtypes(final) == {"first": "int4", "second": "int8", "head": "float32"}
    [left] = final.skipped
    assert "head" in left.where


def test_settings_of_the_conversion_reach_the_file():
    tfopt.run(recipe("quantize: {mode: int8, io: float32, batch: 4, slim: false}"))
    summary = read(Path("saved_models/r/quantize/model.tflite"))
    assert list(summary.inputs.values()) == [("FLOAT32", (4, 12))]
    assert any(tensor.name for tensor in summary.tensors)


def test_microcontrollers_tell_their_arena():
    pytest.importorskip("tflite_micro")
    metrics = tfopt.run(recipe("quantize: {mode: int8, target: tflm}")).metrics
    assert metrics["arena_bytes"] > 0
    assert metrics["arena_bytes"] % 16 == 0
    assert 0 <= metrics["tflm_max_error"] < 0.1
    assert "arena_bytes" not in tfopt.run(recipe("quantize: {mode: int8}")).metrics


# The contract


class Told(Progress):
    def __init__(self):
        self.steps, self.parts = [], []

    def step(self, text):
        self.steps.append(text)

    def part(self, done):
        self.parts.append(done)


def test_a_contract_that_is_kept_tells_its_steps():
    told = Told()
    final = tfopt.run(fragile("quantize: {mode: int8, max_drop: 0.05}"), progress=told).final
    steps = final.details["steps"]
    whats = [step["what"] for step in steps]
    assert whats[:4] == ["as asked", "bias correction", "rounding: descent", "ranges: percentile"]
    assert whats[4] == "1 worst layer in float: spread"
    assert all(step["seconds"] > 0 for step in steps)
    assert [step["met"] for step in steps] == [*[False] * (len(steps) - 1), True]
    assert final.failed is None
    assert {name for name, dtype in dtypes(final).items() if dtype == "float32"} == {"spread", "decide"}
    assert len(told.steps) == len(steps)
    assert told.parts[-1] == 1


def test_the_drop_is_measured_on_the_validation_split_against_the_model_it_is_made_from():
    final = tfopt.run(fragile("quantize: {mode: int8, max_drop: 0.05}")).final
    sys.path.insert(0, ".")
    import data  # the project's own

    sys.path.pop(0)
    x, y = data.fragile()["validation"]
    [output] = Runner(final.path)(x).values()
    accuracy = float((output.argmax(-1) == y).mean())
    step = final.details["steps"][-1]
    assert step["score"] == pytest.approx(accuracy)
    assert step["drop"] == pytest.approx(1 - accuracy)


def test_a_contract_that_cannot_be_kept_ends_with_the_best_file_and_exit_code_3(monkeypatch):
    """A metric of nothing but wrong answers for whatever runs on LiteRT."""
    call = Runner.__call__

    def turned(self, x):
        return {name: -value if len(value) == 120 else value for name, value in call(self, x).items()}

    monkeypatch.setattr(interpreter.Runner, "__call__", turned)
    with pytest.raises(GateError) as caught:
        tfopt.run(recipe("quantize: {mode: int8, max_drop: 0.05}"))
    assert caught.value.exit_code == 3
    final = tfopt.Result(caught.value.artifacts, (), caught.value.folder).final
    steps = final.details["steps"]
    assert final.path.is_file()
    assert final.path.stat().st_size in [step["bytes"] for step in steps]
    assert final.failed in str(caught.value)
    assert f"of {len(steps)} that were tried" in final.failed
    assert f"{min(step['drop'] for step in steps):.4f}" in final.failed
    assert not any(step["met"] for step in steps)
    assert "Allow more, or take another mode." in final.failed
    assert len(final.failed.splitlines()) == 1
    kept = json.loads(Path("saved_models/r/quantize/artifact.json").read_text())
    assert kept["failed"] == final.failed
    assert [step["what"] for step in kept["details"]["steps"]] == [step["what"] for step in steps]


def test_integers_chosen_together_are_a_setting_and_a_note():
    plain, chosen = (
        tfopt.run(recipe(f"quantize: {{mode: int4{more}, least_snr_db: 0}}")).final
        for more in ("", ", rounding: auto, clipping: mse")
    )
    assert any(note.startswith("rounding: ") and "held-out samples" in note for note in chosen.details["notes"])
    assert chosen.metrics["calibration_snr_db"] > plain.metrics["calibration_snr_db"]
    assert not any("rounding" in note for note in plain.details["notes"])


def test_the_smallest_file_is_smaller_than_the_one_as_asked():
    final = tfopt.run(recipe("quantize: {mode: int8, max_drop: 0.1, goal: smallest}")).final
    steps = final.details["steps"]
    assert final.failed is None
    assert "int4" in dtypes(final).values()
    assert final.path.stat().st_size == min(step["bytes"] for step in steps if step["met"]) < steps[0]["bytes"]


# What a result depends on


SAME = [
    ({"mode": "float16"}, {"mode": "float16", "samples": 7}),
    ({"mode": "dynamic"}, {"mode": "dynamic", "unroll": False}),
    ({"mode": "int8"}, {"mode": "int8", "name": "other", "after": "train"}),
    ({"mode": "int8"}, {}),
]
DIFFERENT = [
    ({"samples": 7}, {}),
    ({"max_drop": 0.01}, {}),
    ({"max_drop": 0.01, "goal": "smallest"}, {"max_drop": 0.01}),
    ({"io": "float32"}, {}),
    ({"ranges": "percentile"}, {}),
    ({"mode": "float16", "batch": 2}, {"mode": "float16"}),
    ({"mode": "dynamic", "rules": [{"layers": "a", "to": "int4"}]}, {"mode": "dynamic"}),
    ({"target": "tflm"}, {}),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=str)
def test_settings_are_the_same_where_only_what_the_mode_ignores_differs(one, other):
    assert Quantize(**one).settings() == Quantize(**other).settings()


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=str)
def test_settings_differ_where_the_file_would(one, other):
    assert Quantize(**one).settings() != Quantize(**other).settings()


def test_what_the_mode_ignores_changes_no_key():
    tfopt.run(recipe("quantize: {mode: dynamic}"))
    assert tfopt.run(recipe("quantize: {mode: dynamic, samples: 9, unroll: false}")).reused == ("quantize",)
    assert tfopt.run(recipe("quantize: {mode: dynamic, slim: false}")).reused == ()


# Refusals


def test_a_rule_that_matches_nothing_is_told_with_its_line():
    rules = "\n        - {layers: head, to: int4}\n        - {layers: tail, to: float}"
    text = refused(recipe(f"quantize:\n      mode: int8\n      rules:{rules}"))
    assert text.startswith("r.yaml:9:")
    assert "'tail'" in text
    assert len(text.splitlines()) == 1


def test_a_rule_that_can_change_nothing_is_told_with_its_line():
    text = refused(recipe("train: {epochs: 1}", "quantize: {mode: int8, rules: [{layers: nothing, to: int4}]}"))
    assert text.startswith("r.yaml:6:")


@pytest.mark.parametrize(
    ("settings", "way_out"),
    [
        ("mode: dynamic, max_drop: 0.01", "Leave it out"),
        ("mode: int8, goal: smallest", "Write max_drop: 0.005"),
        ("mode: float16, max_drop: 0.01, goal: smallest", "Leave it out"),
        ("mode: float16, rules: [{layers: a, to: int4}]", "Leave them out"),
        ("mode: dynamic, target: tflm", "Take one of float32, int8, int16x8"),
        ("mode: int8, max_drop: -0.1", "max_drop"),
        ("mode: int8, samples: 0", "samples"),
        ("mode: dynamic, rounding: descent", "Leave them out"),
        ("mode: int4, rounding: up", "rounding"),
        ("mode: int8, goal: fastest", "goal"),
    ],
)
def test_settings_that_do_not_go_together_are_told_with_the_line_of_the_stage(settings, way_out):
    with pytest.raises(RecipeError) as caught:
        tfopt.Recipe.load(recipe("train: {epochs: 1}", f"quantize: {{{settings}}}"))
    text = str(caught.value)
    assert text.startswith("r.yaml:6:")
    assert way_out in text
    assert len(text.splitlines()) == 1


def test_what_the_converter_refuses_is_refused_before_anything_is_trained(monkeypatch):
    Path("model.py").write_text(
        "import keras\nfrom keras import layers\n\n\ndef build():\n"
        "    parts = [layers.Input((12,)), layers.Reshape((3, 2, 2, 1)), layers.Conv3D(2, 2), layers.Flatten()]\n"
        '    model = keras.Sequential([*parts, layers.Dense(6)])\n    model.compile(loss="mse")\n    return model\n'
    )
    np.savez("d.npz", **{f"{k}_{s}": v for s in ("train", "test") for k, v in plain().items()})
    text = refused(recipe("train: {epochs: 1}", "quantize: {mode: int8}", data="npz:d.npz", metrics="[accuracy]"))
    assert text.startswith("r.yaml:")
    assert len(text.splitlines()) == 1


def plain():
    return {"x": np.ones((40, 12), np.float32), "y": np.arange(40) % 6}


def test_a_stage_made_in_python_is_refused_in_the_same_words():
    with pytest.raises((RecipeError, ValidationError), match="needs max_drop"):
        tfopt.Quantize(goal="smallest")


def test_details_fit_the_folder_that_they_are_kept_in():
    final = tfopt.run(recipe("quantize: {mode: int8, max_drop: 0.2}")).final
    kept = json.loads(Path("saved_models/r/quantize/artifact.json").read_text())
    assert kept["details"]["steps"] == final.details["steps"]


RANGES = """
import keras
import numpy as np
import tfopt
from keras import layers


def build():
    norm = layers.BatchNormalization(name="norm")
    stack = [layers.Input((8, 8, 1)), norm, layers.Flatten(), layers.Dense(4, activation="softmax")]
    model = keras.Sequential(stack)
    norm.moving_mean.assign([0.5])
    norm.moving_variance.assign([1 / 12])  # of values of 0 to 1
    return model


def pixels():
    generator = np.random.default_rng(0)
    splits = [(generator.uniform(0, 255, (40, 8, 8, 1)).astype("float32"), np.arange(40) % 4) for _ in range(3)]
    return tfopt.Data(*(tfopt.Split(x, y) for x, y in splits))


def divided_in_training():
    data = pixels()
    divided = [tfopt.Split(split.x / 255, split.y) for split in (data.validation, data.test)]
    return tfopt.Data(data.train, *divided, augment=lambda x, y, seed: (x / 255, y))


def unit():
    return tfopt.Data(*(tfopt.Split(split.x / 255, split.y) for split in pixels().splits().values()))
"""


def of_ranges(data, *stages):
    Path("ranges.py").write_text(RANGES)
    lines = ["name: r", "model: ranges.py:build", f"data: ranges.py:{data}", "loss: sparse_categorical_crossentropy"]
    Path("r.yaml").write_text("\n".join([*lines, "stages:", *(f"  - {stage}" for stage in stages), ""]))
    return "r.yaml"


@pytest.mark.parametrize(
    "stage", ["quantize: {max_drop: 0.99}", "quantize: {max_drop: 0.99, goal: smallest}", "qat: {epochs: 1}"]
)
def test_each_way_to_a_file_says_once_that_calibration_is_of_another_range(stage):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tfopt.TfoptWarning)
        final = tfopt.run(of_ranges("pixels", stage)).final
    assert sum("seem to be scaled in another way" in sentence for sentence in final.warnings) == 1


def test_the_check_before_a_training_does_not_look_at_ranges(monkeypatch):
    def looked(*arguments):
        raise AssertionError("a handful of samples and a model that is not trained show nothing")

    monkeypatch.setattr(input_range, "walk", looked)
    tfopt.validate(of_ranges("pixels", "quantize: {}", "qat: {epochs: 1, after: source}"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("pixels", ["seem to be scaled in another way"]),
        ("divided_in_training", ["seem to be scaled in another way", "the batches of training, after augment, of 0"]),
        ("unit", []),
    ],
)
def test_a_run_says_that_calibration_is_of_another_range(tmp_path, capfd, monkeypatch, data, words):
    from tfopt.cli import main

    of_ranges(data, "quantize: {}")
    monkeypatch.setattr("sys.argv", ["tfopt", "run", "r.yaml"])
    with pytest.raises(SystemExit, match="0"):
        main()
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(told) == len(words)
    assert all(word in line and line.startswith("warning: quantize: ") for word, line in zip(words, told, strict=True))
    assert (tmp_path / "saved_models/r/report.md").read_text().count("**WARNING**") == len(words)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = tfopt.run("r.yaml")
    mine = [str(one.message) for one in caught if one.category is tfopt.TfoptWarning]
    assert mine == [line.removeprefix("warning: ") for line in told]
    assert len(result.artifacts["quantize"].warnings) == len(words)
