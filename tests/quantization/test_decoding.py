"""Conversions with decoded kernels: the file beside the file, what it saves, and whose kernels they are."""

import hashlib
import importlib.util
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.quantization.conversion import convert_with_notes
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.decoding import DecodedKernels
from tfopt.recipe.details.device_files import DeviceFiles
from tfopt.recipe.export import Export
from tfopt.report.console import words
from tfopt.report.decoding import decoding_sentences, decoding_words
from tfopt.report.quantization import conversion_record
from tfopt.stages.benchmark import _on_target
from tfopt.stages.device_record import device_details
from tfopt.targets.decoding.decoded_file import decoded
from tfopt.tflite.file import read

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None, reason="tflite-micro is not installed (tfopt[tflm])"
)


@pytest.fixture(scope="module")
def made():
    """A network of 80% zeros, whose head is too small for a coding, with decode."""
    keras.utils.set_random_seed(3)
    inputs = layers.Input((64,), name="x")
    wide = layers.Dense(48, activation="relu", name="wide")
    model = keras.Model(inputs, layers.Dense(2, name="head")(wide(inputs)))
    rng = np.random.default_rng(0)
    wide.kernel.assign(rng.normal(size=(64, 48)) * (rng.random((64, 48)) < 0.2))
    x = rng.normal(size=(16, 64)).astype(np.float32)
    return convert_with_notes(model, Export(target="tflm", decode={"ram": "8 KB"}, least_snr_db=-100.0), x)


def test_the_file_of_a_conversion_is_the_plain_one_and_its_cost_that_of_the_decoded_one(made):
    own = made.on_target.cost.content
    assert own == decoded(made.content, made.prepared.export.decode).content
    assert len(own) < len(made.content)
    assert "TFLM_DECODE" not in [op.name for op in read(made.content).ops]
    decoding = made.on_target.decoding
    assert decoding.plain["flash_bytes"] == len(made.content)
    assert made.figures["flash_bytes"] == decoding.decoded["flash_bytes"] == len(own)
    assert made.figures["arena_bytes"] == decoding.decoded["arena_bytes"] > decoding.plain["arena_bytes"]


def test_each_kernel_has_its_layer_and_its_coding(made):
    wide, head = made.on_target.decoding.kernels
    assert (wide.layer, wide.op, wide.bytes) == ("wide", "FULLY_CONNECTED", 64 * 48)
    assert wide.coding
    assert wide.stored_bytes < wide.bytes
    assert (head.layer, head.coding, head.stored_bytes) == ("head", "", head.bytes)
    said = decoding_sentences(made.on_target.decoding)
    assert any("AddDecode()" in line for line in said)
    assert any("equal in every bit" in line for line in said)
    assert any(line.startswith(f"Needs the coding {wide.coding}: ") for line in said)


def test_the_decoded_file_is_written_beside_the_file(made, tmp_path):
    found = {type(detail): detail for detail in device_details(made, tmp_path / "model.tflite")}
    [file] = found[DeviceFiles].files
    content = (tmp_path / "model.tflm.tflite").read_bytes()
    assert content == made.on_target.cost.content
    assert (file.target, file.file, file.bytes) == ("tflm", "model.tflm.tflite", len(content))
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert found[DecodedKernels] == made.on_target.decoding


def test_the_stage_benchmark_measures_the_file_that_is_flashed(made, tmp_path):
    file = tmp_path / "model.tflite"
    file.write_bytes(made.content)
    given = Artifact("a", "quantize", tmp_path, file.name, "tflite", "k", details=device_details(made, file))
    test = SimpleNamespace(few=lambda count: SimpleNamespace(x=made.prepared.few["x"][:count]))
    context = SimpleNamespace(data=SimpleNamespace(test=test))
    row, notes = _on_target(given, Export(target="tflm"), context)
    assert {name: row.figures[name] for name in ("flash_bytes", "arena_bytes")} == {
        name: made.on_target.decoding.decoded[name] for name in ("flash_bytes", "arena_bytes")
    }
    assert "tflm_max_error" in row.figures
    assert notes == ("of a it is model.tflm.tflite, whose kernels are decoded",)


def test_what_decoding_costs_is_said_beside_what_it_saves_and_once(made, tmp_path):
    plain, after = made.on_target.decoding.plain, made.on_target.decoding.decoded
    said = decoding_words(made.on_target.decoding)
    assert f"tensor arena {plain['arena_bytes']:,.0f} → {after['arena_bytes']:,.0f} B, a run takes " in said
    [note] = made.on_target.cost.notes
    assert note.endswith(f"{plain['arena_bytes']:,.0f} -> {after['arena_bytes']:,.0f} B of arena")
    assert note not in made.notes
    file = tmp_path / "model.tflite"
    details = device_details(made, file)
    shown = words(Artifact("a", "quantize", tmp_path, file.name, "tflite", "k", (), made.figures, details=details))
    assert sum(f"tensor arena {after['arena_bytes']:,.0f} B" in one for one in shown) == 1
    assert said in shown


def test_json_has_the_kernels(made):
    assert conversion_record(made)["decoded_kernels"] == made.on_target.decoding.to_json()
