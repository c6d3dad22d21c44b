"""What the audit says of a file, against the Keras model's own arrays and the interpreter's tensors."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers

from tests.quantization.shared_conversions import Conversions
from tfopt.quantization.conversion import convert, convert_with_notes
from tfopt.quantization.op_audit import audit, float_at_ends, kernels, left_in_float, unpacked
from tfopt.recipe.export import Export
from tfopt.recipe.modes import MODES
from tfopt.tflite.file import read

# Bits of a kernel's weight in each mode.
BITS = {"float32": 32, "float16": 16, "dynamic": 8, "weight_only": 8, "int8": 8, "int16x8": 8, "int4": 4}


def samples(count=32):
    return np.random.default_rng(0).normal(size=(count, 8, 8, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    """A pruned network: other shares of zeros in every layer. Values are far enough from 0 to round to none in int4."""
    keras.utils.set_random_seed(3)
    image = layers.Input((8, 8, 2), name="image")
    x = layers.Conv2D(8, 3, activation="relu", bias_initializer="ones", name="first")(image)
    x = layers.Conv2D(12, 3, activation="relu", bias_initializer="ones", name="second")(x)
    built = keras.Model(image, layers.Dense(5, bias_initializer="normal", name="head")(layers.Flatten()(x)))
    generator = np.random.default_rng(1)
    for name, share in (("first", 0.25), ("second", 0.5), ("head", 0.8)):
        kernel = built.get_layer(name).kernel
        values = generator.uniform(0.3, 1, kernel.shape) * generator.choice([-1, 1], kernel.shape)
        kernel.assign(np.where(generator.random(kernel.shape) < share, 0, values))
    return built


@pytest.fixture(scope="module")
def converted(model):
    """Conversions of the pruned network, by mode and other settings, and of the other networks of this page."""
    others = {"shared": shared, "twins": twins, "memory": memory}
    return Conversions(lambda name: (model, samples()) if name == "pruned" else others[name]())


@pytest.fixture(scope="module")
def audits(converted):
    return {mode: converted("pruned", mode).audit for mode in BITS}


def kernels_of(model):
    return {layer.name: layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")}


# Rows


@pytest.mark.parametrize("mode", BITS)
def test_every_layer_with_a_kernel_has_a_row(audits, mode):
    assert [(row.layer, row.op) for row in audits[mode].rows] == [
        ("first", "CONV_2D"),
        ("second", "CONV_2D"),
        ("head", "FULLY_CONNECTED"),
    ]


@pytest.mark.parametrize("mode", BITS)
def test_rows_have_the_type_and_the_bytes_of_their_kernels_and_biases(audits, model, mode):
    bias = {"int16x8": 8}.get(mode, 4)
    for row in audits[mode].rows:
        layer = model.get_layer(row.layer)
        assert row.dtype == {32: "float32", 16: "float16", 8: "int8", 4: "int4"}[BITS[mode]]
        assert row.float_bytes == 4 * layer.count_params()
        assert row.bytes == -(-layer.kernel.numpy().size * BITS[mode] // 8) + bias * layer.bias.shape[0]


@pytest.mark.parametrize("mode", BITS)
def test_exact_zeros_survive_in_every_mode(audits, model, mode):
    for row in audits[mode].rows:
        share = float((kernels_of(model)[row.layer] == 0).mean())
        assert row.float_zeros == pytest.approx(share)
        assert row.zeros == pytest.approx(share)


@pytest.mark.parametrize("mode", BITS)
def test_the_share_of_zeros_is_that_of_all_kernels(audits, model, mode):
    values = np.concatenate([kernel.ravel() for kernel in kernels_of(model).values()])
    assert audits[mode].float_sparsity == pytest.approx((values == 0).mean())
    if mode != "float16":  # whose kernels are unpacked for the op
        assert audits[mode].sparsity == pytest.approx((values == 0).mean())


def test_zeros_in_the_file_are_those_that_litert_computes_with(audits, converted):
    content = converted("pruned", slim=False).content
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    shares = [
        float((interpreter.get_tensor(detail["index"]) == 0).mean())
        for detail in interpreter.get_tensor_details()
        if len(detail["shape"]) > 1 and len(detail["quantization_parameters"]["scales"]) > 1
    ]
    assert sorted(row.zeros for row in audits["int8"].rows) == pytest.approx(sorted(shares))


@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_the_distinct_values_are_counted_up_to_256(audits, model, mode):
    for row in audits[mode].rows:
        count = np.unique(kernels_of(model)[row.layer]).size
        if mode == "float32":
            assert row.values == (count if count <= 256 else None)
        else:
            assert 2 <= row.values <= min(count, 255)


def test_weights_that_round_to_nothing_become_zeros():
    model = keras.Sequential([layers.Input((16,)), layers.Dense(4, name="head")])
    kernel = np.where(np.arange(64).reshape(16, 4) < 4, 1.0, 1e-4).astype(np.float32)
    model.layers[0].kernel.assign(kernel)
    [row] = convert_with_notes(model, Export(), np.eye(4, 16, dtype=np.float32)).audit.rows
    assert (row.float_zeros, row.zeros) == (0, 60 / 64)


def test_a_sparse_kernel_has_the_bytes_that_are_stored_and_all_its_zeros(converted):
    [dense, sparse] = [converted("pruned", "float32", sparse=how).audit for how in (False, True)]
    assert [row.zeros for row in sparse.rows] == [row.zeros for row in dense.rows]
    assert sparse.sparsity == dense.sparsity


# Constants that ops share


def shared():
    keras.utils.set_random_seed(1)
    one, two = layers.Input((8,), name="a"), layers.Input((8,), name="b")
    twice = layers.Dense(6, bias_initializer="normal", name="shared")
    head = layers.Dense(3, bias_initializer="normal", name="head")
    x = np.random.default_rng(0).normal(size=(2, 16, 8)).astype(np.float32)
    return keras.Model([one, two], head(layers.Concatenate()([twice(one), twice(two)]))), {"a": x[0], "b": x[1]}


@pytest.mark.parametrize("mode", ["float32", "int8", "dynamic", "weight_only"])
def test_what_two_ops_share_counts_once(converted, mode):
    rows = converted("shared", mode).audit.rows
    assert [row.layer for row in rows] == ["shared", "shared", "head"]
    assert [row.float_bytes for row in rows] == [4 * (8 * 6 + 6), 0, 4 * (12 * 3 + 3)]
    width, own = 4 if mode == "float32" else 1, 24 if mode == "int8" else 0  # an int8 bias is in its input's units
    assert [row.bytes for row in rows] == [8 * 6 * width + 24, own, 12 * 3 * width + 12]


def twins():
    """Two layers with equal kernels, of which the converter keeps one."""
    keras.utils.set_random_seed(1)
    a, b = layers.Input((8,), name="a"), layers.Input((8,), name="b")
    one, two = (layers.Dense(6, bias_initializer="normal", name=name) for name in ("one", "two"))
    model = keras.Model([a, b], layers.Concatenate()([one(a), two(b)]))
    two.kernel.assign(one.kernel)
    x = np.random.default_rng(0).normal(size=(2, 16, 8)).astype(np.float32)
    return model, {"a": x[0], "b": x[1]}


@pytest.mark.parametrize("mode", ["float32", "int8", "weight_only"])
def test_a_kernel_that_two_layers_share_counts_once_and_each_bias_on_its_own(converted, mode):
    rows = converted("twins", mode).audit.rows
    assert sorted(row.float_bytes for row in rows) == [24, 192 + 24]
    assert sorted(row.bytes for row in rows) == [24, 8 * 6 * (4 if mode == "float32" else 1) + 24]


# What is in float


def test_ops_that_compute_in_float_are_named(audits, converted):
    assert audits["int8"].floating == ()
    assert [name.split(" ")[0] for name in audits["weight_only"].floating].count("CONV_2D") == 2
    [name] = converted("pruned", rules=[{"layers": "second", "to": "float"}]).audit.floating
    assert name.startswith("CONV_2D second/")


def test_ops_that_the_mode_would_quantize_are_told_from_those_at_the_border(converted):
    prepared = converted.prepared("pruned", io="float32", rules=[{"layers": "second", "to": "float"}])
    summary = read(prepared.quantized())
    assert {"QUANTIZE", "DEQUANTIZE"} <= {op.name for op in summary.ops}
    [left] = left_in_float(summary, MODES["int8"], {})
    assert left.where.startswith("CONV_2D second/")
    assert "int8" in left.reason
    assert left_in_float(read(converted.prepared("pruned").quantized()), MODES["int8"], {}) == ()
    output = next(op.outputs[0].name for op in summary.ops if op.name == "CONV_2D" and op.floating)
    assert "a rule keeps it so" in left_in_float(summary, MODES["int8"], {output: "a rule keeps it so"})[0].reason


def test_weights_that_stay_in_float_are_named_where_only_weights_are_quantized(converted):
    prepared = converted.prepared("pruned", "dynamic", rules=[{"layers": "head", "to": "float"}])
    [left] = left_in_float(read(prepared.quantized()), MODES["dynamic"], {})
    assert left.where.startswith("FULLY_CONNECTED head/")
    assert "float32" in left.reason


def memory():
    x = np.random.default_rng(0).normal(size=(16, 3, 3)).astype(np.float32)
    parts = [layers.LSTM(5, name="memory"), layers.Dense(2, name="head")]
    return keras.Sequential([layers.Input((3, 3)), *parts]), x


def test_loops_are_named(converted):
    looked = converted("memory", unroll=False).audit
    [loop] = looked.loops
    assert loop.startswith("WHILE memory/")
    assert loop in looked.floating
    assert [row.layer for row in looked.rows if row.op == "FULLY_CONNECTED" and row.layer == "head"] == ["head"]
    assert converted("memory", unroll=True).audit.loops == ()


def test_nothing_needs_tensorflow_in_a_file_of_litert_ops(audits):
    assert {looked.flex for looked in audits.values()} == {()}


# Kernels


@pytest.mark.parametrize("mode", ["float16", "weight_only"])
def test_kernels_are_found_behind_the_op_that_unpacks_them(converted, mode):
    summary = read(converted("pruned", mode, slim=False).content)
    convolutions = [op for op in summary.ops if op.name == "CONV_2D"]
    for op in convolutions:
        assert not op.kernels
        [kernel] = [tensor for tensor in kernels(op, unpacked(summary.ops)) if len(tensor.shape) > 1]
        assert kernel.dtype == ("FLOAT16" if mode == "float16" else "INT8")


def test_an_audit_of_the_float_file_itself_finds_no_difference(converted):
    source = converted.prepared("pruned", "float32").source
    for row in audit(source, source.content).rows:
        assert (row.bytes, row.zeros) == (row.float_bytes, row.float_zeros)


# Ends


@pytest.mark.parametrize(
    ("build", "io", "expected"),
    [
        (lambda x: layers.Dense(3)(keras.ops.exp(x)), None, True),
        (lambda x: layers.Dense(3)(keras.ops.exp(x)), "float32", False),
        (lambda x: keras.ops.exp(layers.Dense(3)(x)), None, True),
        (lambda x: layers.Dense(3)(keras.ops.exp(layers.Dense(3)(x))), None, False),
    ],
)
def test_ends_in_integers_that_ops_in_float_read_or_make_are_found(build, io, expected):
    x = layers.Input((4,))
    content = convert(keras.Model(x, build(x)), "int8", samples(20)[:, 0, 0].repeat(2, -1), io=io)
    assert float_at_ends(content) == expected
