"""The report on a file layer by layer, against the interpreter's own tensors and the bytes of the file."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from tests.quantization.shared_conversions import Conversions
from tfopt.quantization.conversion import Conversion
from tfopt.quantization.layer_report import layer_report
from tfopt.recipe.details.weights import QuantizationErrors, WeightsByLayer
from tfopt.recipe.modes import MODES
from tfopt.tflite.activations import activations
from tfopt.tflite.file import read
from tfopt.tflite.weights import StoredWeights

BYTES = {"float32": 4, "float16": 2, "dynamic": 1, "weight_only": 1, "int8": 1, "int16x8": 1, "int4": 0.5}


def samples():
    return np.random.default_rng(0).normal(size=(32, 8, 8, 2)).astype(np.float32)


def network():
    """A convolution with a folded normalization, and a layer whose kernel is half zeros."""
    keras.utils.set_random_seed(3)
    x = image = layers.Input((8, 8, 2), name="image")
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(8, 3, name="conv")(x))
    x = layers.MaxPooling2D(name="pool")(layers.ReLU(name="relu")(x))
    built = keras.Model(image, layers.Dense(5, bias_initializer="ones", name="head")(layers.Flatten(name="flat")(x)))
    kernel = built.get_layer("head").kernel
    values = np.random.default_rng(1).uniform(0.3, 1, kernel.shape)
    kernel.assign(np.where(np.arange(values.size).reshape(values.shape) % 2, values, 0))
    return built


@pytest.fixture(scope="module")
def converted():
    model = network()
    return Conversions(lambda name: (model, samples()))


@pytest.fixture(scope="module")
def reports(converted):
    return {mode: {type(one): one for one in layer_report(converted("network", mode))} for mode in MODES}


modes = pytest.mark.parametrize("mode", MODES)


@modes
def test_the_bytes_of_a_file_are_weights_scales_and_the_rest(converted, reports, mode):
    weights = reports[mode][WeightsByLayer]
    content = converted("network", mode).content
    assert weights.file_bytes == len(content)
    parameters = [t for t in read(content).tensors if t.parameter]
    assert sum(row.after.bytes for row in weights.rows) == sum(t.bytes for t in parameters)
    assert 0 < weights.overhead < len(content)
    [conv, head] = weights.rows
    assert (conv.layer, head.layer) == ("conv", "head")
    assert weights.largest is conv if conv.after.bytes > head.after.bytes else head
    assert head.after.kernels == head.before.kernels == 360
    assert head.after.zeros == head.before.zeros == 180
    assert head.before.bytes == 4 * 365
    assert head.after.bytes >= 360 * BYTES[mode]
    assert (head.after.scale_bytes > 0) == MODES[mode].weights.startswith("int")


@modes
def test_the_histogram_of_a_file_is_that_of_its_weights_in_the_units_of_the_model(converted, reports, mode):
    head = reports[mode][WeightsByLayer].rows[1]
    assert head.ends[1] == pytest.approx(float(network().get_layer("head").kernel.numpy().max()), rel=0.02)
    for figures in (head.before, head.after):
        assert sum(figures.histogram) == pytest.approx(0.5, abs=1e-3)
        middle = [i for i, share in enumerate(figures.histogram) if share]
        low = head.ends[0] + (head.ends[1] - head.ends[0]) * (middle[0] + 1) / len(figures.histogram)
        assert low >= 0.2  # the smallest weight that is not 0 is 0.3


@modes
def test_a_mode_that_quantizes_has_errors_that_grow_with_fewer_bits(reports, mode):
    if not MODES[mode].quantizes:
        assert QuantizationErrors not in reports[mode]
        return
    errors = reports[mode][QuantizationErrors]
    rows = {row.layer: row for row in errors.rows}
    assert [errors.rows[0].layer, errors.rows[-1].layer] == ["conv", "head"]
    assert errors.samples == 8
    assert rows["head"].weights_snr_db > 15
    assert all(row.output_snr_db > 10 for row in errors.rows if row.output_snr_db is not None)


def test_more_bits_are_less_noise(reports):
    least = {mode: min(r.output_snr_db for r in reports[mode][QuantizationErrors].rows) for mode in ("int4", "int8")}
    assert least["int4"] + 10 < least["int8"]
    [four, eight] = [reports[mode][QuantizationErrors].rows[-1].weights_snr_db for mode in ("int4", "int8")]
    assert four + 15 < eight


def test_the_error_of_weights_is_that_of_the_interpreters_tensors(converted, reports):
    conversion = converted("network", "int8")
    interpreter = Interpreter(model_content=conversion.made.content)
    kernel = network().get_layer("head").kernel.numpy().T
    [detail] = [d for d in interpreter.get_tensor_details() if list(d["shape"]) == list(kernel.shape)]
    scales = detail["quantization_parameters"]["scales"]
    values = interpreter.get_tensor(detail["index"]).astype(np.float64) * scales.reshape(-1, 1)
    np.testing.assert_allclose(StoredWeights(conversion.made.content)(detail["name"]), values, rtol=1e-6)
    expected = 10 * np.log10((kernel**2).sum() / ((kernel - values) ** 2).sum())
    assert reports["int8"][QuantizationErrors].rows[-1].weights_snr_db == pytest.approx(expected, abs=0.01)


def test_the_error_of_the_last_layer_is_that_of_the_files_outputs(converted, reports):
    conversion = converted("network", "int8")
    few = {name: array[:8] for name, array in conversion.prepared.samples.items()}
    from tfopt.tflite.interpreter import Runner

    [wanted] = Runner(conversion.prepared.source.content)(few).values()
    [got] = Runner(conversion.content)(few).values()
    expected = 10 * np.log10((wanted**2).sum() / ((wanted - got) ** 2).sum())
    assert reports["int8"][QuantizationErrors].rows[-1].output_snr_db == pytest.approx(expected, abs=0.01)


def test_activations_are_those_of_keras(converted):
    source = converted("network", "float32").prepared.source
    op = next(op for op in source.ops if op.name == "FULLY_CONNECTED")
    x = samples()[:3]
    found = activations(source.content, {"image": x}, {op.outputs[0].name, "nothing"})
    assert list(found) == [op.outputs[0].name]
    np.testing.assert_allclose(found[op.outputs[0].name], network().predict(x, verbose=0), atol=1e-4)


def test_a_file_that_nothing_runs_has_no_activations(converted):
    content = converted("network", "float32").prepared.source.content
    assert activations(content, {"image": np.zeros((1, 8, 8, 2), np.float32)}, ()) == {}
    assert activations(content[: len(content) // 2], {"image": np.zeros((1, 8, 8, 2), np.float32)}, ()) is None


def test_a_conversion_that_does_not_know_its_source_has_no_report(converted):
    made = converted("network", "int8")
    assert layer_report(Conversion(made.content, (), made.audit)) == []


def test_ids_of_tokens_and_loops_are_reported_without_their_integers():
    keras.utils.set_random_seed(1)
    words = layers.Input((6,), dtype="int32", name="words")
    x = layers.Embedding(20, 4, name="vectors")(words)
    model = keras.Model(words, layers.Dense(2, name="head")(layers.LSTM(5, name="memory")(x)))
    x = np.random.default_rng(0).integers(0, 20, (16, 6)).astype(np.int32)
    for mode in ("int8", "dynamic"):
        [weights, errors] = layer_report(Conversions(lambda name: (model, x))("words", mode))
        assert {"vectors", "head"} <= {row.layer for row in weights.rows}
        assert any(row.layer.startswith("memory") for row in weights.rows)
        assert all(np.isfinite(row.output_snr_db or 0.0) for row in errors.rows)


def test_the_weights_of_a_layer_that_is_a_loop_are_its_own():
    keras.utils.set_random_seed(1)
    steps = layers.Input((6, 4), name="steps")
    model = keras.Model(
        steps, layers.Dense(2, name="head")(layers.GRU(5, bias_initializer="glorot_uniform", name="memory")(steps))
    )
    x = np.random.default_rng(0).normal(size=(16, 6, 4)).astype(np.float32)
    conversion = Conversions(lambda name: (model, x))("steps", "float32")
    [weights, *_] = layer_report(conversion)
    assert any(op.graph for op in read(conversion.content).ops)
    found = {row.layer: row for row in weights.rows}
    cell = found["memory/gru_cell"]
    assert cell.after.parameters == 3 * 5 * (5 + 4 + 2) + 1  # kernels, both biases, and the one of 1 - update
    assert cell.after == cell.before
    parts = sum(row.after.bytes for row in weights.rows) + weights.constant_bytes
    assert parts == sum(tensor.bytes for tensor in read(conversion.content).tensors)
