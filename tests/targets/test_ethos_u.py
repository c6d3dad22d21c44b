"""Files compiled by Vela: its estimates against what is known of a net in closed form, and what is refused."""

import configparser
import hashlib
import importlib.util
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.errors import ConversionError, InputError
from tfopt.quantization.conversion import convert_with_notes
from tfopt.quantization.preparation import prepare
from tfopt.recipe.export import Export
from tfopt.recipe.target import TARGETS
from tfopt.targets.ethos_u import FAMILIES
from tfopt.targets.target_cost import device_file
from tfopt.tflite.file import read

needs_vela = pytest.mark.skipif(
    importlib.util.find_spec("ethosu") is None, reason="Vela is not installed (tfopt[ethos-u])"
)
NAME, MACS = "ethos-u55-128", 128
CONV, DENSE = 6 * 6 * 8 * 9, 6 * 6 * 8 * 10  # products of the two layers


def _build(*between):
    keras.utils.set_random_seed(0)
    parts = [layers.Conv2D(8, 3, activation="relu", name="stem"), *between, layers.Flatten()]
    return keras.Sequential([layers.Input((8, 8, 1)), *parts, layers.Dense(10, name="head")])


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).random((16, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def made(samples):
    """A small net in int8 for the accelerator."""
    return convert_with_notes(_build(), Export(target=NAME), samples)


@pytest.fixture(scope="module")
def pruned(samples):
    """The same with four of five weights zero."""
    model = _build()
    for layer in model.layers:
        for variable in layer.trainable_variables:
            if len(variable.shape) > 1:
                values = variable.numpy()
                variable.assign(np.where(np.abs(values) < np.quantile(np.abs(values), 0.8), 0, values))
    return convert_with_notes(model, Export(target=NAME), samples)


@needs_vela
def test_the_multipliers_of_each_layer_are_busy_for_as_long_as_its_products_take(made):
    busy = {layer.layer: layer.mac_utilization * layer.cycles * MACS for layer in made.on_target.layers}
    assert busy["stem"] == pytest.approx(CONV, rel=1e-6)
    assert busy["head"] == pytest.approx(DENSE, rel=1e-6)
    total = sum(layer.cycles for layer in made.on_target.layers)
    assert total == made.figures["total_cycles"] >= made.figures["npu_cycles"] > 0
    assert made.figures["npu_milliseconds"] == pytest.approx(total / 500e6 * 1e3, rel=1e-3)  # a clock of 500 MHz


@needs_vela
def test_zeros_pay_in_the_stream_of_weights_and_in_time(made, pruned):
    assert len(pruned.content) == len(made.content)
    for figure in ("encoded_weight_bytes", "compiled_bytes", "total_cycles"):
        assert pruned.figures[figure] < made.figures[figure]


@needs_vela
def test_the_compiled_file_lies_beside_the_plain_one_with_its_digest(made, tmp_path):
    file = tmp_path / "model.tflite"
    record = made.on_target.write(file)
    compiled = (tmp_path / record.file).read_bytes()
    assert record.file == "model.vela.tflite"
    assert record.sha256 == hashlib.sha256(compiled).hexdigest()
    assert record.bytes == len(compiled) == record.figures["compiled_bytes"]
    assert [op.name for op in read(compiled).ops] == ["ethos-u"]
    assert record.version == metadata.version("ethos-u-vela")
    assert f"Vela {record.version}'s estimate" in record.notes[0]
    assert "Ethos_U55_High_End_Embedded, memory Shared_Sram (the defaults)" in record.notes[0]
    assert record.notes[0] in made.notes


@needs_vela
def test_a_finished_file_costs_what_the_conversion_said(made):
    again = device_file(made.content, Export(target=NAME))
    assert again.figures == made.on_target.cost.figures
    assert [layer.cycles for layer in again.layers] == [layer.cycles for layer in made.on_target.layers]
    other = device_file(made.content, Export(target={NAME: {"memory": "Sram_Only"}}))
    assert other.figures["total_cycles"] < again.figures["total_cycles"]  # no flash to wait for
    assert "memory Sram_Only" in other.notes[0]


@needs_vela
def test_what_falls_to_the_cpu_is_refused_with_the_layer_or_allowed_and_said(samples, one_line):
    model = _build(layers.Reshape((36, 8)), layers.LayerNormalization(name="norm"))
    with pytest.raises(ConversionError) as caught:
        convert_with_notes(model, Export(target=NAME), samples)
    text = one_line(caught)
    assert f"target {NAME} leaves norm (" in text
    assert "Float32" in text
    assert text.endswith(f"allow the CPU: target: {{{NAME}: {{cpu: allow}}}}.")
    allowed = convert_with_notes(model, Export(target={NAME: {"cpu": "allow"}}), samples)
    assert [layer.layer for layer in allowed.on_target.layers if layer.on_cpu] == ["norm"]
    assert any(note.startswith(f"target {NAME} leaves norm (") for note in allowed.notes)


@needs_vela
@pytest.mark.parametrize(("mode", "words"), [("float32", "would run nothing"), ("int4", "kernels of 4 bits")])
def test_a_file_of_another_mode_is_one_line(samples, mode, words, one_line):
    content = convert_with_notes(_build(), Export(mode=mode), samples).content
    with pytest.raises(ConversionError, match=words) as caught:
        device_file(content, Export(target=NAME))
    assert one_line(caught).startswith(f"target {NAME} ")


def test_without_vela_nothing_is_computed(samples, monkeypatch, one_line):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        TARGETS[NAME].check_installed()
    assert one_line(caught).endswith("pip install 'tfopt[ethos-u]'.")


@needs_vela
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_memories_are_those_that_velas_own_configuration_has_for_a_system(family):
    """Constants are read, so that flash will do for them; activations are written too, which flash is not."""
    configuration = configparser.ConfigParser()
    [package] = importlib.util.find_spec("ethosu").submodule_search_locations
    assert configuration.read(Path(package, "config_files/Arm/vela.ini"))
    for system, memories in family.systems.items():
        ports = configuration[f"System_Config.{system}"]
        assert system.replace("_", "-").lower().startswith(f"{family.name}-")
        for name in memories:
            mode = configuration[f"Memory_Mode.{name}"]
            mode = configuration[mode["inherit"]] if "inherit" in mode else mode
            arena, constants = (ports[f"{mode[area]}_port".lower()] for area in ("arena_mem_area", "const_mem_area"))
            assert arena in ("Sram", "Dram")
            assert constants in ("Sram", "Dram", "OffChipFlash")


def test_each_accelerator_is_a_target_in_the_order_of_its_family():
    found = [name for name in TARGETS if name.startswith("ethos-u")]
    assert found == [f"{family.name}-{macs}" for family in FAMILIES for macs in family.macs]


@pytest.mark.slow
@needs_vela
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_system_and_memory_that_is_offered_compiles(family, made):
    [name, *_] = [f"{family.name}-{macs}" for macs in family.macs]
    for system, memories in family.systems.items():
        for memory in memories:
            found = device_file(made.content, Export(target={name: {"system": system, "memory": memory}}))
            assert found.figures["npu_milliseconds"] > 0


@pytest.mark.slow
@needs_vela
def test_layers_of_16_bits_among_8_stay_on_the_accelerator(samples):
    rules = [{"layers": "head", "to": "int16"}]
    export = Export(target=NAME, rules=rules)
    mixed = convert_with_notes(_build(), export, samples)
    assert not any(layer.on_cpu for layer in mixed.on_target.layers)
    assert prepare(_build(), export, samples).assigned.precisions


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch": "any"}, "Give batch a number"),
        ({"io": "float32"}, "Leave io out, or allow the CPU"),
        ({"rules": [{"layers": "head", "to": "float"}]}, "Let the rule lead to int16, or allow the CPU"),
        ({"rules": [{"layers": "head", "to": "int4"}]}, "Let the rule lead to int8"),
    ],
)
def test_settings_that_lead_to_the_cpu_or_crash_vela_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        Export(target=NAME, **settings)
    if "allow" in words:
        Export(target={NAME: {"cpu": "allow"}}, **settings)
