import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.targets.decoding import files
from tests.targets.decoding.reference_decoder import decode
from tfopt.errors import ModelError
from tfopt.recipe.decode import Decode
from tfopt.targets.decoding import stored_kernels, writer
from tfopt.targets.decoding.decoded_file import decoded, flash_bytes, least
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read
from tfopt.tflite.ops import DECODE

OPS = ["CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"]


@pytest.fixture(scope="module")
def plain():
    return files.with_values(files.file(), files.sparse_values)


@pytest.fixture(scope="module")
def dense():
    """A file without zeros or shared values, each kernel with all values of int8 alike."""
    return files.with_values(files.file(), lambda number, shape: np.resize(np.arange(-128, 128), shape))


def changed(content, change):
    """The file after a change to its schema object and its kernels."""
    model = flatbuffer.parse(content)
    change(model, stored_kernels.find(model))
    return flatbuffer.pack(model)


def found(content):
    return stored_kernels.find(flatbuffer.parse(content))


def ops(content):
    return [op.name for op in read(content).ops]


# Kernels


def test_the_kernels_are_those_of_the_ops_that_take_decoded_ones(plain):
    kernels = found(plain)
    assert {kernel.uses[0].name for kernel in kernels} == set(OPS)
    assert sorted(len(kernel.uses) for kernel in kernels) == [1, 1, 1, 1, 1, 1, 2]
    assert {(1, 144), (5, 144), (40, 144)} <= {kernel.kernel.values.shape for kernel in kernels}
    assert {kernel.uses[0].name: kernel.kernel.axis for kernel in kernels}["DEPTHWISE_CONV_2D"] == 3


def as_output(model, kernels):
    graph = model.subgraphs[0]
    graph.outputs = np.append(graph.outputs, kernels[0].uses[0].tensor).astype(np.int32)


def as_data(model, kernels):
    """Another op reads the first kernel as its bias."""
    graph = model.subgraphs[0]
    op = graph.operators[next(k for k in kernels[1:] if k.uses[0].name == "FULLY_CONNECTED").uses[0].op]
    op.inputs = np.array([*op.inputs[:2], kernels[0].uses[0].tensor], np.int32)


def tensor_of(change):
    def changing(model, kernels):
        change(model.subgraphs[0].tensors[kernels[0].uses[0].tensor])

    return changing


def with_zero_point(tensor):
    tensor.quantization.zeroPoint = np.full(len(tensor.quantization.scale), 3)


def with_odd_axis(tensor):
    tensor.quantization.quantizedDimension = 1


def four_bits(tensor):
    tensor.type = schema.TensorType.INT4


def variable(tensor):
    tensor.isVariable = True


@pytest.mark.parametrize(
    "change",
    [as_output, as_data, *map(tensor_of, (with_zero_point, with_odd_axis, four_bits, variable))],
    ids=["output", "data", "zero point", "axis", "int4", "variable"],
)
def test_a_kernel_that_is_something_else_too_or_has_an_odd_form_stays(plain, change):
    content = changed(plain, change)
    assert len(found(content)) == len(found(plain)) - 1
    assert [name for name in ops(decoded(content).content) if name != DECODE] == ops(plain)


def test_two_tensors_of_one_buffer_and_of_two_forms_stay(plain):
    def change(model, kernels):
        graph = model.subgraphs[0]
        graph.tensors[kernels[-1].uses[0].tensor].buffer = kernels[0].buffer

    assert len(found(changed(plain, change))) == len(found(plain)) - 2


# The file


def test_an_op_decodes_before_each_op_that_reads_the_kernel(plain):
    names = ops(decoded(plain).content)
    assert names.count(DECODE) == len(decoded(plain).chosen) + 1  # one kernel has two readers
    for at, name in enumerate(names):
        if name == DECODE:
            assert names[at + 1] in OPS
    assert [name for name in names if name != DECODE] == ops(plain)


def test_what_is_encoded_is_the_kernel_and_all_else_stays(plain):
    file = decoded(plain)
    before, after = flatbuffer.parse(plain), flatbuffer.parse(file.content)
    data = [bytes(np.asarray(buffer.data)) for buffer in after.buffers if buffer.data is not None]
    for kernel, encoded in file.chosen.items():
        values = kernel.kernel.values
        assert encoded.data in data
        assert encoded.tables in data
        np.testing.assert_array_equal(decode(encoded, values.shape, values.dtype, kernel.kernel.axis), values)
    kernels = {kernel.buffer for kernel in file.chosen}
    others = [
        bytes(np.asarray(b.data)) for i, b in enumerate(before.buffers) if b.data is not None and i not in kernels
    ]
    assert all(other in data for other in others)
    for old, new in zip(before.subgraphs[0].tensors, after.subgraphs[0].tensors, strict=False):
        assert (old.type, list(old.shape), old.name) == (new.type, list(new.shape), new.name)
        assert np.array_equal(old.quantization.scale, new.quantization.scale) if old.quantization else True
    assert [list(getattr(before.subgraphs[0], side)) for side in ("inputs", "outputs")] == [
        list(getattr(after.subgraphs[0], side)) for side in ("inputs", "outputs")
    ]


def test_encoded_constants_lie_at_multiples_of_16_bytes(plain):
    file = decoded(plain)
    assert len(file.content) % 16 == 0
    for encoded in file.chosen.values():
        assert any(file.content.startswith(encoded.data, at) for at in range(0, len(file.content), 16))
        assert any(file.content.startswith(encoded.tables, at) for at in range(0, len(file.content), 16))


def test_equal_kernels_are_stored_once(plain):
    def change(model, kernels):
        wide = max(kernels, key=lambda kernel: kernel.bytes)
        graph = model.subgraphs[0]
        number = len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.buffers[number].data = model.buffers[wide.buffer].data.copy()
        op = graph.operators[next(kernel for kernel in kernels if len(kernel.uses) == 2).uses[1].op]
        op.inputs = np.array([op.inputs[0], len(graph.tensors), op.inputs[2]], np.int32)
        tensor = schema.TensorT()
        own = graph.tensors[wide.uses[0].tensor]
        tensor.shape, tensor.type, tensor.quantization = own.shape, own.type, own.quantization
        tensor.buffer = number
        graph.tensors.append(tensor)

    content = changed(plain, change)
    file = decoded(content)
    largest = max(file.chosen.values(), key=lambda encoded: len(encoded.data))
    assert sum(encoded.data == largest.data for encoded in file.chosen.values()) == 2
    assert file.content.count(largest.data) == 1


def test_the_same_file_gives_the_same_bytes(plain):
    kernels = found(plain)
    chosen = {kernel: least(kernel.kernel) for kernel in kernels}
    assert writer.write(plain, chosen) == writer.write(plain, {kernel: chosen[kernel] for kernel in kernels})
    assert decoded(bytes(bytearray(plain))).content == decoded(plain).content


# The choice


def test_the_file_is_the_smallest_of_those_that_leave_out_a_kernel_or_take_one_more(plain):
    file = decoded(plain)
    assert len(file.content) < len(plain)
    options = {kernel: least(kernel.kernel) for kernel in (*file.chosen, *file.kept)}
    for kernel in options:
        other = {each: options[each] for each in options if (each in file.chosen) != (each is kernel)}
        assert len(writer.write(plain, other)) >= len(file.content)
    assert flash_bytes(plain) == len(file.content)
    assert file.plain_bytes == len(plain)


def test_no_file_gets_larger(dense):
    file = decoded(dense, Decode(codings=("look_up", "zero_mask")))
    assert file.content == dense
    assert file.chosen == {}
    assert set(file.kept.values()) <= {"no coding is smaller", "no coding"}


def test_kernels_above_the_limit_stay(plain):
    limit = 1000
    file = decoded(plain, Decode(ram=limit))
    assert max(kernel.bytes for kernel in file.chosen) <= limit
    assert {reason for kernel, reason in file.kept.items() if kernel.bytes > limit} == {"larger than ram allows"}
    assert len(decoded(plain).content) < len(file.content) < len(plain)
    assert decoded(plain, Decode(ram=1)).content == plain


@pytest.mark.parametrize("coding", ["look_up", "zero_mask", "huffman"])
def test_only_the_codings_that_are_asked_for_are_taken(plain, coding):
    assert {encoded.coding for encoded in decoded(plain, Decode(codings=coding)).chosen.values()} == {coding}


def test_a_file_without_kernels_stays():
    empty = keras.Sequential([keras.layers.Input((4,)), keras.layers.ReLU()])
    content = files.convert(empty, "float32")
    assert decoded(content).content == content


def test_what_is_no_tflite_file_is_refused():
    with pytest.raises(ModelError, match="TFL3"):
        decoded(b"nothing of the kind")
