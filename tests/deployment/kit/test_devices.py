"""Kits of files that a target has of its own beside a `.tflite`."""

import dataclasses
import hashlib
import os

import numpy as np
import pytest

import tfopt
from tests.deployment.conftest import build, converted
from tfopt.deployment import usage
from tfopt.errors import InputError
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.device_files import DeviceFile, DeviceFiles
from tfopt.recipe.target import TARGETS
from tfopt.targets.vela import Hardware, compiled
from tfopt.targets.vela_file import accelerator, planned_bytes


def for_npu(target="ethos-u55-128"):
    """The digits file as Vela compiles it, and its figures."""
    pytest.importorskip("ethosu")
    family = target.rpartition("-")[0].upper().replace("ETHOS-U", "Ethos_U")
    system = next(one for one in TARGETS[target].options["system"] if one.startswith(family))
    return compiled(converted("digits", "int8"), Hardware(target, system, "Shared_Sram"))


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


def test_a_changed_file_of_a_run_is_refused_however_it_is_named(result, tmp_path, without_tflm, one_line):
    folder = result("mine", "model.mine.tflite", b"a")
    content = bytearray(converted("digits", "int8"))
    content[-1] ^= 1
    (folder / "model.tflite").write_bytes(content)
    for given in (folder, folder / "model.tflite", folder.parent):
        with pytest.raises(InputError, match=r"int8/model\.tflite was changed") as caught:
            tfopt.export(given, tmp_path / "kit", target="tflite")
        assert "copy the file to another folder" in one_line(caught)
    assert not (tmp_path / "kit").exists()


@pytest.mark.parametrize("target", ["ethos-u55-32", "ethos-u55-128", "ethos-u65-512", "ethos-u85-2048"])
def test_a_compiled_file_tells_the_accelerator_and_the_memory(target):
    made = for_npu(target)
    assert accelerator(made.content) == target
    assert made.figures["sram_bytes"] <= planned_bytes(made.content) <= made.figures["sram_bytes"] + 1024
    plain = converted("digits", "int8")
    assert (accelerator(plain), planned_bytes(plain)) == ("", None)


def test_a_file_for_an_npu_has_the_npus_op_and_an_arena_as_it_is_planned(result, tmp_path, without_tflm):
    _, x = build("digits")
    made = for_npu()
    folder = result("ethos-u55-128", "model.vela.tflite", made.content)
    kit = tfopt.export(folder, tmp_path / "kit", {"pixels": x["pixels"][:2]})
    arena, text = kit.model.arena, (kit.folder / "README.md").read_text()
    assert "ethos-u" in kit.model.ops
    assert kit.model.golden.runtime == "LiteRT"
    assert [line for line in kit.warnings if "the golden outputs are LiteRT's" in line]
    assert (arena.measured, arena.planned) == (None, planned_bytes(made.content))
    assert made.figures["sram_bytes"] < arena.bytes < made.figures["sram_bytes"] + 4096
    assert "AddEthosU" in (kit.folder / "c/run_int8_ops.h").read_text()
    assert f"#define RUN_INT8_ARENA_BYTES {arena.bytes}" in (kit.folder / "c/run_int8.h").read_text()
    assert "CO_PROCESSOR=ethos_u" in text
    assert f"{arena.planned:,} as the compiler of ethos-u55-128 has planned them" in text
    assert [line for line in kit.warnings if "The device tells what it uses" in line]


def test_the_golden_outputs_of_an_npu_are_those_of_tflms_kernels(result, tmp_path):
    pytest.importorskip("tflite_micro")
    from tflite_micro import runtime

    _, x = build("digits")
    folder = result("ethos-u55-128", "model.vela.tflite", for_npu().content)
    kit = tfopt.export(folder, tmp_path / "kit", {"pixels": x["pixels"][:3]})
    golden = kit.model.golden
    interpreter = runtime.Interpreter.from_bytes(converted("digits", "int8"))
    for given, wanted in zip(golden.inputs["pixels"], next(iter(golden.outputs.values())), strict=True):
        interpreter.set_input(given, 0)
        interpreter.invoke()
        np.testing.assert_array_equal(wanted, interpreter.get_output(0))
    assert golden.runtime.startswith("TFLM's reference kernels")
    assert (golden.steps, golden.difference is not None) == (1, True)
    assert kit.model.arena.measured is None  # the .tflite's arena on a CPU is not the NPU's


def test_a_converted_file_takes_the_one_for_a_device_beside_it(tmp_path, without_tflm, one_line):
    _, x = build("digits")
    samples, plain, own = {"pixels": x["pixels"][:2]}, tmp_path / "d.tflite", tmp_path / "d.vela.tflite"
    plain.write_bytes(converted("digits", "int8"))
    own.write_bytes(for_npu().content)
    for number, given in enumerate((plain, own)):
        kit = tfopt.export(given, tmp_path / f"kit{number}", samples)
        assert (kit.model.target, kit.model.flashed) == ("ethos-u55-128", own.read_bytes())
        assert kit.model.content == plain.read_bytes()
    assert tfopt.export(plain, tmp_path / "itself", samples, target="tflite").model.flashed == plain.read_bytes()
    with pytest.raises(InputError, match=r"no file for ethos-u55-64 beside d\.tflite"):
        tfopt.export(plain, tmp_path / "no", samples, target="ethos-u55-64")

    os.utime(own, (1, 1))
    kit = tfopt.export(plain, tmp_path / "kit0", samples)
    assert [line for line in kit.warnings if "d.vela.tflite is older than d.tflite" in line]
    plain.write_bytes(converted("digits", "float32"))
    with pytest.raises(InputError, match=r"was not made of d\.tflite: their inputs or outputs differ") as caught:
        tfopt.export(plain, tmp_path / "no", samples)
    assert one_line(caught)

    plain.unlink()
    with pytest.raises(InputError, match=r"Put d\.tflite beside it") as caught:
        tfopt.export(own, tmp_path / "no", samples)
    assert one_line(caught)
    with pytest.raises(InputError, match=r"Give that, with this one as X\.vela\.tflite"):
        tfopt.export(own.rename(tmp_path / "other.tflite"), tmp_path / "no", samples)
    with pytest.raises(InputError, match="Give the path of that"):
        tfopt.export(for_npu().content, tmp_path / "no", samples)
    assert not (tmp_path / "no").exists()


def test_of_a_run_the_last_file_with_the_target_is_taken(result, tmp_path, without_tflm):
    _, x = build("digits")
    samples = {"pixels": x["pixels"][:2]}
    folder = result("mine", "model.mine.tflite", converted("digits", "float32"))
    plain = tmp_path / "run" / "later"
    plain.mkdir()
    content = converted("digits", "int8")
    (plain / "model.tflite").write_bytes(content)
    own = DeviceFiles((DeviceFile("tflm", "", "", len(content)),))
    later = Artifact("later", "quantize", plain, "model.tflite", "tflite", "k", details=[usage(content), own])
    dataclasses.replace(later, digest=hashlib.sha256(content).hexdigest()).write()
    os.utime(folder / "artifact.json", (1, 1))
    run = tmp_path / "run"
    names = {
        target: tfopt.export(run, tmp_path / "kit", samples, target=target, force=True).model.name
        for target in (None, "mine", "tflm", "litert", "tflite")
    }
    assert names == {
        None: "run-later",
        "mine": "run-int8",
        "tflm": "run-later",  # which takes the .tflite itself
        "litert": "run-later",
        "tflite": "run-later",
    }
    for wrong, way in (("TFLM", "Did you mean 'tflm'"), ("ethos-u55-64", "no file of the run was made for")):
        with pytest.raises(InputError, match=way):
            tfopt.export(run, tmp_path / "kit", samples, target=wrong)
    with pytest.raises(InputError, match="int8 of the same run has one: take its folder"):
        tfopt.export(plain, tmp_path / "kit", samples, target="mine")
