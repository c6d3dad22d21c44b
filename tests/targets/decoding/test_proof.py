import importlib.util

import numpy as np
import pytest

from tests.targets.decoding import files
from tfopt.errors import ConversionError
from tfopt.recipe.decode import CODINGS, Decode
from tfopt.targets import microcontrollers
from tfopt.targets.decoding import decoded_file, proof, stored_kernels, writer
from tfopt.tflite import flatbuffer

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None, reason="tflite-micro is not installed (tfopt[tflm])"
)

FORMS = {"channel": {"scales": "channel"}, "tensor": {"scales": "tensor"}, "float32": {"mode": "float32"}}


@pytest.fixture(scope="module", params=FORMS)
def odd(request):
    """A file whose kernels are at the ends of what codings hold."""
    return files.with_values(files.file(**FORMS[request.param]), files.odd_values)


def coded(content, choose):
    """The file with every kernel in the coding that `choose(number, encoded by name)` names, and those codings."""
    chosen, taken = {}, []
    for number, kernel in enumerate(stored_kernels.find(flatbuffer.parse(content))):
        able = {name: found for name in CODINGS if (found := CODINGS[name].encode(kernel.kernel)) is not None}
        chosen[kernel] = able[choose(number, able)]
        taken.append(chosen[kernel].coding)
    return writer.write(content, chosen), taken


def assert_equal_on_tflm(before, after):
    x = files.samples()
    expected, got = microcontrollers.run(before, x).outputs, microcontrollers.run(after, x).outputs
    assert sum(np.ptp(value) > 0 for value in expected.values()) >= len(expected) - 2  # of kernels of zeros
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name])


def test_tflm_decodes_every_kind_of_kernel_in_every_op(odd):
    content, taken = coded(odd, lambda number, able: list(able)[number % len(able)])
    assert len(set(taken)) > 1
    assert_equal_on_tflm(odd, content)


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["look_up", "zero_mask", "huffman"])
def test_tflm_decodes_each_coding(odd, coding):
    content, taken = coded(odd, lambda number, able: coding if coding in able else "zero_mask")
    assert set(taken) in ({coding}, {coding, "zero_mask"}, {"zero_mask"})
    assert_equal_on_tflm(odd, content)


@pytest.mark.slow
@pytest.mark.parametrize("bits", range(1, 8))
def test_tflm_decodes_look_up_tables_of_every_width(bits):
    plain = files.with_values(
        files.file(), lambda number, shape: np.arange(np.prod(shape)).reshape(shape) * 37 % 2**bits - 2 ** (bits - 1)
    )
    content, taken = coded(plain, lambda number, able: "look_up")
    assert set(taken) == {"look_up"}
    assert_equal_on_tflm(plain, content)


def test_a_decoded_file_is_proven_and_what_it_costs_is_told():
    plain, x = files.with_values(files.file(), files.sparse_values), files.samples()
    made = proof.decode(plain, x, Decode(ram=2000))
    assert made.file.content == decoded_file.decoded(plain, Decode(ram=2000)).content
    assert len(made.file.content) < len(plain)
    largest = max(kernel.bytes for kernel in made.file.chosen)
    assert largest <= 2000
    assert made.after.arena_bytes > made.before.arena_bytes
    assert made.after.arena_bytes < made.before.arena_bytes + largest + 2000
    assert made.before.microseconds > 0
    assert made.after.version.startswith("0.")
    for name, value in made.before.outputs.items():
        np.testing.assert_array_equal(made.after.outputs[name], value)


def test_a_file_that_nothing_makes_smaller_is_run_once(monkeypatch):
    runs = []
    monkeypatch.setattr(microcontrollers, "run", lambda content, x, **_: runs.append(content) or "run")
    plain = files.file()
    made = proof.decode(plain, files.samples(), Decode(ram=1))
    assert (made.file.content, made.before, made.after, runs) == (plain, "run", "run", [plain])


def test_a_file_that_is_decoded_to_something_else_is_refused(monkeypatch):
    plain = files.with_values(files.file(), files.sparse_values)

    def broken(kernel, codings=None):
        found = decoded_file.CODINGS["look_up"].encode(kernel)
        table = bytearray(found.tables)
        table[16:] = bytes(value ^ 0x40 for value in table[16:])
        return type(found)(found.coding, found.about, found.data, bytes(table))

    monkeypatch.setattr(decoded_file, "least", broken)
    with pytest.raises(ConversionError, match=r"TFLM gives something else .* Leave decode out"):
        proof.decode(plain, files.samples(), Decode(codings=("look_up",), ram=123_456))


def test_a_decoder_that_tflm_does_not_have_is_said_in_one_line(monkeypatch):
    plain = files.with_values(files.file(), files.sparse_values)
    least = decoded_file.least

    def of_an_unknown_kind(kernel, codings=None):
        found = least(kernel, codings)
        return found and type(found)(found.coding, found.about, found.data, bytes([99, *found.tables[1:]]))

    monkeypatch.setattr(decoded_file, "least", of_an_unknown_kind)
    with pytest.raises(ConversionError, match="TFLM") as caught:
        proof.decode(plain, files.samples(), Decode(ram=123_457))
    assert len(str(caught.value).splitlines()) == 1
