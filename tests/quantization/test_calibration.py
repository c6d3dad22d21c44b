"""Ranges of activations against litert-quantizer's own calibration and NumPy, and int8 against TensorFlow's own."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from litert_quantizer import calibrator, quantizer, recipe
from litert_quantizer.utils import qsv_utils

import tfopt
from tests.quantization import zoo
from tfopt.output_capture import captured
from tfopt.quantization import convert
from tfopt.quantization.calibration import ActivationExtremes, observe_extremes, widen_empty_ranges
from tfopt.quantization.float_conversion import to_float
from tfopt.tflite.file import Op, Tensor, read
from tfopt.tflite.interpreter import Runner


def own_calibration(content, feed):
    """The ranges that litert-quantizer finds with its own calibrator: all that was seen of each tensor."""
    engine = quantizer.Quantizer(bytearray(content))
    engine.load_quantization_recipe(recipe.static_wi8_ai8())
    own = calibrator.Calibrator(bytearray(content), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    count = len(next(iter(feed.values())))
    each = [{name: array[i : i + 1] for name, array in feed.items()} for i in range(count)]
    with captured():
        own.calibrate({"serving_default": each}, engine._recipe_manager)
    return own.get_model_qsvs()


@pytest.mark.parametrize("name", ["dense", "conv2d", "residual", "depthwise", "swish", "attention", "lists in and out"])
def test_ranges_are_those_of_litert_quantizers_own_calibration_tensor_for_tensor(built, converted, name):
    feed = zoo.by_name(*built(name))
    content = converted.prepared(name).source.content
    mine, theirs = observe_extremes(content, feed).ranges(), own_calibration(content, feed)
    activations = {t.name for op in read(content).ops for t in op.outputs if t.dtype == "FLOAT32"}
    assert activations | set(feed) == set(mine)
    for tensor in set(mine) & set(theirs):
        for end in ("min", "max"):
            np.testing.assert_array_equal(np.ravel(mine[tensor][end]), np.ravel(theirs[tensor][end]), err_msg=tensor)
    assert activations <= set(theirs)


@pytest.mark.parametrize("batch", [1, 4, 5, None])
def test_ranges_are_the_same_whatever_the_batch_of_the_file(batch):
    """The convolution of a larger batch may round in another order."""
    model, samples = zoo.chain((8, 8, 3), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3))
    feed = zoo.by_name(model, samples)
    one, other = (observe_extremes(to_float(model, samples, n).content, feed).ranges() for n in (1, batch))
    for mine, theirs in zip(one.values(), other.values(), strict=True):
        np.testing.assert_allclose([mine["min"], mine["max"]], [theirs["min"], theirs["max"]], rtol=1e-5, atol=1e-6)


def extremes():
    generator = np.random.default_rng(0)
    low, high = -generator.gamma(2, size=(150, 3)), generator.gamma(2, size=(150, 3))
    high[7] *= 30
    return ActivationExtremes(("a", "b", "c"), low.astype(np.float32), high.astype(np.float32))


def test_minmax_ranges_cover_all_that_was_seen():
    found = extremes()
    for i, name in enumerate(found.names):
        assert found.ranges()[name]["min"].item() == found.low[:, i].min()
        assert found.ranges()[name]["max"].item() == found.high[:, i].max()


def test_percentile_ranges_are_numpys_percentiles_of_the_samples_own_extremes():
    found = extremes()
    for i, name in enumerate(found.names):
        given = found.ranges("percentile")[name]
        assert given["min"].item() == np.percentile(found.low[:, i], 1, method="higher")
        assert given["max"].item() == np.percentile(found.high[:, i], 99, method="lower")


@pytest.mark.parametrize("count", [20, 64, 99, 150])
def test_percentile_ranges_leave_out_the_largest_of_however_many_samples(count):
    values = np.random.default_rng(count).permutation(np.arange(1, count + 1, dtype=np.float32))[:, None]
    given = ActivationExtremes(("a",), -values, values).ranges("percentile")["a"]
    assert (given["min"].item(), given["max"].item()) == (-(count - -(-count // 100)), count - -(-count // 100))


def test_percentile_ranges_of_a_model_leave_out_a_sample_that_stands_out():
    model, samples = zoo.chain((4,), layers.Dense(6, activation="relu"), layers.Dense(3))
    ordinary = samples.copy()
    samples[0] *= 50
    by_all = convert(model, "int8", samples)
    with pytest.warns(tfopt.TfoptWarning, match="noisy"):  # of the sample that is left out
        by_percentile = convert(model, "int8", samples, ranges="percentile", least_snr_db=0)
    few, many = zoo.error(by_percentile, model, ordinary[1:]), zoo.error(by_all, model, ordinary[1:])
    assert few < many / 2
    assert zoo.error(by_percentile, model, samples[:1]) > zoo.error(by_all, model, samples[:1])


# int8 against TensorFlow's own


def tensorflows_own_int8(model, samples):
    """TFLiteConverter's post-training quantization of the same model with the same samples, as an independent check."""
    specs = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name=tensor.name) for tensor in model.inputs]
    function = tf.function(lambda x: model(x, training=False))
    with captured():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(*specs)])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        return converter.convert()


def run_by_hand(content, x):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for sample in x:
        scale, zero_point = taken["quantization"]
        quantized = np.clip(np.rint(sample[None] / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(taken["index"], quantized)
        interpreter.invoke()
        scale, zero_point = given["quantization"]
        outputs.append((interpreter.get_tensor(given["index"]).astype(np.float32) - zero_point) * scale)
    return np.concatenate(outputs)


def test_int8_is_as_close_to_keras_as_tensorflows_own_int8(built, converted, record_property):
    """The mean error over that of TFLiteConverter's file: on the calibration samples, and on as many that neither has
    seen.
    """
    ratios = {}
    for name in ("conv2d", "residual", "nested", "swish", "attention", "depthwise", "batch normalization"):
        model, samples = built(name)
        seen, unseen = samples[:24], samples[24:]
        prepared = replace(converted.prepared(name), samples=zoo.by_name(model, seen))
        mine, theirs = prepared.quantized(), tensorflows_own_int8(model, seen)
        for which, x in (("seen", seen), ("unseen", unseen)):
            exact = model(x).numpy()
            error, bar = (np.abs(run_by_hand(content, x) - exact).mean() for content in (mine, theirs))
            assert error > 0
            ratios[name, which] = error / bar
    record_property("ratios", str(ratios))
    print(ratios)
    assert np.median(list(ratios.values())) <= 1.1
    assert max(ratios.values()) <= 1.5


def test_what_was_always_zero_has_a_range_that_litert_can_work_with():
    inputs = layers.Input((8,))
    first, negative, nearly = layers.Dense(8), layers.Dense(8), layers.Dense(8)
    h = first(inputs)
    nothing, little = layers.Add()([h, negative(inputs)]), layers.Add()([h, nearly(inputs)])
    negative.kernel.assign(-first.kernel)
    nearly.kernel.assign(-(1 - 1e-4) * first.kernel)
    model = keras.Model(inputs, [layers.Dense(4)(part) for part in (h, nothing, little)])
    x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    content = convert(model, "int8", calibration=x)
    for given, expected in zip(Runner(content)(x).values(), model.predict(x, verbose=0), strict=True):
        assert np.abs(given - expected).max() < 0.1 * max(np.abs(expected).max(), 1)


def test_ranges_of_nothing_are_those_of_what_is_read():
    def tensor(name):
        return Tensor(name, "FLOAT32", (1,), 0, 0, 0, 0, False)

    ops = [Op("SUB", (tensor("a"), tensor("b")), (tensor(name),)) for name in ("c", "five", "little", "positive")]
    ops.append(Op("RESHAPE", (tensor("c"),), (tensor("d"),)))
    ends = {"a": (-4, 4), "b": (0, 2), "c": (0, 0), "d": (0, 1e-9), "five": (5, 5), "little": (0, 1e-4)}
    ends["positive"] = (0, 0.01)
    given = {name: {"min": np.full((1, 1), low), "max": np.full((1, 1), high)} for name, (low, high) in ends.items()}
    found = {
        name: (float(e["min"].item()), float(e["max"].item())) for name, e in widen_empty_ranges(ops, given).items()
    }
    assert found == {**ends, "c": (-4, 4), "d": (-4, 4), "little": (-8 / 2**13, 8 / 2**13)}


def test_a_sum_that_is_always_five_is_five():
    inputs = layers.Input((8,))
    z = layers.Dense(8)(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.Add()([z, 5.0 - z])))
    x = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
    [given] = Runner(convert(model, "int8", calibration=x))(x).values()
    np.testing.assert_allclose(given, model.predict(x, verbose=0), atol=0.2)
