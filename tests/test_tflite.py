import gzip

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from tfopt.errors import ConversionError, DataError, ModelError
from tfopt.quantization import convert
from tfopt.tflite import Runner, _values, pack, read, with_signature

MODES = ("float32", "float16", "dynamic", "int8")


def samples(count=24):
    return np.random.default_rng(0).normal(size=(count, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    """A small network with zeros in its kernels."""
    keras.utils.set_random_seed(3)
    built = keras.Sequential(
        [layers.Input((8, 8, 1), name="image"), layers.Conv2D(8, 3, activation="relu"), layers.Flatten()]
    )
    built.add(layers.Dense(5, bias_initializer="ones"))
    for layer in (built.layers[0], built.layers[-1]):
        kernel = layer.kernel.numpy()
        kernel[np.random.default_rng(1).random(kernel.shape) < 0.6] = 0
        layer.kernel.assign(kernel)
    return built


@pytest.fixture(scope="module")
def files(model):
    """The model in every mode."""
    return {mode: convert(model, mode, samples()) for mode in MODES}


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


def kernel_arrays(model):
    return [weights for weights in model.get_weights() if weights.ndim > 1]


# Reading


@pytest.mark.parametrize("mode", MODES)
def test_sizes_are_those_of_the_file_and_of_gzip(files, mode):
    summary = read(files[mode])
    assert summary.bytes == len(files[mode])
    assert summary.gzip_bytes == len(gzip.compress(files[mode], 9))


@pytest.mark.parametrize("mode", MODES)
def test_a_path_reads_as_its_bytes_do(files, tmp_path, mode):
    (tmp_path / "m.tflite").write_bytes(files[mode])
    assert read(tmp_path / "m.tflite") == read(files[mode])


@pytest.mark.parametrize("mode", MODES)
def test_tensors_agree_with_what_the_interpreter_says_of_them(files, mode):
    """Dtype, shape, number of scales and zeros of every weight, by name."""
    interpreter = interpreter_of(files[mode])
    details = {detail["name"]: detail for detail in interpreter.get_tensor_details()}
    weights = [tensor for tensor in read(files[mode]).tensors if tensor.parameter]
    assert len(weights) >= 4
    for tensor in weights:
        detail = details[tensor.name]
        values = interpreter.get_tensor(detail["index"])
        zero_points = detail["quantization_parameters"]["zero_points"]
        assert np.dtype(detail["dtype"]).name == tensor.dtype.lower()
        assert tuple(detail["shape"]) == tensor.shape
        assert len(detail["quantization_parameters"]["scales"]) == tensor.scales
        assert (values.size, values.nbytes) == (tensor.size, tensor.bytes)
        assert int((values == (zero_points[0] if len(zero_points) else 0)).sum()) == tensor.zeros


@pytest.mark.parametrize("mode", MODES)
def test_every_parameter_of_the_model_is_counted_once(files, model, mode):
    assert read(files[mode]).parameters == model.count_params()


@pytest.mark.parametrize("mode", ["float32", "float16"])
def test_zeros_of_a_float_file_are_those_of_the_model(files, model, mode):
    zeros = sum(int((weights == 0).sum()) for weights in model.get_weights())
    summary = read(files[mode])
    assert summary.nonzero == model.count_params() - zeros


@pytest.mark.parametrize("mode", ["float32", "float16"])
def test_sparsity_is_the_share_of_zeros_in_the_kernels(files, model, mode):
    kernels = np.concatenate([kernel.ravel() for kernel in kernel_arrays(model)])
    assert read(files[mode]).sparsity == pytest.approx((kernels == 0).mean())


@pytest.mark.parametrize("mode", ["dynamic", "int8"])
def test_quantizing_adds_zeros_and_loses_none(files, model, mode):
    kernels = np.concatenate([kernel.ravel() for kernel in kernel_arrays(model)])
    added = read(files[mode]).sparsity - (kernels == 0).mean()
    assert 0 <= added < 0.02


def test_ops_come_in_order_with_their_weights(files):
    summary = read(files["float32"])
    assert [op.name for op in summary.ops] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert [len(op.weights) for op in summary.ops] == [2, 0, 2]
    assert summary.ops[0].weights[0].shape == (8, 3, 3, 1)


@pytest.mark.parametrize(
    ("mode", "floating"), [("float32", True), ("float16", True), ("dynamic", True), ("int8", False)]
)
def test_an_op_is_floating_if_it_computes_in_float(files, mode, floating):
    computing = [op for op in read(files[mode]).ops if op.name in ("CONV_2D", "FULLY_CONNECTED")]
    assert [op.floating for op in computing] == [floating] * 2


def test_ops_at_the_border_are_not_floating(model):
    names = {op.name: op.floating for op in read(convert(model, "int8", samples(), io="float32")).ops}
    assert (names["QUANTIZE"], names["DEQUANTIZE"]) == (False, False)


def test_shapes_of_a_reshape_are_not_parameters(files):
    others = [tensor for tensor in read(files["float32"]).tensors if not tensor.parameter]
    assert [tensor.dtype for tensor in others] == ["INT32"]


def test_inputs_and_outputs_are_those_of_the_signature(two_sided):
    summary = read(two_sided[1])
    assert summary.inputs == {"b": ("FLOAT32", (1, 2)), "a": ("FLOAT32", (1, 3))}
    assert summary.outputs == {"z": ("FLOAT32", (1, 2)), "y": ("FLOAT32", (1, 4))}


@pytest.mark.parametrize(("io", "dtype"), [("int8", "INT8"), ("float32", "FLOAT32")])
def test_the_dtype_of_the_inputs_is_read(model, io, dtype):
    summary = read(convert(model, "int8", samples(), io=io))
    assert list(summary.inputs.values()) == [(dtype, (1, 8, 8, 1))]
    assert list(summary.outputs.values()) == [(dtype, (1, 5))]


def test_a_model_without_kernels_has_no_sparsity():
    model = keras.Sequential([layers.Input((4,)), layers.ReLU()])
    summary = read(convert(model, "float32"))
    assert (summary.parameters, summary.sparsity) == (0, 0.0)


# Values and zeros of single tensors, by hand


def hand_made(data, dtype, shape, scale=(), zero_point=()):
    """A file of one ADD whose second input is a constant of given bytes."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(convert(adder(), "float32")), 0))
    graph = model.subgraphs[0]
    index = next(i for i in graph.operators[0].inputs if model.buffers[graph.tensors[i].buffer].data is not None)
    tensor = graph.tensors[index]
    model.buffers[tensor.buffer].data = np.frombuffer(data, np.uint8)
    tensor.type, tensor.shape = getattr(schema.TensorType, dtype), np.array(shape, np.int32)
    if scale:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.array(scale, np.float32)
        tensor.quantization.zeroPoint = np.array(zero_point, np.int64)
    [found] = [t for t in read(pack(model, 4096)).tensors if t.dtype == dtype and t.bytes == len(data)]
    return found


def adder():
    x = layers.Input((4,))
    return keras.Model(x, x + np.arange(4, dtype=np.float32))


@pytest.mark.parametrize(
    ("data", "dtype", "shape", "expected"),
    [
        (b"\x21\x43", "INT4", (4,), [1, 2, 3, 4]),
        (b"\x21\x03", "INT4", (3,), [1, 2, 3]),
        (b"\xf0\x87", "INT4", (2, 2), [0, -1, 7, -8]),
        (b"\xe4", "INT2", (4,), [0, 1, -2, -1]),
        (b"\xff\x00\x80", "INT8", (3,), [-1, 0, -128]),
        (b"\xff\x00", "UINT8", (2,), [255, 0]),
        (np.float16([0.5, -0.0]).tobytes(), "FLOAT16", (2,), [0.5, 0]),
        (np.int32([70000, 0]).tobytes(), "INT32", (2,), [70000, 0]),
        (b"", "INT4", (4,), []),
        (b"", "FLOAT32", (4,), []),
    ],
)
def test_bytes_of_every_dtype_become_values(data, dtype, shape, expected):
    assert _values(data, dtype, shape).tolist() == expected


def test_zeros_of_an_int8_tensor_are_those_at_its_zero_point():
    tensor = hand_made(np.int8([3, 0, 3, -5]).tobytes(), "INT8", (4,), scale=[0.1], zero_point=[3])
    assert (tensor.zeros, tensor.size, tensor.scales, tensor.parameter) == (2, 4, 1, True)


def test_zeros_of_an_int4_tensor_are_counted_per_value_and_not_per_byte():
    tensor = hand_made(b"\x10\x00\x02", "INT4", (5,), scale=[0.1], zero_point=[0])
    assert (tensor.zeros, tensor.size, tensor.bytes) == (3, 5, 3)


def test_negative_zero_is_zero():
    assert hand_made(np.float32([0.0, -0.0, 1.0, 2.0]).tobytes(), "FLOAT32", (4,)).zeros == 2


def test_an_int32_tensor_without_a_scale_is_no_parameter():
    tensor = hand_made(np.int32([0, 1, 2, 3]).tobytes(), "INT32", (4,))
    assert (tensor.parameter, tensor.scales) == (False, 0)


# Broken files


@pytest.mark.parametrize("use", [read, Runner])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" * 30], ids=["empty", "text", "zip"])
def test_a_file_of_another_kind_is_not_a_tflite_file(tmp_path, use, content):
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(ModelError, match="not a TFLite file"):
            use(source)


@pytest.mark.parametrize("use", [read, Runner])
@pytest.mark.parametrize("kept", [0.01, 0.2, 0.5, 0.8, 0.98])
def test_a_file_cut_short_is_an_error_of_one_line_that_names_it(files, tmp_path, use, kept):
    path = tmp_path / "m.tflite"
    path.write_bytes(files["float32"][: int(len(files["float32"]) * kept)])
    with pytest.raises((ModelError, ConversionError), match=r"not a whole TFLite file|cannot load") as caught:
        use(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.tflite"):
        read(tmp_path / "absent.tflite")


# Running


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


def test_a_file_of_ops_that_litert_lacks_is_refused_with_its_reason(files):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(files["float32"]), 0))
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"NotThere"
    content = pack(model, len(files["float32"]))
    assert "NotThere" in [op.name for op in read(content).ops]
    with pytest.raises(ConversionError, match="LiteRT") as caught:
        Runner(content)
    assert len(str(caught.value).splitlines()) == 1


def test_running_prints_nothing(files, capfd):
    Runner(files["int8"])(samples(2))
    assert capfd.readouterr() == ("", "")


# Signatures


def unsigned(content):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    model.signatureDefs = None
    return pack(model, len(content))


def test_a_file_without_a_signature_is_read_by_position(two_sided):
    summary = read(unsigned(two_sided[1]))
    assert list(summary.inputs.values()) == [("FLOAT32", (1, 2)), ("FLOAT32", (1, 3))]
    assert list(summary.inputs) == ["0", "1"]


def test_a_signature_names_inputs_and_outputs_in_their_order(two_sided):
    content = with_signature(unsigned(two_sided[1]), ["left", "right"], ["small", "large"])
    runner = Runner(content)
    assert set(runner.inputs) == {"left", "right"}
    b, a = np.float32([[7, 8]]), np.float32([[1, 2, 3]])
    z, y = two_sided[0]([b, a])
    outputs = runner({"left": b, "right": a})
    np.testing.assert_allclose(outputs["small"], z, rtol=1e-5)
    np.testing.assert_allclose(outputs["large"], y, rtol=1e-5)


def test_a_signature_changes_nothing_else(files):
    [before] = Runner(files["int8"])(samples(3)).values()
    [after] = Runner(with_signature(unsigned(files["int8"]), ["x"], ["y"]))(samples(3)).values()
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("names", [["one"], ["one", "two", "three"]])
def test_a_signature_needs_a_name_for_each(two_sided, names):
    with pytest.raises(ValueError, match="zip"):
        with_signature(two_sided[1], names, ["z", "y"])
