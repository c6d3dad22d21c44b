"""A kit's C with TFLM: the golden vectors on its own runtime, and the C++ around it."""

import dataclasses
import shutil
import subprocess

import numpy as np
import pytest

import tfopt
from tests.deployment import recording
from tests.deployment.conftest import build, converted
from tests.deployment.kit.compiled_kit import CompiledKit
from tests.deployment.kit.conftest import needs_gcc
from tests.deployment.test_snippets import RUNTIMES, needs_compiler, run
from tests.quantization import zoo
from tfopt.deployment import usage
from tfopt.deployment.kit.contents import contents
from tfopt.deployment.kit.folder import write_folder
from tfopt.deployment.kit.micro import op_notes, resolver_header

STRICT = ("-std=c++17", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-O0", f"-I{RUNTIMES}")
# Integers and floats, one and several inputs and outputs, recurrent ones as a loop and step by step.
ZOO = [
    ("lists in and out", {"mode": "int8"}),
    ("dense", {"mode": "int16x8"}),
    ("conv2d", {"mode": "int8"}),
    ("depthwise", {"mode": "int8"}),
    ("lstm", {"mode": "float32"}),
    ("lstm", {"mode": "int8"}),
    ("residual", {"mode": "int8", "io": "float32"}),
    ("separable", {"mode": "float32"}),
    ("dicts in and out", {"mode": "float32"}),
    ("gru", {"mode": "int8"}),
    ("conv1d causal dilated", {"mode": "int8"}),
]


def file_of(name, settings):
    """The file of a model of the zoo for TFLM, and samples by its input names."""
    model, samples = zoo.build(name)
    found = tfopt.convert(
        model, target="tflm", calibration=None if settings["mode"] == "float32" else samples, **settings
    )
    named = zoo.by_name(model, samples)
    inputs = [end.name for end in usage(found).inputs]
    return found, {own: named.get(own, next(iter(named.values()))) for own in inputs}


def on_tflm(compiled, reset=True):
    """TFLM on the array that was compiled, in the arena that the header says, as `CompiledKit.failures` takes it."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(compiled.content, arena_size=compiled.arena_bytes)

    def run(feeds):
        if reset:
            interpreter.reset()
        for place, feed in enumerate(feeds):
            interpreter.set_input(feed, place)
        interpreter.invoke()
        return [interpreter.get_output(place) for place in range(len(compiled.model.outputs))]

    return run


@needs_gcc
@pytest.mark.sample(2)
@pytest.mark.parametrize(("name", "settings"), ZOO, ids=[f"{name}-{settings['mode']}" for name, settings in ZOO])
def test_the_golden_vectors_pass_on_tflm(tmp_path, name, settings):
    pytest.importorskip("tflite_micro")
    content, samples = file_of(name, settings)
    kit = tfopt.export(content, tmp_path / "kit", samples, name=name, golden=3)
    assert kit.warnings == ()
    assert kit.model.golden.runtime.startswith("TFLM's reference kernels (tflite-micro ")
    assert kit.model.golden.steps == 0
    compiled = CompiledKit(kit, tmp_path)
    assert compiled.content == content
    assert compiled.arena_bytes == kit.model.arena.bytes > kit.model.arena.measured
    assert compiled.failures(on_tflm(compiled)) == 0
    assert kit.model.golden.count == 3
    assert kit.model.usage.stateful == ("UNIDIRECTIONAL_SEQUENCE_LSTM" in kit.model.ops)
    if kit.model.usage.stateful:  # as firmware that does not reset would have it
        assert compiled.failures(on_tflm(compiled, reset=False)) == 2
    values = [kit.model.golden.outputs[end.usage.name] for end in kit.model.outputs]
    assert any(np.unique(each).size > 1 for each in values)


@pytest.fixture
def bound(kit_of, tmp_path):
    """A kit with the C++ for TFLM, though TFLM is not here, with a record of what LiteRT takes and gives."""

    def make(stateful=False):
        _, x = build("digits")
        kit, content = kit_of("digits", golden=recording.SAMPLES), converted("digits", "int8")
        found = dataclasses.replace(kit.model.usage, stateful=stateful)
        model = dataclasses.replace(kit.model, usage=found)
        write_folder(kit.folder, contents(model))
        recording.record(tmp_path / "record", found, content, x)
        return model, kit.folder

    return make


@needs_compiler
@pytest.mark.parametrize("stateful", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_cpp_for_tflm_compiles_strictly_and_passes_the_golden_vectors(bound, tmp_path, stateful):
    model, folder = bound(stateful)
    program = tmp_path / "golden"
    own = folder / "c" / model.prefix
    objects = []
    for name in ("golden", "model"):
        objects.append(tmp_path / f"{name}.o")
        flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{folder}/c"]
        subprocess.run(["gcc", *flags, "-c", f"{own}_{name}.c", "-o", objects[-1]], check=True)
    sources = [f"{own}_tflm.cc", f"{own}_golden_main.cc", *objects]
    done = run(["g++", *STRICT, f"-I{folder}/c", *sources, "-o", program, "-lm"], tmp_path)
    assert done.returncode == 0, done.stderr
    done = run([program], tmp_path)
    assert (done.returncode, done.stdout) == (0, "digits: 3 of 3 golden vectors passed\n")
    assert (tmp_path / "record" / "reset").exists() == stateful
    (tmp_path / "record" / "out.1.0").write_bytes(bytes(10))
    done = run([program], tmp_path)
    assert done.returncode == 1
    assert "vector 1, output 0" in done.stdout


def test_the_resolver_has_each_op_of_the_flashed_file_once(bound):
    model, _ = bound()
    text = resolver_header(model)
    assert "MicroMutableOpResolver<5>" in text
    assert text.count("ops.Add") == 5
    decoded = dataclasses.replace(model, ops=("TFLM_DECODE", "ethos-u", "SOFTMAX"))
    text = resolver_header(decoded)
    assert "ops.AddDecode() == kTfLiteOk &&" in text
    assert "ops.AddEthosU() == kTfLiteOk &&" in text
    assert "CO_PROCESSOR=ethos_u" in text
    assert len(op_notes(decoded)) == 2


CMAKE = """
cmake_minimum_required(VERSION 3.13)
project(firmware LANGUAGES C CXX)
add_library(stand_in INTERFACE)
target_include_directories(stand_in INTERFACE {runtimes})
set(DIGITS_TFLM stand_in)
add_subdirectory(kit)
add_executable(app app.c)
target_link_libraries(app PRIVATE digits_tflm)
"""
APP = '#include "digits_tflm.h"\nint main(void) { return digits_tflm_setup(); }\n'


@pytest.mark.slow
@needs_compiler
@pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no cmake")
@pytest.mark.parametrize("form", ["string", "incbin"])
def test_the_kit_is_a_folder_of_a_cmake_project(kit_of, tmp_path, form):
    kit_of("digits", array=form)
    (tmp_path / "CMakeLists.txt").write_text(CMAKE.format(runtimes=RUNTIMES))
    (tmp_path / "app.c").write_text(APP)
    for command in (["cmake", "-B", "build"], ["cmake", "--build", "build", "--target", "app", "digits_golden_test"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run([tmp_path / "build" / "app"]).returncode == 0
