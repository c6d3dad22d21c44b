"""Leaving out what no op reads: the same outputs, and nothing left over."""

import keras
import numpy as np
from keras import layers

from tfopt.quantization.float_conversion import to_float
from tfopt.tflite import flatbuffer
from tfopt.tflite.interpreter import Runner
from tfopt.tflite.unused import leave_out_unused


def test_tensors_and_buffers_without_an_op_are_gone_and_all_else_is_as_it_was():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3), layers.Dense(2)])
    content = to_float(model).content
    parsed = flatbuffer.parse(content)
    graph = parsed.subgraphs[0]
    before = len(graph.tensors), len(parsed.buffers)
    for number in range(3):  # the last ones; and one before all others
        flatbuffer.add_constant(parsed, graph, f"left over {number}", np.ones(1000, np.float32))
    graph.tensors.insert(0, graph.tensors.pop())
    for op in graph.operators:
        op.inputs, op.outputs = op.inputs + (op.inputs >= 0), op.outputs + 1
    graph.inputs, graph.outputs = graph.inputs + 1, graph.outputs + 1
    for entry in (*parsed.signatureDefs[0].inputs, *parsed.signatureDefs[0].outputs):
        entry.tensorIndex += 1
    leave_out_unused(parsed)
    assert len(graph.tensors) <= before[0]
    assert len(parsed.buffers) <= before[1]
    found = flatbuffer.pack(parsed)
    assert len(found) <= len(content)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    [expected], [after] = (Runner(one)(x).values() for one in (content, found))
    assert np.array_equal(after, expected)


def test_the_insides_of_loops_keep_their_own_numbers():
    model = keras.Sequential([layers.Input((4, 3)), layers.GRU(2)])
    content = to_float(model).content
    parsed = flatbuffer.parse(content)
    assert len(parsed.subgraphs) > 1
    leave_out_unused(parsed)
    x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    [expected], [after] = (Runner(one)(x).values() for one in (content, flatbuffer.pack(parsed)))
    assert np.array_equal(after, expected)
