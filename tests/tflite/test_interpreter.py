import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from tests.quantization.shared_conversions import Conversions
from tfopt.errors import ConversionError, DataError, ModelError
from tfopt.output_capture import captured
from tfopt.quantization import convert
from tfopt.tflite import flatbuffer
from tfopt.tflite import interpreter as interpreter
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner

MODES = ("float32", "float16", "int8")


def samples(count=24):
    return np.random.default_rng(0).normal(size=(count, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(5, bias_initializer="ones"),
        ]
    )


@pytest.fixture(scope="module")
def converted(model):
    """Conversions of the model, by mode and other settings."""
    return functools.partial(Conversions(lambda name: (model, samples())), "model")


@pytest.fixture(scope="module")
def files(converted):
    return {mode: converted(mode).content for mode in MODES}


@pytest.fixture(scope="module")
def two_sided():
    """A float file of two inputs and two outputs, and its model."""
    keras.utils.set_random_seed(4)
    b, a = layers.Input((2,), name="b"), layers.Input((3,), name="a")
    z, y = layers.Dense(2, name="z")(b), layers.Dense(4, name="y")(layers.Concatenate()([a, b]))
    both = keras.Model([b, a], [z, y])
    return both, convert(both, "float32")


def interpreter_of(content):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    return interpreter


# In and out


@pytest.mark.parametrize("mode", ["float32", "float16"])
def test_a_float_file_gives_what_keras_gives(files, model, mode):
    [output] = Runner(files[mode])(samples(5)).values()
    np.testing.assert_allclose(output, model(samples(5)), atol=1e-5 if mode == "float32" else 5e-3)


def test_an_int8_file_is_fed_and_read_in_its_own_units(files):
    """The same run by hand, with the formulas q = round(x / s) + z and x = (q - z) * s in NumPy."""
    interpreter = interpreter_of(files["int8"])
    [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = taken["quantization"]
    expected = []
    for sample in samples(6):
        quantized = np.clip(np.rint(sample[None] / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(taken["index"], quantized)
        interpreter.invoke()
        raw = interpreter.get_tensor(given["index"]).astype(np.float64)
        expected.append((raw - given["quantization"][1]) * given["quantization"][0])
    [output] = Runner(files["int8"])(samples(6)).values()
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, np.concatenate(expected), rtol=1e-5)


def test_values_beyond_the_range_are_clipped_and_do_not_wrap(files):
    runner = Runner(files["int8"])
    [far], [farther] = runner(samples(2) * 1e4).values(), runner(samples(2) * 1e6).values()
    np.testing.assert_array_equal(far, farther)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.float64])
def test_samples_of_any_dtype_are_in_the_units_of_the_float_model(files, dtype):
    runner, x = Runner(files["int8"]), np.arange(64).reshape(1, 8, 8, 1) % 3
    [a], [b] = runner(x.astype(dtype)).values(), runner(x.astype(np.float32)).values()
    np.testing.assert_array_equal(a, b)


def test_samples_run_one_by_one_as_they_run_together(files):
    runner, x = Runner(files["int8"]), samples(4)
    [together] = runner(x).values()
    alone = [next(iter(runner(x[i : i + 1]).values())) for i in range(4)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_doubles_and_integers_are_cast_to_the_inputs_dtype(files):
    runner, x = Runner(files["float32"]), np.arange(64).reshape(1, 8, 8, 1)
    outputs = [next(iter(runner(x.astype(dtype)).values())) for dtype in (np.float32, np.float64, np.int64, np.uint8)]
    for output in outputs[1:]:
        np.testing.assert_array_equal(output, outputs[0])


def test_several_threads_give_the_same(files):
    [one], [two] = Runner(files["int8"])(samples(3)).values(), Runner(files["int8"], threads=2)(samples(3)).values()
    np.testing.assert_array_equal(one, two)


def test_several_inputs_and_outputs_go_by_name(two_sided):
    model, content = two_sided
    a, b = np.float32([[1, 2, 3], [4, 5, 6]]), np.float32([[7, 8], [9, 10]])
    outputs = Runner(content)({"a": a, "b": b})
    z, y = model([b, a])
    np.testing.assert_allclose(outputs["z"], z, rtol=1e-5)
    np.testing.assert_allclose(outputs["y"], y, rtol=1e-5)


def test_inputs_that_the_file_does_not_have_are_ignored(two_sided):
    a, b = np.ones((1, 3), np.float32), np.ones((1, 2), np.float32)
    runner = Runner(two_sided[1])
    np.testing.assert_array_equal(runner({"a": a, "b": b, "c": b})["y"], runner({"a": a, "b": b})["y"])


def test_a_missing_input_is_named_with_those_there_are(two_sided):
    with pytest.raises(DataError, match=r"'b'.*only a"):
        Runner(two_sided[1])({"a": np.ones((1, 3), np.float32)})


@pytest.mark.parametrize("shape", [(2, 7, 8, 1), (2, 8, 8, 3), (2, 64)])
def test_samples_of_another_shape_are_refused(files, shape):
    with pytest.raises(DataError):
        Runner(files["float32"])(np.zeros(shape, np.float32))


# Refusals


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" * 30], ids=["empty", "text", "zip"])
def test_a_file_of_another_kind_is_not_run(tmp_path, content):
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(ModelError, match="not a TFLite file"):
            Runner(source)


@pytest.mark.parametrize("kept", [0.01, 0.2, 0.5, 0.8, 0.98])
def test_a_file_cut_short_is_not_run(files, tmp_path, kept):
    path = tmp_path / "m.tflite"
    path.write_bytes(files["float32"][: int(len(files["float32"]) * kept)])
    with pytest.raises((ModelError, ConversionError), match=r"not a whole TFLite file|cannot load") as caught:
        Runner(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_of_ops_that_litert_lacks_is_refused_with_its_reason(files):
    model = flatbuffer.parse(files["float32"])
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"NotThere"
    content = flatbuffer.pack(model)
    assert "NotThere" in [op.name for op in read(content).ops]
    with pytest.raises(ConversionError, match="LiteRT") as caught:
        Runner(content)
    assert len(str(caught.value).splitlines()) == 1


def test_running_prints_nothing(files, capfd):
    Runner(files["int8"])(samples(2))
    assert capfd.readouterr() == ("", "")


# Batches


@pytest.mark.parametrize("count", [1, 4, 7])
@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_a_file_of_batch_4_takes_any_number_of_samples(converted, files, mode, count):
    content = converted(mode, batch=4).content
    assert [shape[0] for _, shape in read(content).inputs.values()] == [4]
    [got], [expected] = Runner(content)(samples(count)).values(), Runner(files[mode])(samples(count)).values()
    assert got.shape == (count, 5)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_the_rest_of_a_batch_of_4_is_filled_with_samples_and_left_out_again(model, converted):
    """Seven samples are two runs; what is in the second beside three samples shows nowhere."""
    runner, x = Runner(converted("float32", batch=4).content), samples(7)
    [seven], [eight] = runner(x).values(), runner(np.concatenate([x, x[:1] * 100])).values()
    np.testing.assert_array_equal(seven, eight[:7])
    np.testing.assert_allclose(seven, model(x), atol=1e-5)


@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_a_file_of_any_batch_takes_any_number_of_samples(converted, files, mode):
    runner = Runner(converted(mode, batch="any").content)
    assert [int(detail["shape_signature"][0]) for detail in runner.inputs.values()] == [-1]
    for count in (7, 1, 4):
        [got], [expected] = runner(samples(count)).values(), Runner(files[mode])(samples(count)).values()
        np.testing.assert_allclose(got, expected, atol=1e-6)


# State and delegates


@pytest.mark.slow
def test_the_state_of_a_fused_lstm_does_not_go_from_sample_to_sample():
    tf_keras.utils.set_random_seed(0)
    parts = [tf_keras.layers.Input((6, 3), batch_size=1), tf_keras.layers.LSTM(5), tf_keras.layers.Dense(2)]
    model = tf_keras.Sequential(parts)
    with captured():
        content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in [op.name for op in read(content).ops]
    x = np.random.default_rng(0).normal(size=(5, 6, 3)).astype(np.float32)
    [got] = Runner(content)(x).values()
    np.testing.assert_allclose(got, np.concatenate([model(x[i : i + 1]) for i in range(5)]), atol=1e-6)
    runner = interpreter_of(content).get_signature_runner()  # without a reset the state stays
    [name] = runner.get_input_details()
    stale = [next(iter(runner(**{name: x[i : i + 1]}).values())) for i in range(5)]
    assert np.abs(np.concatenate(stale) - got).max() > 1e-3


@pytest.mark.parametrize("mode", MODES)
def test_litert_without_its_delegate_gives_nearly_the_same(files, mode):
    [with_it], [without] = (Runner(files[mode], delegate=how)(samples(6)).values() for how in (True, False))
    step = Runner(files[mode]).outputs.popitem()[1]["quantization"][0] or 1e-5
    np.testing.assert_allclose(with_it, without, rtol=0, atol=1.01 * step)


def test_delegate_says_which_kernels_litert_takes(files, monkeypatch):
    asked = []

    def spy(**settings):
        asked.append(settings["experimental_op_resolver_type"].name)
        return Interpreter(**settings)

    monkeypatch.setattr(interpreter, "Interpreter", spy)
    Runner(files["float32"])
    Runner(files["float32"], delegate=False)
    assert asked == ["AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES"]
