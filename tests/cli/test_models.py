"""The commands that work on a model file: convert, sensitivity, inspect."""

import json
import re
import shlex
import shutil

import keras
import numpy as np
import pytest
from keras import layers
from ruamel.yaml import YAML

import tfopt
from tests.report.html_page import check
from tfopt.cli import main, models
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner


def run(monkeypatch, capfd, *arguments):
    """Exit code, standard output and standard error of a command."""
    monkeypatch.setattr("sys.argv", ["tfopt", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    printed = capfd.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run(monkeypatch, capfd, *arguments)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with model.keras, x.npy and labelled.npz, and what is in them."""
    folder = tmp_path_factory.mktemp("made")
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu", name="stem"),
            layers.Conv2D(16, 3, activation="relu", name="body"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax", name="head"),
        ]
    )
    model.save(folder / "model.keras")
    x = np.random.default_rng(0).normal(size=(40, 8, 8, 1)).astype(np.float32)
    np.save(folder / "x.npy", x)
    arrays = {}
    for number, split in enumerate(("train", "validation", "test")):
        images = np.random.default_rng(number).normal(size=(400, 8, 8, 1)).astype(np.float32)
        arrays |= {f"x_{split}": images, f"y_{split}": np.asarray(model(images)).argmax(-1)}
    np.savez(folder / "labelled.npz", **arrays)
    return folder, model, x, arrays


@pytest.fixture
def files(made, tmp_path):
    """model.keras and x.npy, in the working directory; a model of the same weights, and the samples."""
    folder, model, x, _ = made
    for name in ("model.keras", "x.npy"):
        shutil.copy(folder / name, tmp_path)
    return copied(model), x


def trained_on_unit_values(folder):
    """Writes unit.keras, a network with the statistics of values of 0 to 1, and pixels.npy, of 0 to 255."""
    x = np.random.default_rng(0).uniform(0, 255, (16, 8, 8, 1)).astype(np.float32)
    norm = layers.BatchNormalization(name="norm")
    model = keras.Sequential([layers.Input((8, 8, 1)), norm, layers.Flatten(), layers.Dense(4)])
    norm.moving_mean.assign([0.5])
    norm.moving_variance.assign([1 / 12])
    model.save(folder / "unit.keras")
    np.save(folder / "pixels.npy", x)
    np.save(folder / "unit.npy", x / 255)


def copied(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def test_convert_writes_a_file_that_gives_what_keras_gives(command, files, tmp_path):
    model, x = files
    code, out, err = command("convert", "model.keras", "--data", "x.npy")
    assert (code, err) == (0, "")
    [got] = Runner(tmp_path / "model-int8.tflite")(x).values()
    np.testing.assert_allclose(got, model.predict(x, verbose=0), atol=0.02)
    for word in ("stem", "body", "head", "no op in float", "model-int8.tflite"):
        assert word in out


def test_rules_on_the_command_line_reach_their_layers(command, files, tmp_path):
    settings = ["--rule", "*=int4", "--rule", "stem=int8", "--rule", "head=float", "--out", "mixed.tflite"]
    code, out, _ = command("convert", "model.keras", "--data", "x.npy", *settings)
    assert code == 0
    kernels = [t.dtype for op in read(tmp_path / "mixed.tflite").ops for t in op.kernels]
    assert kernels == ["INT8", "INT4", "FLOAT32"]
    assert "a rule keeps it so" in out


def test_integers_are_chosen_together_on_the_command_line(command, files, tmp_path):
    settings = [
        "--mode",
        "int4",
        "--rounding",
        "gptq",
        "--clipping",
        "mse",
        "--rule",
        "head=nearest",
        "--out",
        "r.tflite",
    ]
    code, _, err = command("convert", "model.keras", "--data", "x.npy", *settings)
    assert (code, err) == (0, "")
    model, x = files
    kernels = [t.dtype for op in read(tmp_path / "r.tflite").ops for t in op.kernels]
    assert kernels == ["INT4"] * 3
    [got] = Runner(tmp_path / "r.tflite")(x).values()
    np.testing.assert_allclose(got, model.predict(x, verbose=0), atol=0.05)
    code, _, err = command("convert", "model.keras", "--data", "x.npy", "--rounding", "up", "--out", "u.tflite")
    assert code != 0
    assert "'gptq'" in err


def test_a_noisy_file_is_refused_or_with_the_users_word_shown_with_its_warning(command, tmp_path):
    keras.utils.set_random_seed(1)
    x = layers.Input((16,))
    keras.Model(x, layers.Dense(3)(keras.ops.log(x * x + 1e-4))).save(tmp_path / "log.keras")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32))
    code, out, err = command("convert", "log.keras", "--data", "x.npy")
    assert (code, len(err.splitlines()), list(tmp_path.glob("*.tflite"))) == (1, 1, [])
    assert "has to exceed 10" in err
    least = re.search(r"(--least-snr -?\d+) gives", err)[1].split()
    code, out, err = command("convert", "log.keras", "--data", "x.npy", *least)
    [warning] = err.splitlines()
    assert (code, "noisy" in out) == (0, False)
    assert warning.startswith("warning: the int8 file is noisy: SNR")
    assert "rules: [" not in warning
    options = shlex.split(re.search(r"(--rule .*) would give", warning)[1])
    code, out, err = command("convert", "log.keras", "--data", "x.npy", "--out", "again.tflite", *options)
    assert (code, err) == (0, "")


def test_a_mode_without_calibration_needs_no_data(command, files, tmp_path):
    assert command("convert", "model.keras", "--mode", "dynamic", "-o", "d.tflite")[0] == 0
    assert (tmp_path / "d.tflite").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model.keras"], "give --data"),
        (["model.keras", "--mode", "int9"], "int9"),
        (["nothing.keras", "--data", "x.npy"], "nothing.keras"),
        (["model.keras", "--data", "y.npy"], "y.npy"),
        (["model.keras", "--data", "x.npy", "--rule", "head"], "head=float"),
        (["model.keras", "--data", "x.npy", "--rule", "haed=float"], "Did you mean 'head'"),
        (["model.keras", "--data", "x.npy", "--batch", "few"], "few"),
        (["model.keras", "--data", "x.npy", "--batch", "\u00b2"], "\u00b2"),
        (["model.keras", "--data", "x.npy", "--batch=--5"], "--5"),
        (["model.keras", "--mode", "dynamic", "--target", "tflm"], "does not run mode dynamic"),
        (["model.keras", "--mode", "float16", "--io", "float32"], "io is for modes"),
        (["x.npy", "--data", "x.npy"], "a model is"),
        (["model.keras", "--mode", "dynamic", "--out", "small.keras"], "Name a file such as small.tflite"),
        (["model.keras", "--mode", "dynamic", "--out", "small"], "Name a file such as small.tflite"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(command, files, tmp_path, arguments, words):
    code, out, err = command("convert", *arguments)
    assert code == 2
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("*.tflite*"))


def test_a_file_that_is_there_is_not_written_over_unless_forced(command, files, tmp_path):
    (tmp_path / "model-dynamic.tflite").write_text("mine")
    code, _, err = command("convert", "model.keras", "--mode", "dynamic")
    assert (code, len(err.splitlines())) == (2, 1)
    assert (tmp_path / "model-dynamic.tflite").read_text() == "mine"
    assert command("convert", "model.keras", "--mode", "dynamic", "--force")[0] == 0
    assert (tmp_path / "model-dynamic.tflite").read_bytes()[4:8] == b"TFL3"


def test_sensitivity_ranks_every_layer_with_a_kernel_in_a_table_and_as_json(command, files, tmp_path):
    code, out, err = command("sensitivity", "model.keras", "--data", "x.npy", "--plot", "s.html")
    assert (code, err) == (0, "")
    assert all(name in out for name in ("stem", "body", "head", "int4", "int8", "s.html"))
    code, out, _ = command("sensitivity", "model.keras", "--data", "x.npy", "--json")
    lines = json.loads(out)
    ranked = [line for line in lines if line["bytes_saved"]]
    assert {(line["layer"], line["precision"]) for line in ranked} == {
        (name, precision) for name in ("stem", "body", "head") for precision in ("int8", "int4")
    }
    assert [line["error_per_byte"] for line in ranked] == sorted(line["error_per_byte"] for line in ranked)
    [chart] = check((tmp_path / "s.html").read_text()).find("svg", class_="chart")
    assert {name.find("title")[0].text for name in chart.find("text", class_="name")} == {"stem", "body", "head"}


def test_sensitivity_flags_the_layer_that_spoils_the_model(command, tmp_path):
    keras.utils.set_random_seed(1)
    x = layers.Input((16,))
    keras.Model(x, layers.Dense(3)(keras.ops.log(x * x + 1e-4))).save(tmp_path / "log.keras")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32))
    code, out, _ = command("sensitivity", "log.keras", "--data", "x.npy")
    assert code == 0
    [line] = [line for line in out.splitlines() if "keep them in float: " in line]
    assert "add" in line.partition("float: ")[2]


def test_sensitivity_without_data_says_that_it_guessed(command, files):
    code, out, _ = command("sensitivity", "model.keras")
    assert code == 0
    assert "random inputs" in out


@pytest.fixture
def labelled(made, files, tmp_path):
    """labelled.npz beside model.keras: 400 samples in each split with the classes that the model gives them."""
    folder, _, _, arrays = made
    shutil.copy(folder / "labelled.npz", tmp_path)
    return files[0], arrays


def test_sensitivity_to_pruning_shows_curves_and_a_stage_that_reaches_the_target(command, labelled, tmp_path):
    model, arrays = labelled
    options = ["--prune", "--data", "labelled.npz", "--target", "0.8"]
    code, out, err = command("sensitivity", "model.keras", *options, "--plot", "p.html")
    assert (code, err) == (0, "")
    for word in ("stem", "body", "head", "0.98", "baseline", "1.0000", "suggested", "400 validation samples", "p.html"):
        assert word in out
    root = check((tmp_path / "p.html").read_text())
    assert {line.text for line in root.find("polyline")} == {"stem", "body", "head"}

    lines = [line for line in out[out.index("  - prune:") :].splitlines() if line.startswith("  ")]
    [stage] = YAML(typ="safe").load("\n".join(lines))
    settings = stage["prune"] | {"epochs": 1}
    record = json.loads(command("sensitivity", "model.keras", *options, "--json")[1])
    assert {rule["layers"]: rule["sparsity"] for rule in settings["rules"]} == {
        layer["layer"]: layer["suggested"] for layer in record["layers"]
    }
    model.compile("sgd", "sparse_categorical_crossentropy")
    recipe = tfopt.Recipe(name="r", model=model, data=arrays, stages=[tfopt.Prune(**settings)])
    assert tfopt.run(recipe, tmp_path / "out").metrics["sparsity"] == pytest.approx(0.8, abs=0.002)


def test_sensitivity_to_pruning_as_json_has_the_scores_of_the_pruned_model(command, labelled):
    model, arrays = labelled
    found = json.loads(command("sensitivity", "model.keras", "--prune", "--data", "npz:labelled.npz", "--json")[1])
    assert (found["metric"], found["baseline"], found["target"], found["skipped"]) == ("accuracy", 1.0, 0.9, [])
    by_layer = {layer["layer"]: layer for layer in found["layers"]}
    kernel = model.get_layer("body").kernel
    weights = kernel.numpy()
    for sparsity, score in zip(by_layer["body"]["sparsities"], by_layer["body"]["scores"], strict=True):
        kernel.assign(tfopt.sparsity.magnitude_mask(weights, sparsity) * weights)
        classes = model.predict(arrays["x_validation"], verbose=0).argmax(-1)
        assert score == pytest.approx((classes == arrays["y_validation"]).mean())
    assert by_layer["body"]["scores"][0] > by_layer["body"]["scores"][-1]


def test_sensitivity_to_pruning_takes_samples_metric_and_patterns_as_it_is_told(command, labelled, tmp_path):
    model, arrays = labelled
    one_hot = {k: np.eye(4, dtype=np.float32)[v] if k.startswith("y_") else v for k, v in arrays.items()}
    np.savez(tmp_path / "one_hot.npz", **one_hot)
    options = ["--prune", "--data", "one_hot.npz", "--metric", "mse", "--samples", "50", "--skip", "head"]
    found = json.loads(command("sensitivity", "model.keras", *options, "--json")[1])
    assert found["metric"] == "mse"
    assert [layer["layer"] for layer in found["layers"]] == ["stem", "body"]
    assert found["skipped"] == [{"layer": "head", "reason": "left out by only/skip"}]
    chosen = np.random.default_rng(0).permutation(400)[:50]
    errors = (model.predict(arrays["x_validation"], verbose=0) - one_hot["y_validation"]) ** 2
    assert found["baseline"] == pytest.approx(errors[chosen].mean(), rel=1e-5)
    assert found["baseline"] != pytest.approx(errors.mean(), rel=1e-3)
    out = command("sensitivity", "model.keras", *options)[1]
    assert "skip: [head]" in out
    assert "left  head" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prune"], "give --data"),
        (["--target", "0.5"], "--target goes with --prune"),
        (["--target", "0"], "--target goes with --prune"),
        (["--metric", "mse"], "--metric goes with --prune"),
        (["--only", "head"], "--only goes with --prune"),
        (["--skip", "head"], "--skip goes with --prune"),
        (["--prune", "--data", "x.npy"], "has none"),
        (["--prune", "--data", "inputs.npz"], "no x_train"),
        (["--prune", "--data", "there_is_none.npz"], "there_is_none.npz"),
        (["--prune", "--data", "labelled.npz", "--target", "1"], "between 0 and 1"),
        (["--prune", "--data", "labelled.npz", "--target", "0.99"], "reach an overall sparsity of 0.98"),
        (["--prune", "--data", "labelled.npz", "--metric", "f2"], "there is no metric 'f2'"),
        (["--prune", "--data", "labelled.npz", "--metric", "mse"], "mse cannot be taken"),
        (["--prune", "--data", "labelled.npz", "--only", "haed"], "Did you mean 'head'"),
        (["--prune", "--data", "labelled.npz", "--plot", "nowhere/p.html"], "nowhere"),
    ],
)
def test_a_mistake_about_pruning_is_one_line(command, labelled, tmp_path, arguments, words):
    np.savez(tmp_path / "inputs.npz", x=np.zeros((4, 8, 8, 1), np.float32))
    code, out, err = command("sensitivity", "model.keras", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_pruning_of_a_model_of_quantities_is_not_scored_as_one_of_two_classes(command, labelled, tmp_path):
    x = layers.Input((8, 8, 1))
    model = keras.Model(x, layers.Dense(1, name="age")(layers.Dense(4)(layers.Flatten()(x))))
    model.save(tmp_path / "ages.keras")
    arrays = dict(np.load(tmp_path / "labelled.npz"))
    ages = {name: np.arange(len(a)) % 90 if name.startswith("y") else a for name, a in arrays.items()}
    np.savez(tmp_path / "ages.npz", **ages)
    code, out, err = command("sensitivity", "ages.keras", "--prune", "--data", "ages.npz")
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert "accuracy needs class labels" in line
    assert line.endswith("Name another with --metric, such as --metric mae.")
    assert command("sensitivity", "ages.keras", "--prune", "--data", "ages.npz", "--metric", "mae")[0] == 0


def test_pruning_by_labels_without_names_of_several_outputs_is_one_line(command, labelled, tmp_path):
    x = layers.Input((8, 8, 1))
    features = layers.Dense(4, name="features")(layers.Flatten()(x))
    keras.Model(x, [features, layers.Dense(4, name="head")(features)]).save(tmp_path / "two.keras")
    code, out, err = command("sensitivity", "two.keras", "--prune", "--data", "labelled.npz")
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert "outputs features, head: give y_test as a dict by these names" in line


def test_inspect_says_what_is_float_among_integers(command, files):
    command("convert", "model.keras", "--data", "x.npy", "--rule", "head=float", "-o", "f.tflite")
    code, out, _ = command("inspect", "f.tflite")
    assert code == 0
    assert "in float among integers: FULLY_CONNECTED, SOFTMAX" in out


def test_a_saved_model_of_keras_2_is_inspected_and_converted(command, tmp_path):
    import tf_keras

    old = tf_keras.Sequential([tf_keras.layers.Input((4,)), tf_keras.layers.Dense(3, name="old")])
    old.save(tmp_path / "folder", save_format="tf")
    code, out, err = command("inspect", "folder")
    assert (code, err) == (0, "")
    assert "15 parameters" in out
    x = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    np.savez(tmp_path / "inputs.npz", **{old.input_names[0]: x})
    assert command("convert", "folder", "--data", "inputs.npz", "-o", "old.tflite")[0] == 0
    [got] = Runner(tmp_path / "old.tflite")(x).values()
    np.testing.assert_allclose(got, old.predict(x, verbose=0), atol=0.1)


def test_inspect_names_loops_and_foreign_ops(command, tmp_path):
    import tensorflow as tf

    model = keras.Sequential([layers.Input((5, 3)), layers.LSTM(4)])
    model.save(tmp_path / "lstm.keras")
    assert command("convert", "lstm.keras", "--mode", "float32", "--recurrent", "loop", "-o", "loop.tflite")[0] == 0
    assert "loops and branches: WHILE" in command("inspect", "loop.tflite")[1]

    spec = tf.TensorSpec((1, 4, 4, 4, 1), tf.float32)
    function = tf.function(lambda x: tf.nn.max_pool3d(x, 2, 2, "VALID")).get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    (tmp_path / "flex.tflite").write_bytes(converter.convert())
    assert "they need TensorFlow in the app: FlexMaxPool3D" in command("inspect", "flex.tflite")[1]


def test_inspect_of_a_runs_file_shows_the_layers_and_of_another_slim_file_says_why_not(command, files, tmp_path):
    model, x = files
    model.compile(loss="sparse_categorical_crossentropy")
    y = np.zeros(len(x), np.int32)
    recipe = tfopt.Recipe(name="r", model=model, data=((x, y), (x, y)), stages=[tfopt.Quantize(mode="int8")])
    path = tfopt.run(recipe, tmp_path / "out").path
    code, out, _ = command("inspect", path)
    assert code == 0
    assert "stem" in out
    assert "zeros in kernels" in out
    assert next(line for line in out.splitlines() if "kind" in line).split()[1] == "kind", "there are no names to show"
    (tmp_path / "alone.tflite").write_bytes(path.read_bytes())
    out = command("inspect", "alone.tflite")[1]
    assert "stem" not in out
    assert "--no-slim" in out


def test_convert_warns_of_samples_of_another_range_on_the_error_stream(command, tmp_path):
    trained_on_unit_values(tmp_path)
    code, out, err = command("convert", "unit.keras", "--data", "pixels.npy")
    assert code == 0
    [line] = err.splitlines()
    assert line.startswith("warning: the calibration samples seem to be scaled in another way")
    assert "warning" not in out
    code, _, err = command("convert", "unit.keras", "--data", "unit.npy", "--force")
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    "options", [("convert", "--mode", "float32"), ("convert", "--data", "x.npy"), ("sensitivity",)]
)
def test_a_model_of_words_is_one_line(command, tmp_path, options):
    inputs = layers.Input((1,), dtype="string")
    words = layers.Embedding(5, 3)(layers.StringLookup(vocabulary=["a", "b"], name="look")(inputs))
    keras.Model(inputs, layers.Dense(2)(layers.Flatten()(words))).save(tmp_path / "words.keras")
    np.save(tmp_path / "x.npy", np.array([["a"], ["b"]]))
    code, _, err = command(options[0], "words.keras", *options[1:])
    assert code == 2
    assert err.startswith("the layer 'look' (StringLookup) takes text")
    assert len(err.splitlines()) == 1
    assert command("inspect", "words.keras")[0] == 0


def test_data_show_how_long_the_inputs_of_a_keras_2_model_are(command, tmp_path):
    import tf_keras

    inputs = tf_keras.layers.Input((None, 4))
    hidden = tf_keras.layers.Cropping1D(200)(tf_keras.layers.Conv1D(4, 1)(inputs))
    tf_keras.Model(inputs, tf_keras.layers.Conv1D(3, 1)(hidden)).save(tmp_path / "long.h5")
    for name, steps in (("long", 450), ("short", 300)):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).random((4, steps, 4), np.float32))
    assert command("convert", "long.h5", "--mode", "float32", "--data", "long.npy", "--out", "l.tflite")[0] == 0
    assert command("sensitivity", "long.h5", "--data", "long.npy")[0] == 0
    code, _, err = command("convert", "long.h5", "--mode", "float32", "--data", "short.npy", "--out", "s.tflite")
    assert (code, len(err.splitlines())) == (2, 1)


def test_convert_and_inspect_say_how_to_feed_the_file_and_print_the_code(command, made):
    folder, _, _, _ = made
    code, out, err = command("convert", folder / "model.keras", "--data", folder / "x.npy", "-o", "my m.tflite")
    assert code == 0, err
    fed = [line for line in out.splitlines() if re.match(r"(in|out|code) ", line)]
    assert len(fed) == 3
    assert re.match(r"in   \w+: int8 1x8x8x1: round\(x / [\d.]+\) [-+] \d+, clipped to -128\.\.127; x from ", fed[0])
    assert "the class, 0 to 3, is the place of the largest number" in fed[1]
    assert fed[2] == "code tfopt inspect 'my m.tflite' --snippet python; or c++, kotlin, tflm"
    code, out, err = command("inspect", "my m.tflite")
    assert code == 0, err
    assert [line for line in out.splitlines() if re.match(r"(in|out|code) ", line)] == fed
    first_lines = {"python": '"""Runs my m.tflite', "c++": "// Runs", "kotlin": "// Runs", "tflm": "//"}
    for language, first in first_lines.items():
        code, out, err = command("inspect", "my m.tflite", "--snippet", language)
        assert (code, err) == (0, "")
        assert out.startswith(first)
        assert out == tfopt.snippet("my m.tflite", language)


def test_a_snippet_that_cannot_be_is_one_line(command, made):
    folder, _, _, _ = made
    for arguments, words in (
        ((folder / "model.keras", "--snippet", "python"), "convert the model first. Received: "),
        (("m.tflite", "--snippet", "rust"), "there is no snippet in 'rust'."),
    ):
        code, out, err = command("inspect", *arguments)
        assert (code, out) == (2, "")
        assert words in err
        assert err.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_computed(command, files, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(models.os, "access", lambda path, mode: path.name != "disk")
    code, out, err = command("convert", "model.keras", "--mode", "dynamic", "--out", "disk/m.tflite")
    assert (code, out) == (1, "")
    assert err == "disk/m.tflite cannot be written: its folder is read-only. Name a file in another folder.\n"
    assert not list((tmp_path / "disk").iterdir())
