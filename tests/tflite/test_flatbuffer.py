from concurrent.futures import ThreadPoolExecutor

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from tests.quantization.shared_conversions import Conversions
from tests.tflite.schema_objects import same
from tfopt.quantization import convert
from tfopt.quantization.preparation import prepare
from tfopt.recipe.export import Export
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read
from tfopt.tflite.flatbuffer import pack, parse, rename, slim, with_signature
from tfopt.tflite.interpreter import Runner

MODES = ("float32", "float16", "dynamic", "int8")


def samples(count=24):
    return np.random.default_rng(0).normal(size=(count, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    """Depthwise and separable convolutions have a scale for each channel, twice: of the kernel and of the bias."""
    keras.utils.set_random_seed(3)
    image = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    x = layers.Concatenate()([layers.MaxPooling2D(3, 1, "same")(x), layers.DepthwiseConv2D(3, padding="same")(x)])
    return keras.Model(image, layers.Dense(5, name="scores")(layers.Flatten()(x)))


@pytest.fixture(scope="module")
def files(model):
    """The model in every mode, with tensor names."""
    convert_once = Conversions(lambda name: (model, samples()))
    return {mode: convert_once("model", mode, slim=False).content for mode in MODES}


@pytest.fixture(scope="module")
def two_sided():
    """A float file of two inputs and two outputs, and its model."""
    keras.utils.set_random_seed(4)
    b, a = layers.Input((2,), name="b"), layers.Input((3,), name="a")
    z, y = layers.Dense(2, name="z")(b), layers.Dense(4, name="y")(layers.Concatenate()([a, b]))
    both = keras.Model([b, a], [z, y])
    return both, convert(both, "float32")


@pytest.fixture(scope="module")
def large():
    """An int8 file whose quantizer put the constants behind the flatbuffer, as it left it."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential([layers.Input((600,)), layers.Dense(600, activation="relu"), layers.Dense(4)])
    x = np.random.default_rng(0).normal(size=(16, 600)).astype(np.float32)
    content = prepare(model, Export(), x).quantized()
    assert max(buffer.offset for buffer in as_written(content).buffers) > 1
    return content, x


def as_written(content):
    """The schema object with the constants where the file has them."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def output(content, x=None, **settings):
    [found] = Runner(content, **settings)(samples(3) if x is None else x).values()
    return found


# Constants behind the flatbuffer


def test_constants_behind_the_flatbuffer_are_taken_into_it(large):
    content, _ = large
    model = parse(content)
    for mine, theirs in zip(model.buffers, as_written(content).buffers, strict=True):
        assert (mine.offset, mine.size) == (0, 0)
        if theirs.offset > 1:
            assert bytes(bytearray(mine.data)) == content[theirs.offset : theirs.offset + theirs.size]
    packed = as_written(pack(model))
    assert not any(buffer.offset for buffer in packed.buffers)
    assert max(len(buffer.data) for buffer in packed.buffers if buffer.data is not None) == 600 * 600


def test_a_file_whose_constants_were_taken_into_it_runs_the_same(large):
    content, x = large
    for delegate in (True, False):
        expected = output(content, x, delegate=delegate)
        assert np.ptp(expected) > 0
        np.testing.assert_array_equal(output(pack(parse(content)), x, delegate=delegate), expected)
        np.testing.assert_array_equal(output(slim(content), x, delegate=delegate), expected)


def test_a_place_that_was_reserved_and_never_filled_holds_nothing(files):
    model = parse(files["float32"])
    model.buffers[0].offset = 1
    assert parse(pack(model)).buffers[0].data is None


# What tensors share


@pytest.mark.parametrize("mode", MODES)
def test_packing_keeps_everything(files, mode):
    model = parse(files[mode])
    assert same(parse(pack(model)), model)


def test_tensors_share_equal_quantization_tables(files):
    """The generated writer writes each of them; the file with shared ones is smaller and reads the same."""
    model = parse(files["int8"])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    unshared, shared = bytes(builder.Output()), pack(model)
    assert len(shared) < len(unshared) - 500
    assert same(parse(shared), parse(unshared))
    np.testing.assert_array_equal(output(shared), output(unshared))


def test_tables_that_differ_in_one_value_alone_stay_apart(files):
    changes = {
        "scale": lambda table: setattr(table, "scale", np.float32([0.25])),
        "zeroPoint": lambda table: setattr(table, "zeroPoint", np.int64([7])),
        "quantizedDimension": lambda table: setattr(table, "quantizedDimension", 2),
        "min": lambda table: setattr(table, "min", np.float32([-1])),
        "max": lambda table: setattr(table, "max", np.float32([1])),
    }
    for name, change in changes.items():
        model = parse(files["int8"])
        tables = [schema.QuantizationParametersT() for _ in range(3)]
        for table in tables:
            table.scale, table.zeroPoint = np.float32([0.5]), np.int64([3])
        change(tables[1])
        for tensor, table in zip(model.subgraphs[0].tensors, tables, strict=False):
            tensor.quantization = table
        found = [tensor.quantization for tensor in parse(pack(model)).subgraphs[0].tensors[:3]]
        assert same(found, tables), name
        assert same(found[0], found[2]), name
        assert not same(found[0], found[1]), name


def test_one_pack_does_not_leak_into_another(files, large):
    """Offsets belong to one file: the same model packs to the same bytes, whatever was packed in between."""
    original = schema.QuantizationParametersT.Pack
    first = pack(parse(files["int8"]))
    pack(parse(large[0]))
    assert pack(parse(files["int8"])) == first
    assert schema.QuantizationParametersT.Pack is original


def test_a_pack_that_fails_puts_the_writer_back(files):
    model = parse(files["int8"])
    [number, *_] = [n for n, buffer in enumerate(model.buffers) if buffer.data is not None]
    shape, model.subgraphs[0].tensors[0].shape = model.subgraphs[0].tensors[0].shape, "wrong"
    with pytest.raises(Exception, match=r".+"):
        pack(model, aligned=[number])
    assert "Pack" not in vars(model.buffers[number])
    model.subgraphs[0].tensors[0].shape = shape
    assert pack(model) == pack(parse(files["int8"]))


def test_aligned_constants_lie_at_multiples_of_16_bytes(files):
    """Among equal ones that are not, too."""
    model = parse(files["int8"])
    numbers = [n for n, buffer in enumerate(model.buffers) if buffer.data is not None and len(buffer.data) > 8]
    twin = schema.BufferT()
    twin.data = model.buffers[numbers[0]].data
    model.buffers.append(twin)
    content = pack(model, aligned=[*numbers[1:], len(model.buffers) - 1])
    for number in (*numbers[1:], len(model.buffers) - 1):
        start = schema.Model.GetRootAs(content, 0).Buffers(number)._tab
        at = start.Vector(start.Offset(4))
        assert at % 16 == 0
        assert content[at : at + len(model.buffers[number].data)] == bytes(bytearray(model.buffers[number].data))


def test_a_file_is_as_large_whatever_its_constants(files):
    """Biases are all zero before a training, and all different after it: a budget of bytes is met before."""
    sizes = set()
    for fill in (np.zeros, np.random.default_rng(0).random):
        model = parse(files["int8"])
        for buffer in model.buffers:
            if buffer.data is not None:
                buffer.data = (fill(len(buffer.data)) * 255).astype(np.uint8)
        sizes.add(len(pack(model)))
    assert len(sizes) == 1


# Slim


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("delegate", [True, False])
def test_a_slim_file_gives_every_bit_of_what_it_gave(files, mode, delegate):
    small = slim(files[mode])
    assert len(small) < len(files[mode])
    np.testing.assert_array_equal(output(small, delegate=delegate), output(files[mode], delegate=delegate))


def test_a_slim_file_keeps_what_its_tensors_are_and_its_signature(files):
    before, after = read(files["int8"]), read(slim(files["int8"]))
    assert [(t.dtype, t.shape, t.bytes, t.zeros, t.scales) for t in before.tensors] == [
        (t.dtype, t.shape, t.bytes, t.zeros, t.scales) for t in after.tensors
    ]
    assert {t.name for t in after.tensors} == {""}
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    assert list(after.outputs) == ["scores"]


def test_slim_leaves_out_the_converters_notes_and_no_other_metadata(files):
    model = parse(files["float32"])
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"mine", 0
    model.metadata.append(entry)
    assert {b"CONVERSION_METADATA", b"mine"} <= {entry.name for entry in model.metadata}
    left = {entry.name for entry in parse(slim(pack(model))).metadata}
    assert b"mine" in left
    assert b"CONVERSION_METADATA" not in left


def test_slim_leaves_out_what_the_notes_said_too(files):
    model = parse(files["float32"])
    [notes] = [entry for entry in model.metadata if entry.name == b"CONVERSION_METADATA"]
    said = bytes(bytearray(model.buffers[notes.buffer].data))
    assert len(said) > 20
    assert said in files["float32"]
    assert said not in slim(files["float32"])


def test_slimming_twice_is_slimming_once(files):
    assert slim(slim(files["int8"])) == slim(files["int8"])


# Names


def test_rename_numbers_names_that_clash_over_all_subgraphs():
    loop = convert(keras.Sequential([layers.Input((3, 3)), layers.SimpleRNN(5)]), "float32", slim=False)
    model = parse(loop)
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    assert len(model.subgraphs) == 3
    old = [tensor.name.decode() for tensor in tensors]
    new = rename(model, lambda name: "same")
    assert [tensor.name.decode() for tensor in tensors] == ["same", *(f"same:{n}" for n in range(2, len(tensors) + 1))]
    assert set(new) == set(old)
    x = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    np.testing.assert_array_equal(output(pack(model), x), output(loop, x))


def test_rename_takes_no_name_that_another_tensor_has_asked_for(files):
    model = parse(files["float32"])
    wanted = iter(["a", "a:2", "a", "a", "a:2"])
    rename(model, lambda name: next(wanted, name))
    names = [tensor.name.decode() for tensor in model.subgraphs[0].tensors]
    assert names[:5] == ["a", "a:2", "a:3", "a:4", "a:2:2"]
    assert len(set(names)) == len(names)


def test_rename_answers_with_the_new_name_of_every_old_one(files):
    model = parse(files["float32"])
    old = [tensor.name.decode() for tensor in model.subgraphs[0].tensors]
    new = rename(model, str.upper)
    assert [new[name] for name in old] == [tensor.name.decode() for tensor in model.subgraphs[0].tensors]
    assert new[old[0]] == old[0].upper()


# Signatures


def signed(content, inputs, outputs):
    model = parse(content)
    model.signatureDefs = None
    with_signature(model, inputs, outputs)
    return pack(model)


def test_a_signature_names_inputs_and_outputs_in_their_order(two_sided):
    runner = Runner(signed(two_sided[1], ["left", "right"], ["small", "large"]))
    assert list(runner.inputs) == ["left", "right"]
    b, a = np.float32([[7, 8]]), np.float32([[1, 2, 3]])
    z, y = two_sided[0]([b, a])
    outputs = runner({"left": b, "right": a})
    np.testing.assert_allclose(outputs["small"], z, rtol=1e-5)
    np.testing.assert_allclose(outputs["large"], y, rtol=1e-5)


def test_a_signature_changes_nothing_else(files):
    np.testing.assert_array_equal(output(signed(files["int8"], ["x"], ["y"])), output(files["int8"]))


def test_a_signature_has_the_name_that_serving_knows(two_sided):
    [signature] = parse(signed(two_sided[1], ["p", "q"], ["r", "s"])).signatureDefs
    assert signature.signatureKey == flatbuffer.SIGNATURE.encode() == b"serving_default"


@pytest.mark.parametrize("names", [["one"], ["one", "two", "three"]])
def test_a_signature_needs_a_name_for_each(two_sided, names):
    with pytest.raises(ValueError, match="zip"):
        with_signature(parse(two_sided[1]), names, ["z", "y"])


def test_threads_that_pack_at_once_write_the_same_bytes(files):
    content = files["int8"]
    alone = slim(content)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(slim, [content] * 16)) == {alone}


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.tflite", b"", True),
        ("a.bin", b"\x1c\0\0\0TFL3....", True),
        ("a.bin", b"TFL3", False),
        ("a.keras", b"PK", False),
    ],
    ids=["the suffix", "the mark", "the mark in another place", "another file"],
)
def test_a_file_is_known_by_its_suffix_or_its_mark(tmp_path, name, content, found):
    (tmp_path / name).write_bytes(content)
    assert flatbuffer.is_tflite(tmp_path / name) is found


def lists_of_one(tensors, graphs):
    """A file whose lists name one tensor, and one graph of these, again and again."""
    builder = flatbuffers.Builder(1024)

    def listed(entry, count):
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(entry)
        return builder.EndVector()

    schema.TensorStart(builder)
    own = listed(schema.TensorEnd(builder), tensors)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, own)
    subgraphs = listed(schema.SubGraphEnd(builder), graphs)
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, subgraphs)
    builder.Finish(schema.ModelEnd(builder), flatbuffer.MARK)
    return bytes(builder.Output())


def test_a_file_that_claims_more_parts_than_it_has_room_for_is_refused_before_they_are_made():
    with pytest.raises(ValueError, match="more parts than it has room for"):
        flatbuffer.parse(lists_of_one(10_000, 10_000))
    assert len(flatbuffer.parse(lists_of_one(3, 1)).subgraphs[0].tensors) == 3
