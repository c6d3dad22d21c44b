"""What commands say of a target: its options, the file that it is given, and what a file costs there."""

import importlib.util
import json

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.cli import main
from tfopt.cli.on_target import target_setting
from tfopt.cli.recipes import _for_devices
from tfopt.errors import InputError
from tfopt.pipeline.result import Result
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.device_files import DeviceFile, DeviceFiles

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ethosu") is None, reason="Vela is not installed (tfopt[ethos-u])"
)


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    """Runs a command: exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["tfopt", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capfd.readouterr()

    return run


def test_a_target_is_written_with_its_options():
    assert target_setting("tflm") == "tflm"
    assert target_setting("ethos-u55-128:memory=Sram_Only,cpu=allow") == {
        "ethos-u55-128": {"memory": "Sram_Only", "cpu": "allow"}
    }
    for wrong in ("ethos-u55-128:", "ethos-u55-128:cpu", "ethos-u55-128:=x", "ethos-u55-128:cpu="):
        with pytest.raises(InputError, match="NAME:option=value"):
            target_setting(wrong)


def test_what_a_target_refuses_is_said_in_options(command, tmp_path):
    keras.Sequential([layers.Input((4,)), layers.Dense(4, name="head")]).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.zeros((2, 4), np.float32))
    given = ("convert", "m.keras", "--data", "x.npy", "--target")
    code, _, error = command(*given, "ethos-u55-128", "--rule", "head=float")
    assert (code, error.strip()[-51:]) == (2, "or allow the CPU: --target ethos-u55-128:cpu=allow.")
    code, _, error = command(*given, "ethos_u65")
    assert (code, error.strip()) == (
        2,
        "--target is 'ethos-u65-256', 'ethos-u65-512', or another that `tfopt devices` lists. Received: 'ethos_u65'.",
    )


def test_convert_and_inspect_say_what_a_file_costs(command, tmp_path):
    normalized = [layers.Reshape((36, 4)), layers.LayerNormalization(name="norm")]
    parts = [
        layers.Conv2D(4, 3, name="stem"),
        layers.ELU(name="elu"),
        *normalized,
        layers.Flatten(),
        layers.Dense(4, name="head"),
    ]
    keras.Sequential([layers.Input((8, 8, 1)), *parts]).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((16, 8, 8, 1), np.float32))
    given = ("convert", "m.keras", "--data", "x.npy", "-o", "m.tflite")

    code, _, error = command(*given, "--target", "ethos-u55-128")
    assert code == 2
    assert "leaves elu (Elu, " in error  # and not the stem, whose output is converted for it
    assert error.strip().endswith("or allow the CPU: --target ethos-u55-128:cpu=allow.")
    assert not list(tmp_path.glob("*.tflite"))

    code, out, _ = command(*given, "--target", "ethos-u55-128:cpu=allow", "--json")
    record = json.loads(out)
    assert code == 0
    assert (tmp_path / "m.vela.tflite").stat().st_size == record["on_target"]["bytes"]
    assert [layer["layer"] for layer in record["on_target"]["layers"] if layer["on_cpu"]] == ["stem", "elu", "norm"]

    (tmp_path / "m.tflite").unlink()
    code, _, error = command(*given, "--target", "ethos-u55-128:cpu=allow")
    assert (code, "m.vela.tflite is there already" in error) == (2, True)

    (tmp_path / "m.vela.tflite").rename(tmp_path / "compiled.tflite")
    code, out, _ = command(*given, "--target", "ethos-u55-128:cpu=allow")
    assert code == 0
    assert "on ethos-u55-128 (Vela's estimate): NPU time " in out
    assert "m.vela.tflite" in out

    code, out, _ = command("inspect", "m.tflite", "--target", "ethos-u55-128", "--json")
    assert code == 0
    assert json.loads(out)["on_target"]["figures"] == record["on_target"]["figures"]
    code, out, _ = command("inspect", "m.tflite", "--target", "ethos-u55-128")
    assert "multipliers busy" in out
    assert "left to the CPU, whose part is not in the time" in out
    assert ", without what the CPU runs" in out
    code, out, _ = command("inspect", "m.vela.tflite")
    assert (code, "--snippet tflm; no other language" in out, "compiled for an Ethos-U" in out) == (0, True, True)
    assert "0 parameters" not in out
    code, _, error = command("inspect", "m.vela.tflite", "--snippet", "python")
    assert (code, "LiteRT has no ethos-u" in error) == (2, True)
    for file, target, words in (
        ("m.vela.tflite", "ethos-u55-128", "Ask for that, m.tflite"),
        ("m.keras", "tflm", "Convert the model first: tfopt convert m.keras --target tflm"),
        ("m.tflite", "litert", "tells nothing"),
    ):
        code, _, error = command("inspect", file, "--target", target)
        assert (code, words in error) == (2, True)


def test_the_last_lines_of_a_run_name_the_file_of_a_device(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "npu").mkdir()
    own = DeviceFiles((DeviceFile("ethos-u55-128", "m.vela.tflite", "ab", 9),))
    npu = Artifact("npu", "quantize", tmp_path / "npu", "m.tflite", "tflite", "k", details=[own])
    last = Artifact("b", "benchmark", tmp_path / "b", "../npu/m.tflite", "tflite", "k", files={"npu": {}})
    assert _for_devices(Result({"npu": npu, "b": last}, (), tmp_path)) == [
        "device  npu/m.vela.tflite  for ethos-u55-128"
    ]
