"""One scale for all channels of a kernel: in those that the file bears it in, and in no others."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from tfopt.callbacks import QuantizationAware
from tfopt.errors import ConversionError, InputError
from tfopt.quantization import convert, fewest_scales, prepared_model, quantize_aware
from tfopt.quantization.conversion import convert_with_notes, finish
from tfopt.quantization.noise import Noise
from tfopt.quantization.preparation import prepare
from tfopt.quantization.scale_choice import with_chosen_scales
from tfopt.quantization.unrolling import unroll_if_better
from tfopt.recipe.export import Export
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(32, 24)).astype(np.float32)


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


def scales(content):
    """How many scales each kernel of a file has, by the shape of the kernel."""
    return {tensor.shape: tensor.scales for op in read(content).ops for tensor in op.kernels}


def note(made):
    [found] = [note for note in made.notes if note.startswith("scales: ")]
    return found


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
    assert after > before - 1.5  # of 8 samples, where the decibel is one of all
    assert least < before - 6
    saved = len(channel.content) - len(fewest.content)
    assert note(fewest).startswith(f"scales: one for all channels in 2 of 3 kernels tried, {saved:,} B fewer, at ")


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
    assert "scales: as with auto; one for all channels in 2 of 3 kernels" in found.notes[-1]
    assert found.notes[-1].endswith("does not keep the metric")
    kept = with_chosen_scales(prepared, lambda content: True)
    assert [len(own) for _, own in kernels(kept.file)] == [16, 1, 1]


def test_rules_and_shared_values_are_kept_by_fewest_scales(quiet):
    """A layer in float has no scale, and one of shared values has one in any case: neither is tried."""
    model = uneven()
    model.layers[1].kernel.assign(np.sign(model.layers[1].kernel.numpy()) * 0.25)
    rules = [{"layers": model.layers[2].name, "to": "float"}]
    found = with_chosen_scales(prepare(model, Export(scales="fewest", rules=rules), quiet))
    assert found.notes[-1] == "scales: as with auto; no kernel that saves enough bears one for all"
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
        with pytest.raises(InputError, match="fewest is chosen for finished weights") as caught:
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


def test_a_shared_kernel_is_of_one_scale_everywhere_or_nowhere(quiet, monkeypatch):
    keras.utils.set_random_seed(5)
    inputs = layers.Input((24,))
    shared = layers.Dense(24, activation="relu")
    model = keras.Model(inputs, layers.Dense(4)(shared(shared(inputs))))
    monkeypatch.setattr(fewest_scales, "LOST_DB", 60.0)
    chosen = with_chosen_scales(prepare(model, Export(scales="fewest"), quiet))
    assert scales(chosen.file) == {(24, 24): 1, (4, 24): 1}
    [first, second] = [i for i, op in enumerate(chosen.source.ops) if op.kernels and op.kernels[0].shape == (24, 24)]
    assert {first, second} <= chosen.one_scale
    mixed = chosen.quantized({first: "float"})
    assert {tensor.scales for op in read(mixed).ops for tensor in op.kernels if tensor.shape == (24, 24)} <= {0, 24}


def test_every_output_is_held_to_a_decibel(quiet, monkeypatch):
    """An output that is noisy anyway does not stand for one that is not."""
    keras.utils.set_random_seed(6)
    inputs = layers.Input((24,))
    fine, noisy = layers.Dense(16, name="fine"), layers.Dense(16, name="noisy")
    model = keras.Model(inputs, [fine(inputs), noisy(inputs)])
    kernel = fine.kernel.numpy()
    kernel[:, 3] = np.where(np.arange(24) == 0, 8, 0)
    fine.kernel.assign(kernel)
    noisy.bias.assign(np.full(16, 100))  # whose grid is coarse, and the error of its kernel lost in it
    chosen = with_chosen_scales(prepare(model, Export(scales="fewest"), quiet))
    assert len(chosen.one_scale) == 1
    assert chosen.source.ops[min(chosen.one_scale)].outputs[0].name.startswith("noisy")
    monkeypatch.setattr(fewest_scales, "LOST_DB", 60.0)
    assert len(with_chosen_scales(prepare(model, Export(scales="fewest"), quiet)).one_scale) == 2


def test_a_file_is_not_made_noisy_or_refused_by_fewest_scales(quiet):
    """The ratio that a file is refused by is measured on a few samples, where it may be another."""
    model = uneven()
    plain, fewest = (convert_with_notes(model, Export(scales=own), quiet) for own in ("channel", "fewest"))
    ratios = [made.figures["calibration_snr_db"] for made in (plain, fewest)]
    assert ratios[0] > ratios[1]
    least = sum(ratios) / 2
    held = convert_with_notes(model, Export(scales="fewest", least_snr_db=least), quiet)
    assert held.figures["calibration_snr_db"] > least
    assert len(held.content) < len(plain.content)


def test_kernels_of_which_the_quantizer_refuses_one_scale_keep_theirs(quiet, monkeypatch):
    prepared = prepare(uneven(), Export(scales="fewest"), quiet)
    own = type(prepared).quantized

    def refuses(model, *given, **settings):
        if any(model.source.ops[i].kernels[0].shape == (8, 16) for i in model.one_scale):
            raise ConversionError("the quantizer refuses the model in mode int8.")
        return own(model, *given, **settings)

    monkeypatch.setattr(type(prepared), "quantized", refuses)
    assert scales(with_chosen_scales(prepared).file) == {(16, 24): 16, (8, 16): 8, (4, 8): 1}


def test_what_would_save_next_to_nothing_is_not_tried(quiet, monkeypatch):
    monkeypatch.setattr(fewest_scales, "LEAST_SHARE", 8 * 6 / len(convert(uneven(), "int8", quiet)))
    found = with_chosen_scales(prepare(uneven(), Export(scales="fewest"), quiet))
    assert scales(found.file) == {(16, 24): 16, (8, 16): 1, (4, 8): 4}


@pytest.mark.parametrize("name", ["depthwise", "residual", "attention", "lstm unrolled", "lists in and out"])
@pytest.mark.parametrize("mode", ["int8", "int16x8", "int4"])
@pytest.mark.sample(6)
def test_models_of_every_kind_are_smaller_or_as_they_were(converted, name, mode):
    plain = converted(name, mode)
    prepared = unroll_if_better(converted.prepared(name, mode, scales="fewest"))
    ready = with_chosen_scales(prepared)
    fewest = finish(ready, ready.file)
    assert (len(fewest.content) < len(plain.content)) == bool(ready.one_scale)
    assert ("one for all channels in" in note(fewest)) == bool(ready.one_scale)
    noise = Noise(prepared.source.content, prepared.masks.clipped(prepared.samples))
    before, after = (noise.ratios(model.quantized()) for model in (prepared, ready))
    assert all(after[output] >= ratio - fewest_scales.LOST_DB for output, ratio in before.items())


@pytest.mark.parametrize(("layer", "shape"), [(layers.DepthwiseConv2D(3), (1, 3, 3, 16)), (layers.Conv2D(16, 3), None)])
def test_kernels_of_convolutions_have_one_scale_too(layer, shape):
    """Of alike weights in each channel, which a scale for each would round hardly better."""
    keras.utils.set_random_seed(7)
    model = keras.Sequential([layers.Input((6, 6, 16)), layer, layers.Flatten(), layers.Dense(4)])
    images = np.random.default_rng(1).normal(size=(32, 6, 6, 16)).astype(np.float32)
    found = scales(convert(model, "int8", images, scales="fewest"))
    assert found[shape or (16, 3, 3, 16)] == 1
    assert scales(convert(model, "int8", images))[shape or (16, 3, 3, 16)] == 16


def test_ranges_are_observed_once(quiet, monkeypatch):
    seen = []
    own = prepared_model.observe_extremes
    monkeypatch.setattr(prepared_model, "observe_extremes", lambda *given: seen.append(1) or own(*given))
    convert(uneven(), "int8", quiet, scales="fewest")
    assert len(seen) == 1


def test_a_file_by_tfliteconverter_keeps_its_scales(quiet):
    prepared = prepare(uneven(), Export(scales="fewest"), quiet)
    other = type(prepared)(**{**{n: getattr(prepared, n) for n in prepared.__dataclass_fields__}, "converted": b"TFL3"})
    found = with_chosen_scales(other)
    assert found.one_scale == frozenset()
    assert found.notes[-1] == "scales: TFLiteConverter made the file, which takes no other than its own"
