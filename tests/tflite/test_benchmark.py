import gzip
import json
import sys

import keras
import numpy as np
import pytest
from keras import layers

from tfopt import subprocesses
from tfopt.errors import ConversionError
from tfopt.quantization import convert
from tfopt.tflite import benchmark
from tfopt.tflite.benchmark import measure, sizes, timed
from tfopt.tflite.file import read
from tfopt.tflite.interleaved import measure_in_turns
from tfopt.tflite.timing_process import sample_shapes

SECONDS = 0.05
BALLAST = 300_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One network in float32 and int8, and one that takes token ids, as files."""
    target = tmp_path_factory.mktemp("files")
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), layers.Dense(5)]
    )
    kernel = model.layers[-1].kernel
    kernel.assign(np.where(np.arange(kernel.numpy().size).reshape(kernel.shape) % 2, kernel.numpy(), 0))
    x = np.random.default_rng(0).random((16, 8, 8, 1), np.float32)
    for mode in ("float32", "int8"):
        (target / f"{mode}.tflite").write_bytes(convert(model, mode, x))
    ids = keras.Sequential(
        [layers.Input((6,), dtype="int32"), layers.Embedding(20, 4), layers.GlobalAveragePooling1D(), layers.Dense(2)]
    )
    (target / "ids.tflite").write_bytes(convert(ids, "float32", np.zeros((2, 6), np.int32)))
    return target


@pytest.fixture(scope="module")
def measured(folder):
    """By the name of a file what `measure` says of it, while this process holds `BALLAST` bytes."""
    ballast = np.ones(BALLAST, np.uint8)
    found = {name: measure(folder / f"{name}.tflite", seconds=SECONDS) for name in ("float32", "int8", "ids")}
    assert ballast.all()
    return found


@pytest.mark.parametrize("name", ["float32", "int8", "ids"])
def test_a_measurement_has_exact_sizes_and_sane_times(folder, measured, name):
    path = folder / f"{name}.tflite"
    result = measured[name]
    content, summary = path.read_bytes(), read(path)
    assert result["raw_bytes"] == len(content)
    assert result["gzip_bytes"] == len(gzip.compress(content, 9))
    assert result["parameters"] == summary.parameters
    assert result["nonzero_parameters"] == summary.nonzero
    assert result["sparsity"] == pytest.approx(summary.sparsity)
    assert 0 < result["latency_median_seconds"] <= result["latency_p90_seconds"] < 1


def test_peak_memory_is_that_of_the_measuring_process_and_not_of_the_one_that_started_it(measured):
    assert 10e6 < measured["float32"]["peak_memory_bytes"] < BALLAST


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells what a process takes from a moment on")
def test_the_memory_of_a_file_is_what_it_adds_to_the_process(measured):
    for found in measured.values():
        assert 0 < found["model_memory_bytes"] < found["peak_memory_bytes"]


def test_the_spread_has_every_run_in_its_histogram_or_above_it(folder):
    found = timed(folder / "float32.tflite", seconds=SECONDS)
    spread = found.latency
    assert spread["runs"] == sum(spread["counts"]) + spread["above"] >= 30
    assert len(spread["edges"]) == len(spread["counts"]) + 1
    assert spread["edges"] == sorted(spread["edges"])
    seconds = list(spread["seconds"].values())
    assert seconds == sorted(seconds)
    assert found.figures["latency_median_seconds"] == spread["seconds"]["p50"]


def test_the_spread_of_known_latencies():
    taken = np.concatenate([np.linspace(1, 2, 99), [1000.0]])
    spread = benchmark._spread(taken)
    assert spread["seconds"]["p0"] == 1
    assert spread["seconds"]["p50"] == pytest.approx(np.median(taken))
    assert spread["seconds"]["p100"] == 1000
    assert spread["above"] == 1
    assert spread["edges"][-1] == pytest.approx(np.quantile(taken, 0.99))


def test_latencies_that_are_all_the_same_have_a_histogram():
    spread = benchmark._spread(np.full(50, 1e-3))
    assert sum(spread["counts"]) == 50


def test_a_measurement_with_two_threads_runs(folder):
    assert measure(folder / "float32.tflite", threads=2, seconds=SECONDS)["latency_median_seconds"] > 0


def test_sizes_are_those_of_the_file_without_running_it(folder):
    found = sizes(folder / "int8.tflite")
    assert found["raw_bytes"] == (folder / "int8.tflite").stat().st_size
    assert found["nonzero_parameters"] < found["parameters"]
    assert 0.4 < found["sparsity"] < 0.6
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("damage", ["text", "cut", "missing"])
def test_a_file_that_cannot_run_is_an_error_of_one_line_that_names_it(folder, tmp_path, damage):
    path = tmp_path / "broken.tflite"
    if damage == "text":
        path.write_text("hello")
    elif damage == "cut":
        path.write_bytes((folder / "float32.tflite").read_bytes()[:700])
    with pytest.raises(ConversionError, match=r"broken\.tflite") as caught:
        measure(path, seconds=SECONDS)
    assert len(str(caught.value).splitlines()) == 1
    assert "Traceback" not in str(caught.value)


def test_the_module_measures_without_tensorflow(folder, python):
    code = f"""
import sys
from pathlib import Path
from tfopt import subprocesses
from tfopt.tflite import benchmark
path = Path({str(folder / "int8.tflite")!r})
taken, memory = benchmark._latencies(path, 1, 0.01, {{}})
found = benchmark.sizes(path)
heavy = {{"tensorflow", "keras", "tf_keras", "tensorflow_model_optimization"}} & set(sys.modules)
print(len(taken) >= 30, found["raw_bytes"] > 0, sorted(heavy))
"""
    assert python(code).splitlines()[-1] == "True True []"


def test_files_are_timed_in_turns_in_one_process_and_shapes_that_are_open_are_told(folder, tmp_path):
    open_size = keras.Sequential([layers.Input((None, 8, 1)), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()])
    (tmp_path / "open.tflite").write_bytes(convert(open_size, "float32"))
    files = [folder / "float32.tflite", tmp_path / "open.tflite"]
    shapes = sample_shapes(np.zeros((3, 8, 8, 1)), *files)
    assert set(shapes.values()) == {(8, 8, 1)}
    assert len(shapes) == len({name for file in files for name in read(file).inputs})
    found = measure_in_turns(files, seconds=SECONDS, shapes=shapes)
    assert [one["latency_median_seconds"] > 0 for one in found] == [True, True]
    with pytest.raises(ConversionError, match=r"open\.tflite: .*--shapes"):
        measure_in_turns(files, seconds=SECONDS)


def test_shapes_by_name_are_those_of_the_samples():
    assert sample_shapes({"a": np.zeros((3, 2)), "b": np.zeros((3, 4, 5))}) == {"a": (2,), "b": (4, 5)}


def test_the_help_names_the_module_that_there_is(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "--help"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "python -m tfopt.tflite.benchmark" in capsys.readouterr().out


def test_the_command_prints_one_line_of_json(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", str(folder / "int8.tflite"), "--seconds", "0.01"])
    benchmark.main()
    [line] = capsys.readouterr().out.splitlines()
    assert set(json.loads(line)) == {
        "raw_bytes",
        "gzip_bytes",
        "parameters",
        "nonzero_parameters",
        "sparsity",
        "latency_median_seconds",
        "latency_p90_seconds",
        "latency_p99_seconds",
        "peak_memory_bytes",
        *(["model_memory_bytes"] if sys.platform == "linux" else []),
        "latency",
    }


@pytest.mark.parametrize("module", ["benchmark", "interleaved"])
@pytest.mark.parametrize(
    ("content", "words"), [(b"hello", "is not a TFLite file"), (b"\x1c\0\0\0TFL3" + bytes(40), "is not a whole TFLite")]
)
def test_a_file_that_is_none_is_one_line_of_the_process_that_times_it(tmp_path, module, content, words):
    (tmp_path / "m.tflite").write_bytes(content)
    finished = subprocesses.run(f"tfopt.tflite.{module}", [str(tmp_path / "m.tflite")])
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert words in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
