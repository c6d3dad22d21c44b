"""Scales that are chosen: one a kernel where a target stores that in fewer bytes, or where the file bears it."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from tfopt.callbacks import QuantizationAware
from tfopt.errors import InputError
from tfopt.quantization import convert, quantize_aware, scale_choice
from tfopt.quantization.conversion import convert_with_notes
from tfopt.quantization.preparation import prepare
from tfopt.quantization.scale_choice import with_chosen_scales
from tfopt.recipe.device_cost import DeviceCost
from tfopt.recipe.export import Export
from tfopt.recipe.figure import Figure, by_name
from tfopt.recipe.target import TARGETS
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read


def scales(content):
    return max(tensor.scales for op in read(content).ops for tensor in op.kernels)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(32, 24)).astype(np.float32)


def network(density):
    keras.utils.set_random_seed(3)
    net = keras.Sequential([layers.Input((24,)), layers.Dense(16, activation="relu"), layers.Dense(4)])
    kernel = net.layers[0].kernel
    mask = np.random.default_rng(1).random(kernel.shape) < density
    kernel.assign(kernel.numpy() * mask)
    return net


@pytest.fixture
def board(monkeypatch):
    """A target that stores a file in as many bytes as `cost` says of the number of scales of its kernels."""

    def made(cost=lambda scales: 1000.0 + scales, coding=np.count_nonzero):
        target = replace(
            TARGETS["int_only"],
            name="board",
            cost=lambda content, export: DeviceCost({"stored_bytes": cost(scales(content))}),
            figures=by_name(Figure("stored_bytes", "stored", "bytes", "size")),
            size="stored_bytes",
            coding=lambda export: coding,
        )
        monkeypatch.setattr(TARGETS, "_found", {**dict(TARGETS.items()), "board": target})
        return lambda density, x, **settings: prepare(network(density), Export(target="board", **settings), x)

    return made


def test_one_scale_a_kernel_is_taken_where_that_is_smaller(board, x):
    found = with_chosen_scales(board()(0.3, x))
    assert scales(found.file) == 1
    assert found.notes[-1] == "scales: one a kernel (stored bytes 1,001; one for each channel: 1,016)"


def test_a_scale_for_each_channel_stays_where_it_is_no_larger(board, x):
    found = with_chosen_scales(board(lambda scales: 1000.0)(0.3, x))
    assert scales(found.file) == 16
    assert "scales: one for each channel (stored bytes 1,000; one a kernel: 1,000)" in found.notes


def test_a_file_that_is_too_noisy_or_loses_the_metric_is_not_taken(board, x, monkeypatch):
    asked = []
    prepared = board()(0.3, x)
    found = with_chosen_scales(prepared, lambda content: asked.append(scales(content)) or False)
    assert asked == [1]
    assert scales(found.file) == 16
    assert "one a kernel was too noisy, did not keep the metric (stored bytes 1,001" in found.notes[-1]
    monkeypatch.setattr(scale_choice, "LEAST_SNR_DB", 300.0)
    found = with_chosen_scales(board()(0.3, x))
    assert scales(found.file) == 16
    assert "too noisy, SNR " in found.notes[-1]


@pytest.mark.parametrize("why", ["dense", "asked for", "stored as they are"])
def test_what_nobody_asked_about_stays(board, x, why):
    prepared = board(coding=None if why == "stored as they are" else np.count_nonzero)(
        1.0 if why == "dense" else 0.3, x, **({"scales": "channel"} if why == "asked for" else {})
    )
    assert with_chosen_scales(prepared) is prepared


# Fewest scales


@pytest.fixture(scope="module")
def quiet(x):
    """Samples whose first value is near 0."""
    return x * np.where(np.arange(24) == 0, 0.01, 1).astype(np.float32)


def uneven():
    """A model with a weight that is far larger than the others: one scale rounds those coarsely."""
    keras.utils.set_random_seed(4)
    net = keras.Sequential([layers.Input((24,)), layers.Dense(16, activation="relu"), layers.Dense(8), layers.Dense(4)])
    kernel = net.layers[0].kernel.numpy()
    kernel[:, 3] = np.where(np.arange(24) == 0, 6, 0)
    net.layers[0].kernel.assign(kernel)
    return net


def kernels(content):
    """The stored integers and scales of the kernels `(outputs, inputs)`, from the first layer on."""
    model = flatbuffer.parse(content)
    tensors = (t for t in model.subgraphs[0].tensors if t.type == schema.TensorType.INT8 and len(t.shape) == 2)
    stored = [t for t in tensors if model.buffers[t.buffer].data is not None]
    found = [(model.buffers[t.buffer].data.view(np.int8).reshape(t.shape), t.quantization.scale) for t in stored]
    return sorted(found, key=lambda kernel: -len(kernel[0]))


def test_one_scale_is_taken_for_the_kernels_that_bear_it(quiet):
    model = uneven()
    fewest, channel, tensor = (
        convert_with_notes(model, Export(scales=scales), quiet) for scales in ("fewest", "channel", "tensor")
    )
    assert [len(own) for _, own in kernels(fewest.content)] == [16, 1, 1]
    assert len(fewest.content) < len(channel.content) - 4 * 2 * (7 + 3)
    assert len(tensor.content) < len(fewest.content)
    before, after, least = (made.figures["calibration_snr_db"] for made in (channel, fewest, tensor))
    assert after > before - 2
    assert least < before - 6
    [note] = [note for note in fewest.notes if note.startswith("scales: ")]
    saved = len(channel.content) - len(fewest.content)
    assert note.startswith(f"scales: one for all channels in 2 of 3 kernels, {saved:,} B fewer, SNR ")


def test_a_kernel_of_one_scale_is_rounded_to_127_steps_of_its_largest_weight(quiet):
    """Jacob et al., arXiv:1712.05877, section 3: symmetric weights, by NumPy."""
    model = uneven()
    for layer, (integers, found) in zip(
        model.layers[1:], kernels(convert(model, "int8", quiet, scales="fewest"))[1:], strict=True
    ):
        weights = layer.kernel.numpy().T
        step = np.abs(weights).max() / 127
        np.testing.assert_allclose(found, step, rtol=1e-6)
        np.testing.assert_allclose(integers, weights / step, atol=0.5 + 1e-3)


def test_fewest_scales_that_lose_the_metric_are_not_taken(quiet):
    asked = []
    prepared = prepare(uneven(), Export(scales="fewest"), quiet)
    found = with_chosen_scales(prepared, lambda content: asked.append(len(content)) or False)
    assert len(asked) == 1
    assert [len(own) for _, own in kernels(found.file)] == [16, 8, 4]
    assert "scales: one for each channel; one for all channels in 2 of 3 kernels" in found.notes[-1]
    assert found.notes[-1].endswith("did not keep the metric")
    kept = with_chosen_scales(prepared, lambda content: True)
    assert [len(own) for _, own in kernels(kept.file)] == [16, 1, 1]


def test_rules_and_shared_values_are_kept_by_fewest_scales(quiet):
    """A layer in float has no scale, and one of shared values has one in any case: neither is tried."""
    model = uneven()
    model.layers[1].kernel.assign(np.sign(model.layers[1].kernel.numpy()) * 0.25)
    rules = [{"layers": model.layers[2].name, "to": "float"}]
    found = with_chosen_scales(prepare(model, Export(scales="fewest", rules=rules), quiet))
    assert found.notes[-1].startswith("scales: one for all channels in 0 of 1 kernels, 0 B fewer")
    assert found.file == prepare(model, Export(rules=rules), quiet).file


@pytest.mark.parametrize("rounding", ["gptq", "descent"])
def test_fewest_scales_go_with_integers_that_are_chosen_together(quiet, rounding):
    model = uneven()
    made = convert_with_notes(model, Export(scales="fewest", rounding=rounding), quiet)
    assert [len(own) for _, own in kernels(made.content)] == [16, 1, 1]
    plain = convert_with_notes(model, Export(scales="fewest"), quiet)
    assert made.figures["calibration_snr_db"] > plain.figures["calibration_snr_db"] - 1


def test_fewest_scales_are_for_files_that_compute_in_integers(quiet, one_line):
    with pytest.raises(InputError, match="scales: fewest is for modes that compute in integers") as caught:
        convert(uneven(), "dynamic", quiet, scales="fewest")
    one_line(caught)
    for train in (quantize_aware, lambda model, mode, x, scales: QuantizationAware(x, mode, scales=scales)):
        with pytest.raises(InputError, match="scales: fewest is chosen for finished weights") as caught:
            train(uneven(), "int8", quiet, scales="fewest")
        one_line(caught)


def test_a_kernel_of_another_precision_has_a_scale_for_each_channel_again(quiet):
    """What 8 bits bear with one scale 4 bits do not, and nobody has looked."""
    chosen = with_chosen_scales(prepare(uneven(), Export(scales="fewest"), quiet))
    assert [len(own) for _, own in kernels(chosen.quantized())] == [16, 1, 1]
    at = {tensor.shape[0]: index for index, op in enumerate(chosen.source.ops) for tensor in op.kernels}
    content = chosen.quantized({at[8]: "int4"})
    stored = [t for t in read(content).tensors if len(t.shape) == 2 and t.parameter]
    assert {t.shape[0]: (t.dtype, t.scales) for t in stored} == {16: ("INT8", 16), 8: ("INT4", 8), 4: ("INT8", 1)}
