import functools
import gzip
import math

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from tests.quantization.shared_conversions import Conversions
from tfopt.errors import ModelError
from tfopt.quantization import convert
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read, stored_values

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
def converted(model):
    """Conversions of the model, by mode and other settings."""
    return functools.partial(Conversions(lambda name: (model, samples())), "model")


@pytest.fixture(scope="module")
def files(converted):
    """The model in every mode, with tensor names."""
    return {mode: converted(mode, slim=False).content for mode in MODES}


@pytest.fixture(scope="module")
def added():
    """A float file of one ADD."""
    x = layers.Input((4,))
    return convert(keras.Model(x, x + np.arange(4, dtype=np.float32)), "float32", slim=False)


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


def test_ops_at_the_border_are_not_floating(converted):
    names = {op.name: op.floating for op in read(converted("int8", io="float32").content).ops}
    assert (names["QUANTIZE"], names["DEQUANTIZE"]) == (False, False)


def test_shapes_of_a_reshape_are_not_parameters(files):
    others = [tensor for tensor in read(files["float32"]).tensors if not tensor.parameter]
    assert [tensor.dtype for tensor in others] == ["INT32"]


def test_inputs_and_outputs_are_those_of_the_signature(two_sided):
    summary = read(two_sided[1])
    assert summary.inputs == {"b": ("FLOAT32", (1, 2)), "a": ("FLOAT32", (1, 3))}
    assert summary.outputs == {"z": ("FLOAT32", (1, 2)), "y": ("FLOAT32", (1, 4))}


def test_a_file_without_a_signature_is_read_by_position(two_sided):
    parsed = flatbuffer.parse(two_sided[1])
    parsed.signatureDefs = None
    summary = read(flatbuffer.pack(parsed))
    assert list(summary.inputs.values()) == [("FLOAT32", (1, 2)), ("FLOAT32", (1, 3))]
    assert list(summary.inputs) == ["0", "1"]


@pytest.mark.parametrize(("io", "dtype"), [("int8", "INT8"), ("float32", "FLOAT32")])
def test_the_dtype_of_the_inputs_is_read(converted, io, dtype):
    summary = read(converted("int8", io=io).content)
    assert list(summary.inputs.values()) == [(dtype, (1, 8, 8, 1))]
    assert list(summary.outputs.values()) == [(dtype, (1, 5))]


def test_a_model_without_kernels_has_no_sparsity():
    model = keras.Sequential([layers.Input((4,)), layers.ReLU()])
    summary = read(convert(model, "float32"))
    assert (summary.parameters, summary.sparsity) == (0, 0.0)


# Values and zeros of single tensors, by hand


def hand_made(added, data, dtype, shape, scale=(), zero_point=()):
    """The constant of given bytes that is the second input of an ADD, as it is read."""
    model = flatbuffer.parse(added)
    graph = model.subgraphs[0]
    index = next(i for i in graph.operators[0].inputs if model.buffers[graph.tensors[i].buffer].data is not None)
    tensor = graph.tensors[index]
    model.buffers[tensor.buffer].data = np.frombuffer(data, np.uint8)
    tensor.type, tensor.shape = getattr(schema.TensorType, dtype), np.array(shape, np.int32)
    if scale:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.array(scale, np.float32)
        tensor.quantization.zeroPoint = np.array(zero_point, np.int64)
    [found] = [t for t in read(flatbuffer.pack(model)).tensors if t.dtype == dtype and t.bytes == len(data)]
    return found


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
    assert stored_values(data, dtype, shape).tolist() == expected


def test_zeros_of_an_int8_tensor_are_those_at_its_zero_point(added):
    tensor = hand_made(added, np.int8([3, 0, 3, -5]).tobytes(), "INT8", (4,), scale=[0.1], zero_point=[3])
    assert (tensor.zeros, tensor.size, tensor.scales, tensor.parameter) == (2, 4, 1, True)


def test_zeros_of_an_int4_tensor_are_counted_per_value_and_not_per_byte(added):
    tensor = hand_made(added, b"\x10\x00\x02", "INT4", (5,), scale=[0.1], zero_point=[0])
    assert (tensor.zeros, tensor.size, tensor.bytes) == (3, 5, 3)


def test_negative_zero_is_zero(added):
    assert hand_made(added, np.float32([0.0, -0.0, 1.0, 2.0]).tobytes(), "FLOAT32", (4,)).zeros == 2


def test_an_int32_tensor_without_a_scale_is_no_parameter(added):
    tensor = hand_made(added, np.int32([0, 1, 2, 3]).tobytes(), "INT32", (4,))
    assert (tensor.parameter, tensor.scales) == (False, 0)


# Sparse tensors, loops, kernels


def test_an_old_file_has_the_codes_of_its_ops_in_another_place(files):
    parsed = flatbuffer.parse(files["int8"])
    for code in parsed.operatorCodes:
        assert code.deprecatedBuiltinCode == code.builtinCode < 127
        code.builtinCode = 0
    old, new = read(flatbuffer.pack(parsed)), read(files["int8"])
    assert old.ops == new.ops
    assert len({op.name for op in new.ops}) == 3


@pytest.mark.parametrize(
    ("old", "new", "name"), [(9, 0, "FULLY_CONNECTED"), (127, 150, "GELU"), (22, 22, "RESHAPE"), (0, 0, "ADD")]
)
def test_the_larger_of_the_two_codes_of_an_op_is_its_own(old, new, name):
    code = schema.OperatorCodeT()
    code.deprecatedBuiltinCode, code.builtinCode = old, new
    assert flatbuffer.builtin_operator(code) == getattr(schema.BuiltinOperator, name)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_sparse_tensor_has_as_many_values_and_zeros_as_the_kernel_it_stands_for(share):
    model = keras.Sequential([layers.Input((64,)), layers.Dense(48), layers.Dense(3)])
    kernel = model.layers[0].kernel.numpy()
    kernel[np.random.default_rng(1).random(kernel.shape) < share] = 0
    model.layers[0].kernel.assign(kernel)
    dense, sparse = (read(convert(model, "float32", sparse=how, slim=False)) for how in (False, True))
    [stored] = [op.inputs[0] for op in sparse.ops if op.name == "DENSIFY"]
    assert (stored.size, stored.zeros) == (kernel.size, int((kernel == 0).sum()))
    assert stored.bytes < kernel.nbytes
    assert (sparse.parameters, sparse.nonzero, sparse.sparsity) == (dense.parameters, dense.nonzero, dense.sparsity)


def test_what_is_inside_a_loop_is_in_another_graph_than_the_loop():
    model = keras.Sequential([layers.Input((6, 3)), layers.LSTM(5), layers.Dense(2)])
    ops = read(convert(model, "float32", recurrent="loop")).ops
    inside = {op.name: op.graph for op in ops if op.graph}
    assert {op.name for op in ops if not op.graph} >= {"WHILE", "FULLY_CONNECTED"}
    assert {"LESS", "LOGISTIC", "TANH"} <= set(inside)
    assert inside["LESS"] != inside["TANH"]  # the condition and the body


def test_kernels_are_the_weights_of_two_dimensions_or_more(files):
    for mode in MODES:
        computing = [op for op in read(files[mode]).ops if op.name in ("CONV_2D", "FULLY_CONNECTED")]
        if mode == "float16":  # its ops read what is unpacked for them first
            assert [op.kernels for op in computing] == [(), ()]
            continue
        assert [[tensor.shape for tensor in op.kernels] for op in computing] == [[(8, 3, 3, 1)], [(5, 288)]]
        assert [len(op.weights) for op in computing] == [2, 2]


def test_constants_outside_of_the_flatbuffer_are_counted(added):
    """A quantizer puts large ones behind it, where the tensor's own buffer is empty."""
    parsed = flatbuffer.parse(bytearray(added))
    graph = parsed.subgraphs[0]
    index = next(i for i in graph.operators[0].inputs if parsed.buffers[graph.tensors[i].buffer].data is not None)
    buffer = parsed.buffers[graph.tensors[index].buffer]
    data = np.float32([0, 5, 0, 7]).tobytes()
    buffer.data, buffer.offset, buffer.size = None, 1 << 20, len(data)
    packed = flatbuffer.pack(parsed)
    start = math.ceil(len(packed) / 16) * 16
    buffer.offset = start
    packed = flatbuffer.pack(parsed)
    [tensor] = [t for t in read(packed + bytes(start - len(packed)) + data).tensors if t.shape == (4,)]
    assert (tensor.size, tensor.zeros, tensor.bytes) == (4, 2, 16)


# Broken files


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" * 30], ids=["empty", "text", "zip"])
def test_a_file_of_another_kind_is_not_a_tflite_file(tmp_path, content):
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(ModelError, match="not a TFLite file"):
            read(source)


@pytest.mark.parametrize("kept", [0.01, 0.2, 0.5, 0.8, 0.98])
def test_a_file_cut_short_is_an_error_of_one_line_that_names_it(files, tmp_path, kept):
    path = tmp_path / "m.tflite"
    path.write_bytes(files["float32"][: int(len(files["float32"]) * kept)])
    with pytest.raises(ModelError, match=r"m\.tflite is not a whole TFLite file: .*convert anew\.$") as caught:
        read(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.tflite"):
        read(tmp_path / "absent.tflite")
