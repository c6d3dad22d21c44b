"""What is read of Vela's tables and log, and what is handed to it."""

import sys

import pytest

from tests.quantization import zoo
from tfopt.errors import ConversionError
from tfopt.quantization import convert
from tfopt.targets import vela
from tfopt.targets.memo import Memo
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read

HARDWARE = vela.Hardware("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram")
LOG = """
Warning (supported operators) operator: NEG, ofm: 't12'
Reason: Operation has tensor with unsupported DataType Float32 (t24)
Feature-map dataTypes must be one of {"INT8"}

Warning (supported operators) operator: DEQUANTIZE, ofm: 't24'
Reason: Unsupported opType
"""


def row(kind, name, cycles, busy=0.0, target="NPU"):
    return {
        "Original Operator": kind,
        "Name": name,
        "Op Cycles": str(cycles),
        "Util% (MAC)": str(busy),
        "Target": target,
    }


def test_the_steps_of_an_operator_are_one_operator_of_the_output_that_the_last_one_has():
    rows = [
        row("Conv2D", "t6", 300, 50.0),
        row("Conv2D", "t6", 0, 100.0),
        row("Softmax", "t6_softmax_0", 10, 10.0),
        row("Softmax", "one_const/SHL", 20),
        row("Softmax", "t7", 30),
        row("Softmax", "t7_softmax_0", 5),
        row("Softmax", "t8", 5),
    ]
    conv, first, second = vela.operator_costs(rows, {})
    assert (conv.tensor, conv.kind, conv.cycles, conv.mac_utilization) == (6, "Conv2D", 300, 0.5)
    assert (first.tensor, first.cycles) == (7, 60)
    assert first.mac_utilization == pytest.approx(0.1 * 10 / 60)
    assert (second.tensor, second.cycles) == (8, 10)


def test_an_operator_without_a_known_output_is_kept():
    [found] = vela.operator_costs([row("Mul", "mul2", 7)], {})
    assert (found.tensor, found.cycles, found.on_cpu) == (None, 7, "")


def test_what_is_left_to_the_cpu_says_why_and_counts_once():
    rows = [row("Neg", "t12", 0, 100.0, "CPU"), row("Conv2D", "t6", 3), row("Neg", "t12", 0, 100.0, "CPU")]
    neg, conv = vela.operator_costs(rows, vela.reasons(LOG))
    assert neg.on_cpu == "operation has tensor with unsupported DataType Float32"
    assert neg.mac_utilization == 0
    assert conv.on_cpu == ""
    [unknown] = vela.operator_costs([row("Custom", "t3", 0, 0.0, "CPU")], {})
    assert "no form" in unknown.on_cpu


def test_the_log_tells_the_reasons_by_the_number_of_the_tensor():
    assert set(vela.reasons(LOG)) == {12, 24}
    assert vela.reasons(LOG)[24] == "unsupported opType"
    assert vela.reasons("operator: NEG, ofm: 'named'\nReason: x") == {}


@pytest.mark.parametrize(
    ("log", "code", "words"),
    [
        ("Traceback\nethosu.vela.errors.ConfigOptionError: 'Error: Invalid area (must be Sram)'\n", 1, "Invalid area"),
        ("", -8, "Vela crashed (SIGFPE) on the file for ethos-u55-128"),
        ("", 1, "it gave no reason"),
    ],
)
def test_what_ends_vela_is_one_line(log, code, words):
    text = vela._refusal(log, code, HARDWARE)
    assert words in text
    assert text.endswith(".")
    assert "\n" not in text
    assert "Error" not in text.replace("ConfigOptionError", "")


@pytest.fixture(scope="module")
def pair():
    """The same file with and without its tensor names."""
    model, samples = zoo.build("conv2d")
    named = convert(model, "int8", samples, slim=False)
    return named, flatbuffer.slim(named)


def test_a_file_with_names_and_one_without_are_the_same_to_vela(pair):
    named, slim = map(vela.numbered, pair)
    assert named == slim
    tensors = flatbuffer.view(named).subgraphs[0].tensors
    assert [tensor.name.decode() for tensor in tensors] == [f"t{number}" for number in range(len(tensors))]
    assert [op.name for op in read(named).ops] == [op.name for op in read(pair[0]).ops]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Puts a module in the place of Vela's, and counts the times that it is run."""
    counts = tmp_path / "counts"

    def put(code):
        package = tmp_path / "ethosu" / "vela"
        package.mkdir(parents=True)
        (tmp_path / "ethosu/__init__.py").write_text("")
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(f"open({str(counts)!r}, 'a').write('x')\n{code}")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(vela, "_COMPILED", Memo(lambda made: len(made.content)))
        return lambda: len(counts.read_text())

    return put


@pytest.mark.parametrize(
    ("code", "words", "runs"),
    [
        ("raise SystemExit('Error: no such memory')", "does not compile the file for ethos-u55-128: no such memory", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGFPE)", r"crashed \(SIGFPE\)", 2),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGXCPU)",
            f"takes longer than {vela.CPU_SECONDS} s of computing",
            2,
        ),
    ],
    ids=["refused", "crashed", "too long"],
)
def test_a_refusal_is_asked_for_once_and_an_accident_again(pair, stand_in, code, words, runs, one_line):
    count = stand_in(code)
    for _ in range(2):
        with pytest.raises(ConversionError, match=words) as caught:
            vela.compiled(pair[1], HARDWARE)
        one_line(caught)
    assert count() == runs


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_vela_has_a_limit_of_time(pair, stand_in, monkeypatch):
    stand_in("while True: pass")
    monkeypatch.setattr(vela, "CPU_SECONDS", 1)
    with pytest.raises(ConversionError, match="takes longer than 1 s of computing for the file for ethos-u55-128"):
        vela.compiled(pair[1], HARDWARE)
