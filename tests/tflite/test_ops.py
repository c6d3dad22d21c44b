"""The facts about ops against what others say or do: the schema, Keras, TensorFlow, the quantizer, the runtimes."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers
from litert_quantizer.utils import tfl_flatbuffer_utils as theirs

from tfopt.errors import ConversionError
from tfopt.output_capture import captured
from tfopt.quantization import convert, quantizer
from tfopt.quantization.calibration import observe_extremes
from tfopt.quantization.float_conversion import to_float
from tfopt.targets import microcontrollers
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import Op, Tensor, read
from tfopt.tflite.interpreter import Runner
from tfopt.tflite.ops import OPS, OpFacts, facts_of

SETTINGS = {"bias_initializer": "normal", "name": "one"}
# Of each op with a kernel a layer that becomes it, on inputs of a shape.
LAYERS = {
    "CONV_2D": ((6, 6, 3), lambda: layers.Conv2D(8, 3, **SETTINGS)),
    "DEPTHWISE_CONV_2D": ((6, 6, 4), lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, **SETTINGS)),
    "CONV_3D": ((4, 4, 4, 2), lambda: layers.Conv3D(8, 3, **SETTINGS)),
    "FULLY_CONNECTED": ((12,), lambda: layers.Dense(8, **SETTINGS)),
    "TRANSPOSE_CONV": ((6, 6, 3), lambda: layers.Conv2DTranspose(8, 3, **SETTINGS)),
    "CONV_3D_TRANSPOSE": ((4, 4, 4, 2), lambda: layers.Conv3DTranspose(8, 3, **SETTINGS)),
    "BATCH_MATMUL": ((5, 12), lambda: layers.Dense(8, use_bias=False, name="one")),
    "GATHER": ((5,), lambda: layers.Embedding(30, 8, name="one")),
}
BIASED = [name for name in LAYERS if facts_of(name).data_kernel_bias is not None]


def model_of(name):
    """A model of one layer that becomes an op, and samples."""
    keras.utils.set_random_seed(4)
    shape, build = LAYERS[name]
    generator = np.random.default_rng(0)
    if name == "GATHER":
        return chain(layers.Input(shape, dtype="int32"), build()), generator.integers(0, 30, (24, *shape), np.int32)
    return chain(layers.Input(shape), build()), generator.normal(size=(24, *shape)).astype(np.float32)


def chain(*stack):
    return keras.Sequential(list(stack))


def float_op(name):
    model, x = model_of(name)
    source = to_float(model, x)
    [op] = [op for op in source.ops if op.kernels]
    return model, source, op


def in_integers(model, x):
    """The int8 file of a model that need not have a kernel."""
    source = to_float(model, x)
    return quantizer.quantize(
        source, "int8", observe_extremes(source.content, {model.inputs[0].name: x}).ranges(), io="int8"
    )


def grids(content):
    """Of every op its name, and the scale and zero point of each tensor that it computes or reads from another op."""
    parsed, found = flatbuffer.parse(content), []
    graph = parsed.subgraphs[0]
    for op, known in zip(graph.operators, read(content).ops, strict=True):
        tensors = [graph.tensors[int(i)] for i in (*op.inputs, *op.outputs)]
        moved = [t for t in tensors if t.type == schema.TensorType.INT8 and parsed.buffers[t.buffer].data is None]
        found.append((known.name, [(float(t.quantization.scale[0]), int(t.quantization.zeroPoint[0])) for t in moved]))
    return found


def quantized_dimension(content, name):
    parsed = flatbuffer.parse(content)
    graph = parsed.subgraphs[0]
    [op] = [op for op, known in zip(graph.operators, read(content).ops, strict=True) if known.name == name]
    kernel = graph.tensors[int(op.inputs[facts_of(name).data_kernel_bias[1]])]
    assert len(kernel.quantization.scale) == 8
    return kernel.quantization.quantizedDimension


# The table


def test_every_row_is_of_an_op_of_the_schema_and_of_no_other_row():
    codes = [getattr(schema.BuiltinOperator, name) for name in OPS]
    assert len(set(codes)) == len(codes)
    assert all(facts_of(name) is row and row.name == name for name, row in OPS.items())


@pytest.mark.parametrize("name", ["TANH", "?", "MyOwnOp"])
def test_of_an_op_that_is_not_in_the_table_nothing_is_said(name):
    assert name not in OPS
    assert facts_of(name) == OpFacts(name)


def test_ops_of_tensorflow_are_told_by_their_name():
    assert [facts_of(name).flex for name in ("FlexErf", "ADD", "?")] == [True, False, False]


# Kernels


@pytest.mark.parametrize("name", [*LAYERS, "EMBEDDING_LOOKUP"])
def test_the_kernel_axis_is_that_of_the_quantizer_where_it_has_one(name):
    # Its own words differ in one case.
    code = theirs.TFL_OP_CODE_TO_NAME.get(getattr(schema.BuiltinOperator, name))
    axis = theirs.TFL_OP_TO_WEIGHT_QUANTIZED_DIM.get(code)
    assert axis in (None, facts_of(name).kernel_axis)


def test_no_op_that_the_quantizer_gives_scales_by_channel_is_left_out():
    codes = {name: getattr(schema.BuiltinOperator, name) for name in OPS}
    known = {theirs.TFL_OP_CODE_TO_NAME.get(code) for name, code in codes.items() if OPS[name].kernel_axis is not None}
    assert set(theirs.TFL_OP_TO_WEIGHT_QUANTIZED_DIM) <= known


@pytest.mark.parametrize("name", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"])
def test_the_kernel_axis_is_the_one_that_scales_go_along(name):
    model, x = model_of(name)
    with captured():
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[None]] for row in x)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        # A dense layer has one scale for each channel only where it is asked for.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = False
        stock = converter.convert()
    for content in (stock, convert(model, "int8", x)):
        assert quantized_dimension(content, name) == facts_of(name).kernel_axis


@pytest.mark.parametrize("name", LAYERS)
def test_a_channel_of_a_keras_kernel_is_one_along_the_kernel_axis(name):
    model, source, op = float_op(name)
    assert op.name == name or (name, op.name) == ("BATCH_MATMUL", "FULLY_CONNECTED")
    kernel, facts = model.get_layer("one").weights[0].numpy(), op.facts
    axes = tuple(axis % kernel.ndim for axis in facts.keras_axes or (-1,))
    here = np.moveaxis(kernel, axes, range(len(axes))).reshape(-1, *np.delete(kernel.shape, axes))
    there = np.moveaxis(source.constants[op.kernels[0].name], facts.kernel_axis, 0)
    assert len(here) == len(there) == (30 if facts.looks_up else 8)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(np.sort(one, None), np.sort(other, None), rtol=1e-6)


def test_a_matrix_multiplication_has_its_channels_last():
    a, b = (np.arange(n, dtype=np.float32).reshape(s) for n, s in ((6, (1, 2, 3)), (12, (1, 3, 4))))
    changed = b.copy()
    np.moveaxis(changed, 1 + facts_of("BATCH_MATMUL").kernel_axis, 0)[2] += 1
    [channels] = np.nonzero((np.matmul(a, b) != np.matmul(a, changed)).any(axis=(0, 1)))
    assert channels.tolist() == [2]


@pytest.mark.parametrize("name", BIASED)
def test_data_kernel_and_bias_are_found_by_their_numbers(name):
    model, source, op = float_op(name)
    data, kernel, bias = op.facts.data_kernel_bias
    assert (op.inputs[data].bytes, op.inputs[data].name) == (0, next(iter(read(source.content).inputs)))
    assert op.inputs[kernel] is op.kernels[0]
    if name.startswith("CONV_3D"):  # the schema has a place for the bias, and the converter adds it in an op of its own
        assert len(op.inputs) == bias
        return
    np.testing.assert_array_equal(source.constants[op.inputs[bias].name], model.get_layer("one").bias)


def looking_up(source):
    """A float file with an EMBEDDING_LOOKUP in place of its GATHER."""
    parsed = flatbuffer.parse(source.content)
    [op] = [op for op, known in zip(parsed.subgraphs[0].operators, source.ops, strict=True) if known.kernels]
    code = parsed.operatorCodes[op.opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.EMBEDDING_LOOKUP
    op.inputs, op.builtinOptions, op.builtinOptionsType = op.inputs[::-1], None, schema.BuiltinOptions.NONE
    content = flatbuffer.pack(parsed)
    return dataclasses.replace(source, content=content, ops=read(content).ops)


@pytest.mark.parametrize("name", [*LAYERS, "EMBEDDING_LOOKUP"])
def test_a_kernel_is_written_in_four_bits_where_the_table_says_so(name):
    model, x = model_of("GATHER" if name == "EMBEDDING_LOOKUP" else name)
    source = to_float(model, x)
    source = looking_up(source) if name == "EMBEDDING_LOOKUP" else source
    [number] = [i for i, op in enumerate(source.ops) if op.kernels]
    facts, found = source.ops[number].facts, {}
    ranges = {
        t.name: {"min": np.full((1, 1), -9, np.float32), "max": np.full((1, 1), 9, np.float32)}
        for op in source.ops
        for t in (*op.inputs, *op.outputs)
        if not t.bytes and t.dtype == "FLOAT32"
    }
    for how, mode, given in (("any", "none", ranges), ("float", "dynamic", None)):
        try:
            made = read(quantizer.quantize(source, mode, given, {number: "int4"}))
            found[how] = any(tensor.dtype == "INT4" for tensor in made.tensors)
        except (ConversionError, KeyError):  # it has no word for the op
            found[how] = False
    assert found == {"any": facts.int4 == "any", "float": facts.int4 is not None}


@pytest.mark.skipif(importlib.util.find_spec("tflite_micro") is None, reason="tflite-micro is not installed")
@pytest.mark.parametrize("name", [name for name in LAYERS if facts_of(name).int4 == "any"])
def test_tflm_runs_the_form_in_four_bits_where_the_table_says_so(name):
    model, x = model_of(name)
    content = convert(model, "int4", x)
    assert any(tensor.dtype == "INT4" for tensor in read(content).tensors)
    if "tflm" in facts_of(name).no_int4_on:
        with pytest.raises(ConversionError, match=name):
            microcontrollers.run(content, x[:4])
    else:
        expected, got = Runner(content)(x[:4]), microcontrollers.run(content, x[:4]).outputs
        for output, values in expected.items():
            np.testing.assert_allclose(got[output], values, atol=0.05 * np.abs(values).max())


# Values


def moving(x):
    """Values of two dimensions and channels, handed on in every way."""
    ops = keras.ops
    x = ops.tile(layers.ZeroPadding2D(1)(layers.MaxPooling2D(2)(x)), (1, 1, 1, 3))
    x = ops.transpose(layers.UpSampling2D(2)(x), (0, 2, 1, 3))
    a, b = ops.split(x, 2, axis=1)
    a = ops.squeeze(ops.expand_dims(a[:, :, 1:3], 1), 1)
    b = ops.reshape(b[:, :, 2:4], (1, *a.shape[1:]))
    rows = ops.unstack(ops.concatenate([a, b], axis=2), axis=2)
    return ops.stack(rows[1:], axis=1)


def test_what_only_moves_is_on_one_grid():
    inputs = layers.Input((8, 8, 2), batch_size=1)
    x = np.random.default_rng(0).normal(size=(32, 8, 8, 2)).astype(np.float32)
    found = [(name, on) for name, on in grids(in_integers(keras.Model(inputs, moving(inputs)), x)) if on]
    moves = [(name, on) for name, on in found if facts_of(name).moves_data]
    assert len({name for name, _ in moves}) >= 8
    assert {name: len(set(on)) for name, on in moves} == {name: 1 for name, _ in moves}


@pytest.mark.parametrize("name", ["LOGISTIC", "SOFTMAX"])
def test_probabilities_are_on_the_grid_from_0_to_1(name):
    assert facts_of(name).probabilities
    model = chain(layers.Input((6,)), layers.Activation({"LOGISTIC": "sigmoid"}.get(name, "softmax")))
    x = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
    [on] = [on for op, on in grids(in_integers(model, x)) if op == name]
    assert on[1] == (1 / 256, -128)


def test_of_no_other_activation_probabilities_are_said():
    assert {name for name, row in OPS.items() if row.probabilities} == {"LOGISTIC", "SOFTMAX"}


@pytest.mark.parametrize("name", [name for name, row in OPS.items() if row.nonzero is not None])
def test_at_0_there_is_no_finite_value_or_gradient(name):
    function = {"RSQRT": tf.math.rsqrt, "SQRT": tf.sqrt, "LOG": tf.math.log, "DIV": tf.divide}[name]
    inputs = [tf.Variable(1.0), tf.Variable(1.0)][: 2 if name == "DIV" else 1]
    for number, variable in enumerate(inputs):
        variable.assign(0.0)
        with tf.GradientTape() as tape:
            value = function(*inputs)
        gradients = tape.gradient(value, inputs)
        variable.assign(1.0)
        finite = bool(np.isfinite([float(value), *map(float, gradients)]).all())
        assert finite == (number != OPS[name].nonzero)


@pytest.mark.parametrize("delegate", [True, False])
def test_an_average_of_integers_is_rounded_away_from_the_integer_0(delegate):
    assert [name for name, row in OPS.items() if row.rounds_from_zero] == ["AVERAGE_POOL_2D"]
    model = chain(layers.Input((2, 2, 1)), layers.AveragePooling2D(2))
    x = np.random.default_rng(0).uniform(-1, 3, size=(64, 2, 2, 1)).astype(np.float32)
    runner = Runner(in_integers(model, x), delegate=delegate)
    [name] = runner.inputs
    taken = np.array([[5, 6, 5, 6], [-5, -6, -5, -6], [1, 0, 1, 0], [-1, 0, -1, 0]], np.int8).reshape(4, 2, 2, 1)
    [given] = runner.quantized({name: taken}).values()
    assert given.ravel().tolist() == [6, -6, 1, -1]


def test_sums_products_and_choices_are_what_their_names_say():
    assert {name for name, row in OPS.items() if row.adds} == {"ADD", "SUB"}
    assert {name for name, row in OPS.items() if row.adds} < {name for name, row in OPS.items() if row.elementwise}
    assert all(name.startswith("SELECT") == row.selects for name, row in OPS.items())


# Forms of a value, and other graphs


def test_ops_that_unpack_constants_are_those_of_half_and_of_sparse_files():
    model = chain(layers.Input((64,)), layers.Dense(48))
    kernel = model.layers[0].kernel.numpy()
    model.layers[0].kernel.assign(kernel * (np.random.default_rng(0).random(kernel.shape) < 0.1))
    half, sparse = convert(model, "float16"), convert(model, "float32", sparse=True)
    for content, form in ((half, "quantized"), (sparse, "sparse")):
        unpacking = [op for op in read(content).ops if op.inputs and all(tensor.bytes for tensor in op.inputs)]
        assert {op.facts.unpacks for op in unpacking} == {form}
        assert all(op.facts.border and not op.floating for op in unpacking)


def test_an_op_that_reads_a_shape_alone_computes_on_no_floats():
    def tensor(dtype, size=0):
        return Tensor("t", dtype, (1, 4), size, size, 0, 0, False)

    for name in ("SHAPE", "RANK"):
        op = Op(name, (tensor("FLOAT32"),), (tensor("INT32"),))
        assert not op.floating
        assert not op.integers
    assert Op("ARG_MAX", (tensor("FLOAT32"),), (tensor("INT32"),)).floating


def test_ops_with_graphs_of_their_own_are_control_flow():
    """Those whose options name other subgraphs, as far as a converter writes them."""
    known = {name: row.control for name, row in OPS.items() if row.control}
    options = {"WHILE": "WhileOptions", "IF": "IfOptions", "CALL_ONCE": "CallOnceOptions"}
    assert known == {"WHILE": "loop", "IF": "branch", "CALL_ONCE": "once"}
    for name in known:
        fields = vars(getattr(schema, f"{options[name]}T")())
        assert any("subgraph" in field.lower() for field in fields)
    loop = chain(layers.Input((6, 3)), layers.LSTM(5))
    assert [op.name for op in read(convert(loop, "float32", recurrent="loop")).ops if op.facts.loop] == ["WHILE"]


def test_the_ops_that_tflm_is_said_to_have_are_those_of_its_package():
    package = pytest.importorskip("tflite_micro")
    library = next(Path(package.__file__).parent.rglob("_runtime.so")).read_bytes()
    names = {name for name in vars(schema.BuiltinOperator) if name.isupper() or name[:1].isupper()}
    there = {name for name in names if f"Register_{name}Ev".encode() in library}
    assert {name for name in names if facts_of(name).micro} == there - {"CUSTOM"}


def test_the_methods_of_tflms_resolver_are_called_as_tflm_calls_them():
    header = Path(__file__).parents[1] / "deployment/runtimes/tensorflow/lite/micro/micro_mutable_op_resolver.h"
    methods = {f"Add{name}" for name in re.findall(r"^  METHOD\((\w+)\)", header.read_text(), re.MULTILINE)}
    names = [name for name in vars(schema.BuiltinOperator) if name[:1].isupper()]
    assert {facts_of(name).micro for name in [*names, "TFLM_DECODE", "ethos-u"]} - {None} == methods
