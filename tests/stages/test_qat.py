"""Stage `qat`, and `quantize` that calls on it: what is kept of the stages before, through to the file."""

import json

import keras
import numpy as np
import pytest

import tfopt
from tfopt.data.sources import load as load_source
from tfopt.errors import ModelError, RecipeError
from tfopt.quantization.accuracy_search import AccuracySearch
from tfopt.quantization.rounding.grids import kernel_grids
from tfopt.tflite.file import read

MODEL = """
from pathlib import Path

import keras
from keras import layers


def build():
    return keras.Sequential([
        layers.Input((8, 8, 1)), layers.Conv2D(8, 3, name="conv", use_bias=False),
        layers.BatchNormalization(name="norm"), layers.ReLU(6, name="relu"), layers.Flatten(name="flat"),
        layers.Dense(32, activation="relu", name="hidden"), layers.Dense(10, activation="softmax", name="head"),
    ])


def adapted():
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, "softmax", name="head")])
    model.get_layer("head").enable_lora(2)
    return model


def held():
    return keras.models.load_model(Path(__file__).with_name("held.keras"))
"""
KERNELS = ("conv", "hidden", "head")


def run(path):
    return tfopt.run(path, out=path.parent / "out")


def kernels_of(artifact):
    """Bits, zeros and distinct values of the kernels of a file, by the number of their weights."""
    tensors = [t for t in read(artifact.path).tensors if t.parameter and len(t.shape) > 1]
    return {t.size: (t.dtype, t.zeros, t.distinct) for t in tensors}


def assert_held(before, qat):
    """In the file and in the trained model the kernels of `before` have their zeros and as many values as they had."""
    found = kernels_of(qat)
    for name, kind in zip(KERNELS, ("INT8", "INT8", "INT4"), strict=True):
        kernel = np.asarray(before.get_layer(name).kernel)
        dtype, zeros, distinct = found[kernel.size]
        assert dtype == kind
        assert zeros >= (kernel == 0).sum() > 0.7 * kernel.size
        # A batch normalization with negative scales turns the signs of its channels' weights around.
        assert distinct <= (len(np.unique(np.abs(kernel))) * 2 if name == "conv" else len(np.unique(kernel)))
    trained = keras.models.load_model(qat.folder / "trained.keras")
    for name in KERNELS:
        old, new = (np.asarray(m.get_layer(name).kernel) for m in (before, trained))
        np.testing.assert_array_equal(old == 0, new == 0)
        assert len(np.unique(old)) == len(np.unique(new))
        assert not np.array_equal(old, new)
    assert qat.metrics["simulation_agreement"] >= 0.99
    assert [entry["where"] for entry in json.loads((qat.folder / "artifact.json").read_text())["skipped"]] == []


@pytest.fixture
def sparse(tmp_path):
    """The model, trained with a quarter of its weights, rounded to a few values: what `held` of MODEL loads."""
    namespace = {}
    exec(MODEL, namespace)
    model, data = namespace["build"](), load_source("digits").train
    kernels = [model.get_layer(name).kernel for name in KERNELS]
    for kernel in kernels:
        mask = np.random.default_rng(0).permutation(kernel.numpy().size).reshape(kernel.shape) % 4 == 0
        kernel.assign(kernel * mask)
        kernel.constraint = lambda weights, mask=mask: weights * mask
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(data.x, data.y, epochs=6, verbose=0)
    for kernel in kernels:
        kernel.constraint = None
        step = np.abs(kernel.numpy()).max() / 5
        kernel.assign(np.round(kernel.numpy() / step) * step)
    model.save(tmp_path / "held.keras")
    return model


def test_what_is_zero_and_shared_is_so_in_the_file_and_a_teacher_goes_with_it(recipe, sparse):
    asked = "epochs: 1, ranges: learned, distill: {}, optimizer: {adam: {learning_rate: 0.001}}"
    rules = "rules: [{layers: head, to: int4}]"
    path = recipe(f"qat: {{{asked}, {rules}}}", "verify: {max_drop: 0.02}", build="held")
    qat = run(path).artifacts["qat"]
    assert_held(sparse, qat)
    assert_taught(path, qat)


@pytest.mark.slow
def test_what_was_pruned_and_shared_is_so_in_the_file(recipe):
    path = recipe(
        "train: {epochs: 3}",
        "prune: {sparsity: 0.8, epochs: 2}",
        "cluster: {clusters: 8, epochs: 1}",
        "qat: {epochs: 2, ranges: learned, rules: [{layers: head, to: int4}]}",
        "verify: {max_drop: 0.05}",
    )
    made = run(path).artifacts
    assert_held(keras.models.load_model(made["cluster"].path), made["qat"])


def assert_taught(path, qat):
    """The loss of the student stayed small, and the report says how close the file is to it."""
    assert max(qat.details["history"]["loss"]) < 1
    assert qat.metrics["simulation_agreement"] >= 0.99
    assert "differ by at most" in next((path.parent / "out").rglob("report.md")).read_text()


@pytest.mark.slow
def test_a_teacher_and_a_softmax_on_the_grid_go_together(recipe):
    """A probability that rounds to 0 would have a logarithm that tells the student nothing, sixteen times over."""
    asked = "optimizer: {adam: {learning_rate: 0.001}}, ranges: learned, mode: int4"
    path = recipe("train: {epochs: 3}", f"qat: {{epochs: 2, {asked}, distill: {{}}}}", "verify: {max_drop: 0.02}")
    assert_taught(path, run(path).artifacts["qat"])


@pytest.mark.slow
def test_where_nothing_else_keeps_the_metric_quantize_trains(recipe, monkeypatch):
    """int4 with one scale to a kernel, and integers alone: rounding the trained weights loses more than allowed.

    Integers chosen together would keep the metric of this net, so that nothing had to be trained.
    """
    monkeypatch.setattr(AccuracySearch, "_roundings", lambda search, start: False)
    asked = "mode: int4, scales: tensor, target: int_only, max_drop: 0.005"
    rules = "rules: [{layers: [conv, hidden, head], to: int4}]"
    training = "qat: {epochs: 6, optimizer: {adam: {learning_rate: 0.001}}}"
    path = recipe("train: {epochs: 8}", f"quantize: {{{asked}, {rules}, {training}}}")
    [*_, (_, made)] = run(path).artifacts.items()
    steps = made.details["steps"]
    assert not any(step["met"] for step in steps[:-1])
    assert steps[-1]["what"] == "trained for 6 epochs to be the file"
    assert steps[-1]["met"]
    assert {dtype for dtype, _, _ in kernels_of(made).values()} == {"INT4"}


def test_a_training_that_hardly_moves_has_the_integers_that_it_started_from(recipe):
    step = "batch_size: full, optimizer: {sgd: {learning_rate: 1.0e-9}}"
    asked = "mode: int4, rounding: descent, samples: 64, slim: false"
    path = recipe("train: {epochs: 1}", f"quantize: {{{asked}}}", f"qat: {{after: train, epochs: 1, {step}, {asked}}}")
    made = run(path).artifacts
    rounded, trained = (kernel_grids(made[name].path.read_bytes()) for name in ("quantize", "qat"))
    assert len(rounded) == len(KERNELS)
    for name, grid in rounded.items():
        assert np.array_equal(grid.integers, trained[name].integers)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("qat: {epochs: 1, mode: float16}", "qat is for modes that compute in integers: int8, int16x8, int4"),
        ("qat: {epochs: 1, optimizer: newton_cg}", "NewtonCG takes gradients in a way that rounded values do not have"),
        ("qat: {epochs: 1, rules: [{layers: haed, to: int4}]}", "Did you mean 'head'"),
        ("quantize: {qat: auto}", "qat needs max_drop"),
        ("qat: {epochs: 1, rules: [{layers: haed, rounding: gptq}]}", "Did you mean 'head'"),
        ("quantize: {max_drop: 0.1, qat: {epochs: 0}}", "epochs"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(recipe, stage, message):
    path = recipe(stage)
    with pytest.raises(tfopt.InputError) as caught:
        tfopt.validate(path)
    [line] = str(caught.value).splitlines()
    assert message in line
    assert "r.yaml:6" in line


def test_the_word_for_ranges_is_that_of_training(recipe):
    with pytest.raises(RecipeError, match="moving_average"):
        tfopt.validate(recipe("qat: {epochs: 1, ranges: minmax}"))


TWO = """
import keras
from keras import layers


def build():
    x = inputs = layers.Input((8, 8, 1))
    x = layers.Flatten()(x)
    return keras.Model(inputs, {name: layers.Dense(10, "softmax", name=name)(x) for name in ("first", "second")})
"""
TWO_DATA = """
import numpy as np


def load():
    x = np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype("float32")
    y = {"first": np.arange(64) % 10, "second": np.arange(64) % 10}
    return {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
"""


def test_several_outputs_have_no_teacher(tmp_path):
    (tmp_path / "two.py").write_text(TWO)
    (tmp_path / "data.py").write_text(TWO_DATA)
    stages = {"auto": "quantize: {max_drop: 0.1, qat: auto}", "asked": "qat: {epochs: 1, distill: {}}"}
    loss = "sparse_categorical_crossentropy"
    for name, stage in stages.items():
        losses = f"loss: {{first: {loss}, second: {loss}}}"
        text = f"name: {name}\nmodel: two.py:build\ndata: data.py:load\n{losses}\nstages:\n  - {stage}\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    tfopt.validate(tmp_path / "auto.yaml")
    with pytest.raises(ModelError, match="several outputs cannot be distilled"):
        tfopt.validate(tmp_path / "asked.yaml")


def test_a_kernel_that_training_does_not_round_is_in_the_report_of_the_stage_and_no_warning_beside_it(recipe, recwarn):
    result = run(recipe("qat: {epochs: 1, batch_size: full, samples: 16}", build="adapted"))
    [left] = [one for one in result.artifacts["qat"].skipped if one.where == "head"]
    assert left.reason.startswith("training does not round its kernel")
    assert left.reason in (result.folder / "report.md").read_text()
    assert not [one for one in recwarn if "leaves head alone" in str(one.message)]
