"""Kits of files that a target has of its own beside a `.tflite`."""

import dataclasses
import hashlib

import pytest

import tfopt
from tests.deployment.conftest import build, converted
from tfopt.deployment import usage
from tfopt.errors import InputError
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.device_files import DeviceFile, DeviceFiles
from tfopt.targets.vela import Hardware, compiled


@pytest.fixture
def result(tmp_path):
    """The folder of a stage's result with a file of a target, whose bytes are given."""

    def make(target, name, flashed, **figures):
        folder = tmp_path / "run" / "int8"
        folder.mkdir(parents=True)
        content = converted("digits", "int8")
        (folder / "model.tflite").write_bytes(content)
        (folder / name).write_bytes(flashed)
        own = DeviceFile(target, name, hashlib.sha256(flashed).hexdigest(), len(flashed), figures, ("a note",))
        itself = DeviceFile("litert", "", "", len(content))
        details = [usage(content), DeviceFiles((itself, own))]
        artifact = Artifact("int8", "quantize", folder, "model.tflite", "tflite", "k", details=details)
        dataclasses.replace(artifact, digest=hashlib.sha256(content).hexdigest()).write()
        return folder

    return make


def test_the_targets_own_file_is_flashed_and_the_other_is_for_litert(result, tmp_path, without_tflm):
    _, x = build("digits")
    flashed = converted("digits", "float32")  # stands for a file of another target, with an arena of its own
    folder = result("mine", "model.mine.tflite", flashed, arena_bytes=5000.0)
    kit = tfopt.export(folder, tmp_path / "kit", {"pixels": x["pixels"][:2]})
    assert kit.model.name == "run-int8"
    assert (kit.folder / "model.tflite").read_bytes() == converted("digits", "int8")
    assert (kit.folder / "model.mine.tflite").read_bytes() == flashed
    assert (kit.model.flashed, kit.model.arena.measured) == (flashed, 5000)
    assert "model.mine.tflite" in (kit.folder / "c/run_int8_model.c").read_text()
    assert "\nA note.\n" in (kit.folder / "README.md").read_text()
    itself = tfopt.export(folder / "model.tflite", tmp_path / "itself", {"pixels": x["pixels"][:2]}, target="tflite")
    assert itself.model.flashed == converted("digits", "int8")
    assert itself.model.arena.measured is None


def test_a_file_that_was_changed_since_is_refused(result, tmp_path, without_tflm, one_line):
    folder = result("mine", "model.mine.tflite", b"a")
    (folder / "model.mine.tflite").write_bytes(b"b")
    with pytest.raises(InputError, match=r"int8/model\.mine\.tflite was changed or is gone") as caught:
        tfopt.export(folder, tmp_path / "kit")
    assert "Run the recipe again" in one_line(caught)


def test_a_file_for_an_npu_has_the_npus_op_and_is_not_run_here(result, tmp_path):
    pytest.importorskip("ethosu")
    _, x = build("digits")
    hardware = Hardware("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram")
    folder = result("ethos-u55-128", "model.vela.tflite", compiled(converted("digits", "int8"), hardware).content)
    kit = tfopt.export(folder, tmp_path / "kit", {"pixels": x["pixels"][:2]})
    assert "ethos-u" in kit.model.ops
    assert kit.model.golden.runtime == "LiteRT"
    assert kit.model.arena.measured is None
    assert "AddEthosU" in (kit.folder / "c/run_int8_ops.h").read_text()
    assert "CO_PROCESSOR=ethos_u" in (kit.folder / "README.md").read_text()
    assert [line for line in kit.warnings if "The device tells what it uses" in line]
