"""The C of a kit: compiled strictly, its array, its grids, and what its golden vectors let pass."""

import dataclasses
import re
import subprocess

import numpy as np
import pytest

from tests.deployment.conftest import converted
from tests.deployment.kit.compiled_kit import STRICT, CompiledKit, gcc
from tests.deployment.kit.conftest import needs_gcc
from tfopt.deployment.kit.c_names import c_number, c_string, end_names, prefix_of, string_literal
from tfopt.deployment.kit.readme import readme
from tfopt.deployment.words import comment_text
from tfopt.recipe.details.usage import TensorUsage
from tfopt.tflite.interpreter import Runner, quantize_samples

pytestmark = needs_gcc


@pytest.fixture
def on_litert():
    """The runtime of Python's LiteRT on a kit's own array, as `CompiledKit.failures` takes it."""

    def make(compiled, change=lambda outputs: outputs):
        runner, model = Runner(compiled.content), compiled.model

        def run(feeds):
            named = {end.usage.name: feed for end, feed in zip(model.inputs, feeds, strict=True)}
            raw = runner.quantized(named)
            return change([raw[end.usage.name] for end in model.outputs])

        return run

    return make


@pytest.mark.parametrize("form", ["string", "incbin", "plain"])
def test_the_array_is_the_file_aligned_to_16_in_every_form(kit_of, tmp_path, form):
    compiled = CompiledKit(kit_of("digits", array=form), tmp_path)
    assert compiled.content == converted("digits", "int8")
    assert compiled.address % 16 == 0


def test_every_byte_survives_a_string_literal(tmp_path):
    content = bytes(range(256)) + bytes([0, 48, 7, 55, 63, 63, 61]) + bytes(range(255, -1, -1))
    for cut in (32, 1, 517):
        rows = " ".join(string_literal(content[at : at + cut]) for at in range(0, len(content), cut))
        wanted = ", ".join(map(str, content))
        text = f"""
#include <string.h>
static const unsigned char text[] = {rows};
static const unsigned char wanted[] = {{{wanted}}};
int main(void) {{ return sizeof text != sizeof wanted + 1 || memcmp(text, wanted, sizeof wanted) != 0; }}
"""
        (tmp_path / "a.c").write_text(text)
        gcc(*STRICT, tmp_path / "a.c", "-o", tmp_path / "a")

        assert subprocess.run([tmp_path / "a"]).returncode == 0


@pytest.mark.parametrize(
    ("kind", "mode"), [("senses", "int8"), ("digits", "float32"), ("digits", "int16x8"), ("digits", "any-batch")]
)
def test_golden_vectors_pass_on_their_own_runtime_and_fail_on_any_other_numbers(
    kit_of, on_litert, tmp_path, kind, mode
):
    compiled = CompiledKit(kit_of(kind, mode), tmp_path)
    assert compiled.failures(on_litert(compiled)) == 0
    steps = 2 if mode != "float32" else 1e-3

    def off(outputs):
        last = outputs[-1].copy()
        if last.dtype.kind == "f":
            last.flat[-1] += steps * np.abs(last).max()
        else:
            last.flat[-1] += steps if last.flat[-1] < 100 else -steps
        return [*outputs[:-1], last]

    assert compiled.failures(on_litert(compiled, off)) == 4
    assert compiled.failures(on_litert(compiled, lambda outputs: outputs[:-1])) == 4  # the last is not written


def test_a_runtime_that_fails_is_a_failure_and_a_step_is_let_pass_where_it_is_allowed(kit_of, on_litert, tmp_path):
    kit = kit_of("digits")
    compiled = CompiledKit(kit, tmp_path)

    def breaks(feeds):
        raise RuntimeError

    def by_steps(steps):
        return lambda outputs: [np.where(values < 100, values + steps, values - steps) for values in outputs]

    assert compiled.failures(breaks) == 4
    assert kit.model.golden.steps == 1
    assert compiled.failures(on_litert(compiled, by_steps(1))) == 0
    assert compiled.failures(on_litert(compiled, by_steps(2))) == 4


def test_the_inlines_quantize_as_tfopt_does_bit_for_bit(kit_of, tmp_path):
    compiled = CompiledKit(kit_of("senses"), tmp_path)
    generator = np.random.default_rng(1)
    for end in compiled.model.inputs:
        usage = end.usage
        if not usage.quantized:
            continue
        halves = (np.arange(-300, 300) + 0.5 - usage.zero_point) * np.float32(usage.scale)
        x = np.concatenate([generator.normal(0, 99, 2000), halves, [0.0, 1e30, -1e30, np.inf, -np.inf]])
        x = x.astype(np.float32)
        detail = {"dtype": np.int8, "shape_signature": [1, 1], "quantization": (usage.scale, usage.zero_point)}
        wanted = quantize_samples(x[:, None], {"x": detail})["x"].ravel()
        steps, back = compiled.grid("in", end.name, x)
        assert (steps == wanted).all()
        assert (back == (wanted.astype(np.float32) - usage.zero_point) * np.float32(usage.scale)).all()
        assert compiled.grid("in", end.name, [np.nan])[0][0] == -128


def test_the_example_of_the_readme_compiles(kit_of, tmp_path, monkeypatch):
    kit = kit_of("digits")
    [code] = re.findall(r"```c\n(.*?)```", (kit.folder / "README.md").read_text(), re.DOTALL)
    (tmp_path / "example.c").write_text(f"void infer(const float *);\n{code}")
    gcc(*STRICT, f"-I{kit.folder}/c", "-c", tmp_path / "example.c", "-o", tmp_path / "example.o")


def test_the_example_of_a_model_that_streams_goes_on_with_its_state(kit_of):
    model = kit_of("digits").model
    streaming = dataclasses.replace(model, usage=dataclasses.replace(model.usage, stateful=True, streams=True))
    text = readme(streaming, {})
    assert "if (digits_tflm_invoke(inputs, outputs) != 0) return;" in text
    assert "`digits_tflm_reset` sets it back where a new sequence begins." in text


def test_the_header_serves_cpp_too(kit_of, tmp_path):
    kit = kit_of("senses", "int8")
    (tmp_path / "a.cc").write_text('#include "senses_golden.h"\n#include "senses.h"\n')
    gcc("-xc++", "-std=c++17", *STRICT[1:], f"-I{kit.folder}/c", "-c", tmp_path / "a.cc", "-o", tmp_path / "a.o")


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("digits", "digits"),
        ("Digits-int8 v2", "digits_int8_v2"),
        ("8bit", "model_8bit"),
        ("-", "model"),
        ("ä", "model"),
    ],
)
def test_a_name_begins_names_of_c(name, prefix):
    assert prefix_of(name) == prefix


def test_names_of_ends_differ_by_more_than_case():
    ends = [TensorUsage(name, 0, "int8", (1,)) for name in ("A", "a", "a_2", "int", "x y")]
    found = end_names(ends)
    assert len({name.upper() for name in found}) == len(ends)
    assert "int" not in found


def test_texts_cannot_end_what_they_stand_in():
    assert "\n" not in comment_text("a\nb\\")
    assert "\\" not in comment_text("a\nb\\")
    assert c_string('a"??/\n') == '"a\\"??/\\n"'.replace('\\"', "\\42").replace("??/", "\\77\\77/").replace(
        "\\n", "\\12"
    )


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (float("nan"), "float32", "NAN"),
        (float("-inf"), "float32", "-INFINITY"),
        (0.1, "float32", "0.1f"),
        (-(2**31), "int32", "INT32_MIN"),
        (-(2**63), "int64", "INT64_MIN"),
        (True, "bool", "1"),
    ],
)
def test_numbers_are_constants_of_c(value, dtype, text):
    assert c_number(value, dtype) == text
