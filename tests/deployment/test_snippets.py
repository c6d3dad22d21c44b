"""Snippets run: Python on LiteRT, the others compiled and run on a record of LiteRT, or on a runtime where one is."""

import ast
import os
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.deployment import recording
from tests.deployment.conftest import MODES
from tfopt.deployment import snippet
from tfopt.errors import InputError
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner

RUNTIMES = Path(__file__).parent / "runtimes"
STRICT = ("-std=c++17", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-O0", f"-I{RUNTIMES}")
# A libtensorflowlite_c to run the C++ snippet on, instead of on a record of LiteRT.
LIBRARY = os.environ.get("TFOPT_TFLITE_C")
# Another release's kernels may round inner values of 8 bits to other steps.
A_STEP_OR_TWO = 0.01
quick = ("int8", "float32")

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile with")
modes = pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=[] if mode in quick else pytest.mark.slow) for mode in MODES]
)
KINDS = ("senses", "digits")
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an untrained model of 4 bits is noisy
        yield


def bit_for_bit(values, wanted):
    return values.dtype == wanted.dtype and values.tobytes() == wanted.tobytes()


@kinds
@modes
def test_the_python_snippet_gives_tfopts_own_outputs_bit_for_bit(made, tmp_path, monkeypatch, kind, mode):
    content, found, x = made(kind, mode)
    (tmp_path / "model.tflite").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "snippet"}
    exec(compile(snippet(found), "predict.py", "exec"), space)
    runner = Runner(content)
    for number in range(recording.SAMPLES):
        one = {end.name: x[end.name][number : number + 1] for end in found.inputs}
        outputs, classes = space["predict"](*one.values())
        wanted = runner(one)
        assert set(outputs) == set(wanted)
        assert all(bit_for_bit(outputs[name], wanted[name]) for name in wanted)
        [name] = [end.name for end in found.outputs if end.decides and end.decides.rule == "largest"]
        assert classes[name].tolist() == wanted[name].argmax(-1).tolist()


def test_the_python_snippet_takes_many_samples_where_the_file_does(made, tmp_path, monkeypatch):
    content, found, x = made("digits", "any-batch")
    (tmp_path / "model.tflite").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "snippet"}
    code = snippet(found)
    assert '"""Runs any number of samples.' in code
    exec(compile(code, "predict.py", "exec"), space)
    outputs, classes = space["predict"](x["pixels"][:5])
    assert [values.shape for values in outputs.values()] == [(5, 10)]
    assert [values.shape for values in classes.values()] == [(5,)]


def test_the_python_snippet_runs_as_a_program(made, tmp_path):
    content, found, _ = made("senses", "int8")
    (tmp_path / "model.tflite").write_bytes(content)
    (tmp_path / "predict.py").write_text(snippet(found))
    done = subprocess.run([sys.executable, "predict.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "'digit': array(" in done.stdout


def test_a_plain_cast_is_what_the_snippet_saves_from(made):
    content, _, x = made("digits", "int8")
    cast = Runner(content).quantized({"pixels": x["pixels"].astype(np.int8)})
    right = Runner(content)(x)
    cast, right = (next(iter(outputs.values())) for outputs in (cast, right))
    assert (cast.argmax(-1) != right.argmax(-1)).any()


def compiled(folder, *sources, libraries=()):
    """The program of C++ sources in a folder."""
    program = folder / "program"
    done = subprocess.run(
        ["g++", *STRICT, f"-I{folder}", *map(str, sources), *libraries, "-o", str(program)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return program


def run(command, folder):
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, "RECORDED": str(folder / "record")},
        capture_output=True,
        text=True,
    )


@needs_compiler
@pytest.mark.sample(3)
@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind in KINDS for mode in MODES])
def test_the_cpp_snippet_compiles_without_a_warning_and_gives_tfopts_own_outputs(made, tmp_path, kind, mode):
    content, found, x = made(kind, mode)
    (tmp_path / "model.tflite").write_bytes(content)
    (tmp_path / "predict.cpp").write_text(snippet(found, "c++"))
    (tmp_path / "driver.cpp").write_text(recording.cpp_driver(found, "model.tflite"))
    expected = recording.record(tmp_path / "record", found, content, x)
    program = compiled(tmp_path, tmp_path / "driver.cpp", RUNTIMES / "c_api.cpp")
    done = run([program], tmp_path)
    assert done.returncode == 0, done.stderr
    recording.check(tmp_path / "record", found, expected)


@needs_compiler
@pytest.mark.parametrize("language", ["c++", "tflm"])
def test_the_code_around_a_stream_compiles_and_has_a_function_that_begins_a_sequence(made, tmp_path, language):
    """With what it needs of LiteRT declared alone."""
    _, found, _ = made("digits", "int8")
    code = snippet(replace(found, stateful=True, streams=True), language, "model.tflite")
    (tmp_path / "predict.cpp").write_text(code)
    done = subprocess.run(
        ["g++", *STRICT, "-fsyntax-only", str(tmp_path / "predict.cpp")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"(void reset|bool reset_model)\(\) \{", code)


@needs_compiler
@pytest.mark.skipif(not LIBRARY, reason="TFOPT_TFLITE_C names no libtensorflowlite_c")
@kinds
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "int4"])  # older releases have no kernels for it
def test_the_cpp_snippet_runs_on_tensorflow_lite_itself(made, tmp_path, kind, mode):
    content, found, x = made(kind, mode)
    (tmp_path / "model.tflite").write_bytes(content)
    (tmp_path / "predict.cpp").write_text(snippet(found, "c++"))
    (tmp_path / "driver.cpp").write_text(recording.cpp_driver(found, "model.tflite"))
    expected = recording.record(tmp_path / "record", found, content, x)
    rpath = f"-Wl,-rpath,{Path(LIBRARY).parent}"
    program = compiled(tmp_path, tmp_path / "driver.cpp", libraries=(LIBRARY, rpath))
    done = run([program], tmp_path)
    assert done.returncode == 0, done.stderr
    for end in found.outputs:
        for number in range(recording.SAMPLES):
            path = tmp_path / "record" / f"got.{number}.{recording.key(end.name)}"
            values = np.frombuffer(path.read_bytes(), np.float32)
            difference = np.abs(values - expected[end.name][number].ravel()).max()
            assert difference <= A_STEP_OR_TWO, end.name


@needs_compiler
@pytest.mark.parametrize(
    "mode",
    [
        "int8",
        pytest.param("int16x8", marks=pytest.mark.slow),
        pytest.param("float32", marks=pytest.mark.slow),
        "float-io",
    ],
)
def test_the_tflm_snippet_compiles_without_a_warning_and_gives_tfopts_own_outputs(made, tmp_path, mode):
    content, found, x = made("digits", mode)
    code = snippet(found, "tflm", "digits-int8.tflite")
    (tmp_path / "predict.cpp").write_text(code)
    (tmp_path / "driver.cpp").write_text(recording.tflm_driver(found, "digits_int8_tflite"))
    expected = recording.record(tmp_path / "record", found, content, x)
    done = run([compiled(tmp_path, tmp_path / "driver.cpp")], tmp_path)
    assert done.returncode == 0, (done.returncode, done.stderr)
    recording.check(tmp_path / "record", found, expected)
    added = re.findall(r"ops\.Add(\w+)\(\)", code)
    assert len(added) == len(set(added)) == len({op.name for op in read(content).ops})
    assert f"MicroMutableOpResolver<{len(added)}>" in code


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="there is no kotlinc to compile with")
@pytest.mark.parametrize(("kind", "mode"), [("senses", "int8"), ("senses", "float32"), ("digits", "int16x8")])
def test_the_kotlin_snippet_compiles_without_a_warning_and_gives_tfopts_own_outputs(made, tmp_path, kind, mode):
    content, found, x = made(kind, mode)
    (tmp_path / "Model.kt").write_text(snippet(found, "kotlin"))
    (tmp_path / "Driver.kt").write_text(recording.kotlin_driver(found, "model.tflite"))
    expected = recording.record(tmp_path / "record", found, content, x)
    sources = [tmp_path / "Model.kt", tmp_path / "Driver.kt", RUNTIMES / "Interpreter.kt"]
    jar = tmp_path / "program.jar"
    done = run(["kotlinc", *sources, "-include-runtime", "-d", jar], tmp_path)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "Model.kt" in line and "warning:" in line]
    done = run(["java", "-jar", jar], tmp_path)
    assert done.returncode == 0, done.stderr
    recording.check(tmp_path / "record", found, expected)


@pytest.mark.parametrize(
    ("kind", "mode", "words"),
    [
        ("digits", "dynamic", "does not compute in float with integer weights (CONV_2D)"),
        ("digits", "float16", "does not compute with float16 weights"),
        ("digits", "any-batch", "takes no inputs that are resized: convert with a batch of 1"),
        ("senses", "int8", "has no SELECT"),
    ],
    ids=["dynamic", "float16", "any-batch", "ids"],
)
def test_there_is_no_tflm_snippet_for_what_tflm_does_not_run(made, kind, mode, words):
    _, found, _ = made(kind, mode)
    with pytest.raises(InputError, match=re.escape(words)):
        snippet(found, "tflm")


def test_a_language_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(InputError, match=r"there is no snippet in 'pyton'\. Did you mean 'python'"):
        snippet(b"", "pyton")


HOSTILE = 'x\nimport os; EVIL()\r\n"""*/ EVIL() `$`\\ ${EVIL()} \u2028'


@pytest.mark.parametrize("language", ["python", "c++", "kotlin", "tflm"])
def test_names_in_a_file_are_no_code(made, language):
    _, usage, _ = made("digits", "int8")
    named = replace(
        usage,
        inputs=tuple(replace(end, name=HOSTILE) for end in usage.inputs),
        outputs=tuple(replace(end, name=f"{HOSTILE}o") for end in usage.outputs),
    )
    code = snippet(named, language, f"{HOSTILE}.tflite")
    assert not [line for line in code.splitlines() if line.lstrip().startswith(("import os", "*/", '"""*/', "EVIL"))]
    if language == "python":
        calls = [node.func for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
        assert "EVIL" not in {getattr(function, "id", "") for function in calls}
        assert HOSTILE in {node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)}
