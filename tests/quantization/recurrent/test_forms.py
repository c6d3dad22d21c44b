"""LSTMs as one op in every mode: the outputs on LiteRT and on TFLM, and what is stored."""

import functools

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from tests.quantization.recurrent.recurrent_nets import (
    LSTM,
    NETS,
    built,
    by_keras,
    chain,
    known,
    needs_tflm,
    on_tflm,
    snr_db,
    to_float_once,
)
from tfopt.errors import ConversionError
from tfopt.quantization.conversion import convert_with_notes
from tfopt.quantization.preparation import prepare
from tfopt.quantization.recurrent import integer_op
from tfopt.recipe.export import Export
from tfopt.tflite import flatbuffer
from tfopt.tflite.interpreter import Runner

# Least SNR of the files to Keras, in decibels, and the types of the kernels.
MODES = {
    "float32": (100, "FLOAT32"),
    "float16": (60, "FLOAT16"),
    "weight_only": (40, "INT8"),
    "dynamic": (40, "INT8"),
    "int8": (30, "INT8"),
    "int4": (15, "INT8"),  # the dense layer alone has kernels of 4 bits
}
FORM = {"recurrent": "fused", "slim": False, "least_snr_db": None}


@functools.cache
def made(name, mode="int8", **settings):
    model, samples = known(name)
    export = Export(mode=mode, **{**FORM, **settings})
    return model, samples, convert_with_notes(model, export, samples, "metric", to_float_once)


def ops(content, name=LSTM):
    """Of every op of a name its inputs, its outputs and its intermediate tensors, as schema tensors; None if absent."""
    parsed = flatbuffer.parse(content)
    graph, code = parsed.subgraphs[0], getattr(schema.BuiltinOperator, name)
    found = [op for op in graph.operators if flatbuffer.builtin_operator(parsed.operatorCodes[op.opcodeIndex]) == code]
    lists = [(op.inputs, op.outputs, () if op.intermediates is None else op.intermediates) for op in found]
    return [tuple([graph.tensors[i] if i >= 0 else None for i in part] for part in parts) for parts in lists]


def grid(tensor):
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])


@pytest.mark.parametrize("mode", MODES)
def test_a_file_of_every_mode_is_near_keras(mode):
    least, dtype = MODES[mode]
    model, samples, conversion = made("stacked", mode)
    [found] = Runner(conversion.content)(samples).values()
    assert snr_db(by_keras(model, samples), found) > least
    assert {row.dtype.upper() for row in conversion.audit.rows if row.op == LSTM} == {dtype}
    assert len([op for op in conversion.made.ops if op.name == LSTM]) == 2
    assert conversion.skipped == ()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.sample(4)
def test_every_way_to_use_an_lstm_is_one_op_for_each_call_in_float_and_all_in_integers(name):
    model, samples, conversion = made(name)
    source = conversion.prepared.source
    assert LSTM in [op.name for op in source.ops]
    assert not source.unfused
    assert not any(op.facts.loop for op in source.ops)
    [found] = Runner(source.content)(samples).values()
    assert np.abs(found - by_keras(model, samples)).max() < 1e-5
    [found] = Runner(conversion.content)(samples).values()
    assert snr_db(by_keras(model, samples), found) > 30
    assert conversion.audit.floating == ()
    assert "DEQUANTIZE" not in [op.name for op in conversion.made.ops]


@needs_tflm
@pytest.mark.parametrize("name", ["both ways, concat", "by time"])
@pytest.mark.sample(1)
def test_tflm_gives_what_litert_gives(name):
    model, samples, conversion = made(name)
    few = {key: values[:8] for key, values in samples.items()}
    [expected] = Runner(conversion.content)(few).values()
    assert snr_db(expected, on_tflm(conversion.content, few)) > 35
    assert snr_db(by_keras(model, few), on_tflm(conversion.content, few)) > 30


def test_the_int8_op_has_the_types_and_grids_that_its_kernels_read():
    """The layout of the kernel in LiteRT and of that in TFLM."""
    [(inputs, [output], intermediate)] = ops(made("last step")[2].content)
    kind = schema.TensorType
    assert [None if t is None else t.type for t in inputs] == [
        *[kind.INT8] * 9,
        *[None] * 3,
        *[kind.INT32] * 4,
        *[None] * 2,
        kind.INT8,
        kind.INT16,
        *[None] * 4,
    ]
    assert [t.type for t in intermediate] == [*[kind.FLOAT32] * 4, kind.INT8]
    assert grid(inputs[18]) == grid(output) == grid(intermediate[4])
    assert all(grid(kernel)[1] == 0 and len(kernel.quantization.scale) == 1 for kernel in inputs[1:9])
    for kernel, bias in zip(inputs[1:5], inputs[12:16], strict=True):
        assert grid(bias)[0] == pytest.approx(grid(inputs[0])[0] * grid(kernel)[0], rel=1e-6)
    scale, point = grid(inputs[19])
    assert point == 0
    assert np.log2(scale) == round(np.log2(scale))
    assert [t.isVariable for t in inputs[18:20]] == [True, True]


@pytest.mark.parametrize("name", ["last step", "called twice"])
def test_weights_of_a_mode_that_computes_in_float_are_stored_once(name):
    for mode in ("float16", "weight_only", "dynamic"):
        content = made(name, mode)[2].content
        stored = [t for t in flatbuffer.parse(content).subgraphs[0].tensors if b"_gate" in t.name]
        parsed = flatbuffer.parse(content)
        constants = [t for t in stored if parsed.buffers[t.buffer].data is not None and len(t.shape) == 2]
        assert len(constants) == 8


def test_inputs_and_outputs_in_float_are_quantized_around_the_op():
    model, samples, conversion = made("both ways, concat", io="float32")
    kinds = [op.name for op in conversion.made.ops]
    assert (kinds[0], kinds[-1], kinds.count("QUANTIZE")) == ("QUANTIZE", "DEQUANTIZE", 2)  # and one of the halves
    [found] = Runner(conversion.content)(samples).values()
    assert snr_db(by_keras(model, samples), found) > 30


def test_a_rule_keeps_a_layer_in_float_among_layers_in_integers():
    model, samples = known("stacked")
    rules = [{"layers": model.layers[0].name, "to": "float"}]
    conversion = convert_with_notes(model, Export(rules=rules, **FORM), samples, "metric", to_float_once)
    first, second = (op for op in conversion.made.ops if op.name == LSTM)
    assert (first.floating, second.integers) == (True, True)
    assert [one.where for one in conversion.skipped] == [f"{LSTM} {first.outputs[0].name}"]
    [found] = Runner(conversion.content)(samples).values()
    assert snr_db(by_keras(model, samples), found) > 30


def counter(steps):
    """A model that forgets nothing and adds one at each step; and samples."""
    model = chain(layers.LSTM(2, name="counter"), layers.Dense(2), shape=(steps, 1))
    weights = [np.zeros_like(weight) for weight in model.get_weights()]
    weights[2][:] = 20.0
    weights[3][:] = 1.0
    model.set_weights(weights)
    return model, np.random.default_rng(0).normal(size=(12, steps, 1)).astype(np.float32)


def test_a_state_that_reaches_too_far_is_refused_with_the_ways_out(monkeypatch):
    monkeypatch.setattr(integer_op, "MOST_BITS", 2)
    model, samples = counter(6)
    with pytest.raises(ConversionError, match=r"counter reaches 6,.*holds 4 at most.*\{layers: counter, to: float\}"):
        convert_with_notes(model, Export(**FORM), samples, "metric")
    kept = convert_with_notes(model, Export(rules=[{"layers": "counter", "to": "float"}], **FORM), samples, "metric")
    assert LSTM in [op.name for op in kept.made.ops if op.floating]
    others = convert_with_notes(model, Export(target="int_only"), samples, "metric")
    assert LSTM not in [op.name for op in others.made.ops]
    assert any("as one op" in note and "holds 4 at most" in note for note in others.notes)


@pytest.mark.parametrize(("reach", "bits"), [(0.0, 0), (1e-3, 0), (1.0, 0), (1.01, 1), (2.0, 1), (33.0, 6), (64.0, 6)])
def test_the_bits_of_a_state_are_the_fewest_that_hold_it(reach, bits):
    for ends in ({"min": -reach, "max": 0.0}, {"min": 0.0, "max": reach}):
        assert integer_op.cell_bits(ends, "memory/sequence") == bits
    with pytest.raises(ConversionError, match="memory"):
        integer_op.cell_bits({"min": -65.0, "max": 1.0}, "memory/sequence")


def test_litert_is_right_with_the_most_bits():
    model, samples = counter(60)
    prepared = prepare(model, Export(**FORM), samples)
    [found] = Runner(prepared.file)(samples).values()
    assert np.abs(found - model.predict(samples, verbose=0)).max() < 0.02


def test_a_state_far_below_1_is_held_as_finely_as_the_op_can():
    """LiteRT has no tanh of a state with fewer bits before the point."""
    model = chain(layers.LSTM(2), shape=(3, 1))
    weights = [np.zeros_like(weight) for weight in model.get_weights()]
    weights[0][0, 4:6] = 0.05
    weights[2][:] = np.repeat([20.0, -20.0, 0.0, 20.0], 2)
    model.set_weights(weights)
    samples = {model.inputs[0].name: np.random.default_rng(0).normal(size=(16, 3, 1)).astype(np.float32)}
    conversion = convert_with_notes(model, Export(**FORM), samples, "metric")
    [(inputs, _, _)] = ops(conversion.content)
    assert grid(inputs[19])[0] == 2.0**-15
    [found] = Runner(conversion.content)(samples).values()
    assert snr_db(by_keras(model, samples), found) > 30


# Pruned and clustered kernels


@functools.cache
def sparse(kind):
    """A model whose kernels have zeros, few values or both, and its int8 file."""
    model, samples = built(chain(layers.LSTM(16), layers.Dense(2)))
    for variable in (model.layers[0].cell.kernel, model.layers[0].cell.recurrent_kernel):
        values = np.asarray(variable)
        if "clustered" in kind:
            values = np.array([-0.6, -0.2, 0.1, 0.5], np.float32)[np.digitize(values, [-0.4, 0.0, 0.3])]
        if "pruned" in kind:
            values = np.where(np.abs(np.asarray(variable)) < 0.6, 0, values)
        variable.assign(values)
    return model, samples, convert_with_notes(model, Export(**FORM), samples, "metric")


@pytest.mark.parametrize("kind", ["pruned clustered", "pruned", "clustered"])
@pytest.mark.sample(1)
def test_zeros_stay_zeros_and_values_stay_few(kind):
    model, _, conversion = sparse(kind)
    [(inputs, _, _)] = ops(conversion.content)
    parsed = flatbuffer.parse(conversion.content)
    layer = model.layers[0]
    for kernels, variable in ((inputs[1:5], layer.cell.kernel), (inputs[5:9], layer.cell.recurrent_kernel)):
        stored = [np.frombuffer(bytes(bytearray(parsed.buffers[t.buffer].data)), np.int8) for t in kernels]
        whole = np.concatenate([part.reshape(t.shape) for part, t in zip(stored, kernels, strict=True)]).T
        values = np.asarray(variable)
        assert np.array_equal(whole == 0, values == 0) or kind == "clustered"
        if "clustered" in kind:  # equal values are equal integers in all gates
            assert len({float(t.quantization.scale[0]) for t in kernels}) == 1
            assert len(np.unique(whole)) == len(np.unique(values)) <= 5
    row = next(row for row in conversion.audit.rows if row.op == LSTM)
    assert row.zeros == pytest.approx(row.float_zeros, abs=0.02)


def test_a_gate_of_zeros_has_a_bias_that_fits():
    model, samples = built("last step")
    layer = model.layers[0]
    kernel, bias = layer.cell.kernel.numpy(), layer.cell.bias.numpy()
    kernel[:, 4:8], bias[4:8] = 0, 5.0  # the forget gate
    kernel[:, 8:12] *= 1e-9  # the cell gate
    layer.cell.kernel.assign(kernel)
    layer.cell.bias.assign(bias)
    conversion = convert_with_notes(model, Export(**FORM), samples, "metric")
    [found] = Runner(conversion.content)(samples).values()
    assert snr_db(by_keras(model, samples), found) > 25
