"""A builder that writes equal parts once: what may be one part, and what must stay apart."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.tflite.schema_objects import same
from tfopt.tflite.flatbuffer import parse
from tfopt.tflite.sharing import SharingBuilder


@pytest.fixture
def builder():
    return SharingBuilder(16)  # which grows, so that places are counted over what it has grown by


def numbers(builder, values, dtype):
    return builder.CreateNumpyVector(np.array(values, dtype))


def table(builder, vector, number):
    """A table of an offset and a number."""
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    builder.PrependInt32Slot(1, number, 0)
    return builder.EndObject()


def test_equal_vectors_are_one_wherever_they_come_to_lie(builder):
    first = numbers(builder, [1, 2], np.int64)
    numbers(builder, [5], np.int8)  # the next one would be filled up to its border in another way
    length = builder.Offset()
    assert numbers(builder, [1, 2], np.int64) == first
    builder.StartVector(8, 2, 8)
    builder.PrependInt64(2)
    builder.PrependInt64(1)
    assert builder.EndVector() == first
    assert builder.Offset() == length


def test_vectors_of_other_values_elements_or_borders_stay_apart(builder):
    found = [
        numbers(builder, values, dtype)
        for values, dtype in (([1, 0], np.int32), ([1, 1], np.int32), ([1], np.int64), ([1, 0, 0, 0], np.int8))
    ]
    for alignment in (8, 16):
        builder.StartVector(4, 2, alignment)
        builder.PrependInt32(0)
        builder.PrependInt32(1)
        found.append(builder.EndVector())
    found += [builder.CreateString("ab"), builder.CreateByteVector(b"ab")]
    assert len(set(found)) == len(found)
    assert builder.CreateString(b"ab") == found[-2]


def test_bytes_stay_apart(builder):
    """They are the constants: a file would be of another size for other weights."""
    content = np.zeros(8, np.uint8)
    assert len({builder.CreateNumpyVector(content), builder.CreateNumpyVector(content)}) == 2
    assert builder.CreateByteVector(b"ab") != builder.CreateByteVector(b"ab")


def test_tables_are_one_where_their_numbers_and_what_they_point_to_are(builder):
    one, other = numbers(builder, [1], np.int32), numbers(builder, [2], np.int32)
    first = table(builder, one, 7)
    assert table(builder, numbers(builder, [1], np.int32), 7) == first
    assert len({first, table(builder, other, 7), table(builder, one, 8), table(builder, one, 0)}) == 4
    # The same distance from another place is another target.
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, first, 0)
    outer = builder.EndObject()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, outer, 0)
    assert builder.EndObject() != outer


def test_vectors_of_offsets_are_one_where_they_point_to_the_same(builder):
    words = [builder.CreateString(word) for word in ("a", "b")]

    def listed(places):
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()

    first = listed(words)
    builder.CreateString("between")
    assert listed(words) == first
    assert listed(words[::-1]) != first


def test_a_model_of_many_equal_parts_reads_as_it_was_written():
    generator, model = np.random.default_rng(0), schema.ModelT()
    graph = schema.SubGraphT()
    model.version, model.subgraphs, graph.tensors = 3, [graph], []
    model.buffers = [schema.BufferT() for _ in range(40)]
    for number, buffer in enumerate(model.buffers):
        buffer.data = generator.integers(0, 2, generator.integers(1, 4), np.uint8) if number % 3 else None
        tensor = schema.TensorT()
        tensor.shape, tensor.buffer = generator.integers(1, 3, generator.integers(1, 3), np.int32), number
        tensor.type, tensor.isVariable = int(generator.integers(0, 3)), bool(generator.integers(0, 2))
        tensor.name = str(generator.integers(0, 5)).encode()
        graph.tensors.append(tensor)
    plain, shared = flatbuffers.Builder(16), SharingBuilder(16)
    for each in (plain, shared):
        each.Finish(model.Pack(each), b"TFL3")
    assert len(shared.Output()) < 0.8 * len(plain.Output())
    assert same(parse(bytes(shared.Output())), parse(bytes(plain.Output())))
