"""Sensitivity by layer, against a brute force on the Keras model itself."""

import gzip
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from tfopt.quantization import convert, quantizer, rank_layers
from tfopt.quantization.preparation import prepare
from tfopt.quantization.sensitivity import SCORED_SAMPLES, groups, measure, measure_groups
from tfopt.recipe.export import Export
from tfopt.tflite import flatbuffer
from tfopt.tflite.interpreter import Runner


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    return (found.images / 16).astype(np.float32)[..., None], found.target


@pytest.fixture(scope="module")
def trained(digits):
    """A small convolutional network that reads digits."""
    x, y = digits
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((8, 8, 1))])
    for name, width in (("one", 8), ("two", 12), ("three", 12), ("four", 16)):
        model.add(layers.Conv2D(width, 3, padding="same", activation="relu", name=name))
    model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(32, activation="relu", name="five"))
    model.add(layers.Dense(16, activation="relu", name="six"))
    model.add(layers.Dense(10, name="seven"))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=2, batch_size=64, verbose=0)
    return model


@pytest.fixture(scope="module")
def prepared(trained, digits):
    return prepare(trained, Export(), digits[0][:128])


@pytest.fixture(scope="module")
def found(prepared):
    return measure(prepared)


@pytest.fixture(scope="module")
def in_int8(prepared):
    """What is found where int8 alone is asked for, and what was told on the way; gzip would fail it."""
    done = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gzip, "compress", lambda *arguments, **settings: pytest.fail("gzip takes most of the time"))
        return measure(prepared, ("int8",), done.append), done


def at(found, precision):
    return {s.group.name: s for s in found if s.precision == precision}


def ranks(values):
    return np.argsort(np.argsort(values))


def rounded(kernel, bits):
    """A kernel on the grid of symmetric integers, with a scale for each of its output channels."""
    top = 2 ** (bits - 1) - 1
    scale = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)), keepdims=True) / top
    return np.round(kernel / np.where(scale == 0, 1, scale)).clip(-top, top) * scale


def brute_force(model, name, x, bits):
    """Power of the error over that of the output where one layer's kernel is rounded in Keras."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    kernel = copy.get_layer(name).kernel
    kernel.assign(rounded(kernel.numpy(), bits))
    expected, got = (m(x).numpy().astype(np.float64) for m in (model, copy))
    return ((expected - got) ** 2).mean() / (expected**2).mean()


def error(prepared, content):
    """The same for a file against the float one."""
    x = {name: array[:SCORED_SAMPLES] for name, array in prepared.samples.items()}
    [expected], [got] = (Runner(c)(x).values() for c in (prepared.source.content, content))
    return float(((expected - got).astype(np.float64) ** 2).mean() / (expected.astype(np.float64) ** 2).mean())


def constant_bytes(content):
    return sum(len(buffer.data) for buffer in flatbuffer.parse(content).buffers if buffer.data is not None)


# The ranking


def test_layers_rank_as_a_brute_force_on_the_keras_model_ranks_them(found, trained, digits):
    names = ["one", "two", "three", "four", "five", "six", "seven"]
    forced = np.array([brute_force(trained, name, digits[0][:SCORED_SAMPLES], 4) for name in names])
    measured = np.array([at(found, "int4")[name].error for name in names])
    assert forced.max() > 3 * forced.min()  # there is something to rank
    assert np.corrcoef(ranks(forced), ranks(measured))[0, 1] > 0.7
    assert np.corrcoef(np.log(forced), np.log(measured))[0, 1] > 0.7


def test_where_the_scale_covers_the_largest_weight_the_error_is_that_of_the_brute_force(prepared, trained, digits):
    """Int4 kernels whose scale is not searched for, one by one; the file's activations are int8, which adds little."""
    for index, op in enumerate(prepared.source.ops):
        if op.kernels:
            name = prepared.source.owners[index][0].path
            content = quantizer.quantize(prepared.source, "none", prepared.extremes.ranges(), {index: "int4"})
            forced = brute_force(trained, name, digits[0][:SCORED_SAMPLES], 4)
            assert 0.5 * forced < error(prepared, content) < 2 * forced, name


def test_int4_loses_more_than_int8_and_saves_more(found):
    eight, four = at(found, "int8"), at(found, "int4")
    assert set(four) == {"one", "two", "three", "four", "five", "six", "seven"} <= set(eight)
    for name in four:
        assert 0 < eight[name].error < four[name].error
        assert 0 < eight[name].bytes_saved < four[name].bytes_saved


def test_the_least_error_per_byte_saved_comes_first_and_what_saves_nothing_last(found):
    ratios = [s.error_per_byte for s in found]
    assert ratios == sorted(ratios)
    assert ratios[0] == found[0].error / found[0].bytes_saved
    assert {s.group.kind for s in found if not s.bytes_saved} == {"MAX_POOL_2D", "RESHAPE"}
    assert all(s.error_per_byte == np.inf for s in found if not s.bytes_saved)


def test_operations_between_layers_are_ranked_by_the_names_that_rules_take():
    x = layers.Input((6,))
    model = keras.Model(x, layers.Dense(3, name="head")(keras.ops.tanh(layers.Dense(4, name="body")(x))))
    ranked = rank_layers(model, normal(20, 6), precisions=("int8",))
    name = next(op.name for op in model.operations if type(op).__name__ == "Tanh")
    assert {line.group.name: line.group.kind for line in ranked.layers} == {
        "body": "FULLY_CONNECTED",
        name: "TANH",
        "head": "FULLY_CONNECTED",
    }


def test_what_makes_the_output_infinite_or_nan_loses_most_of_all():
    """Squares that int8 takes for 0, before a logarithm."""
    x = layers.Input((6,))
    model = keras.Model(x, layers.Dense(3, name="head")(keras.ops.log(x * x + 1e-6)))
    ranked = rank_layers(model, normal(60, 6), precisions=("int8",)).layers
    worst = next(op.name for op in model.operations if type(op).__name__ == "Add")
    assert [line.group.name for line in ranked if line.error == np.inf] == [worst]
    assert not any(np.isnan(line.error) for line in ranked)


@pytest.mark.parametrize("mode", ["dynamic", "weight_only"])
def test_in_modes_of_kernels_alone_a_layer_is_quantized_as_in_the_mode(prepared, mode):
    there = replace(prepared, export=Export(mode=mode))
    group = next(group for group in groups(prepared.source) if group.name == "six")
    [one] = measure_groups(there, [(group, "int8")])
    content = convert(
        prepared.model, mode, prepared.samples, rules=[{"layers": "*", "to": "float"}, {"layers": "six", "to": "int8"}]
    )
    assert one.error == pytest.approx(error(prepared, content), rel=1e-4)


def test_the_bytes_saved_are_those_that_the_file_loses(prepared, found):
    for s in found:
        able = {i: s.precision for i in s.group.ops if quantizer.supports(prepared.source.ops[i], "none", s.precision)}
        content = quantizer.quantize(prepared.source, "none", prepared.extremes.ranges(), able)
        assert s.bytes_saved == constant_bytes(prepared.source.content) - constant_bytes(content), s


def test_the_bytes_saved_are_those_of_the_arithmetic(found, trained):
    for precision, bits in (("int8", 8), ("int4", 4)):
        for name in ("one", "four", "seven"):
            size = trained.get_layer(name).kernel.numpy().size
            assert at(found, precision)[name].bytes_saved == size * (32 - bits) // 8
            assert at(found, precision)[name].group.floats == 4 * size


def test_the_way_to_find_a_scale_is_the_one_that_loses_less(prepared, found):
    """Both ways are made again for every layer."""
    four, ranges = at(found, "int4").values(), prepared.extremes.ranges()
    for s in four:
        able = dict.fromkeys(s.group.ops, "int4")
        lost = {
            way: error(
                prepared, quantizer.quantize(prepared.source, "none", ranges, able, None, dict.fromkeys(able, way))
            )
            for way in ("minmax", "octav")
        }
        assert lost[s.algorithm] == min(lost.values())
        assert s.error == pytest.approx(lost[s.algorithm], rel=1e-4)
    assert {s.algorithm for s in four} == {"minmax", "octav"}
    assert {s.algorithm for s in at(found, "int8").values()} == {"minmax"}


def test_the_public_ranking_is_the_same_with_what_was_done_to_the_model_before(trained, digits, found):
    ranked = rank_layers(trained, digits[0][:128])
    assert ranked.layers == tuple(found)
    assert ranked.notes == ()


def test_the_public_ranking_unrolls_loops_and_says_so_and_takes_random_inputs_where_there_are_none():
    model = keras.Sequential([layers.Input((2, 3)), layers.LSTM(5, name="memory"), layers.Dense(4, name="head")])
    ranked = rank_layers(model, precisions=("int8",))
    assert "loops" in ranked.notes[0]
    assert {"memory", "head"} <= {line.group.name for line in ranked.layers}


def test_only_the_precisions_that_are_asked_for_are_tried(in_int8, found):
    assert in_int8[0] == [s for s in found if s.precision == "int8"]


def test_progress_goes_from_nothing_to_all(prepared, in_int8):
    _, done = in_int8
    assert done == sorted(done)
    assert done[-1] == 1
    assert len(done) == len(groups(prepared.source))


# Layers made fragile on purpose


def stack(*widths):
    keras.utils.set_random_seed(2)
    parts = [layers.Dense(w, activation="relu", bias_initializer="ones", name=f"d{i}") for i, w in enumerate(widths)]
    return keras.Sequential([layers.Input((12,)), *parts, layers.Dense(6, name="last")])


@pytest.fixture(scope="module", params=["d1", "d2"])
def with_huge_weights(request):
    """A layer each of whose channels has a weight of 1000 for an input that is always 0, and the model it is in.

    Nothing changes but the channel's scale.
    """
    fragile, model = request.param, stack(16, 16, 16)
    names = [layer.name for layer in model.layers]
    before, layer = model.layers[names.index(fragile) - 1], model.get_layer(fragile)
    kernel, bias = before.get_weights()
    kernel[:, 0], bias[0] = -np.abs(kernel[:, 0]), -100
    before.set_weights([kernel, bias])
    kernel, bias = layer.get_weights()
    kernel[0] = 1000
    layer.set_weights([kernel, bias])
    return fragile, prepare(model, Export(), normal(64, 12))


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_layer_with_huge_weights_is_the_worst(with_huge_weights, precision):
    fragile, ready = with_huge_weights
    found = measure(ready, (precision,))
    worst, second = sorted(found, key=lambda s: -s.error)[:2]
    assert worst.group.name == fragile
    assert worst.error > 10 * second.error


def test_a_layer_with_a_huge_activation_is_the_worst_together_with_the_one_that_reads_it():
    """One unit reaches thousands, and nothing reads it: the range of the others' tensor is lost to it."""
    model = stack(16, 16, 16)
    spread, reader = model.get_layer("d1"), model.get_layer("d2")
    kernel, bias = spread.get_weights()
    bias[0] = 5000
    spread.set_weights([kernel, bias])
    kernel, bias = reader.get_weights()
    kernel[0] = 0
    reader.set_weights([kernel, bias])
    found = sorted(measure(prepare(model, Export(), normal(64, 12)), ("int8",)), key=lambda s: -s.error)
    assert {s.group.name for s in found[:2]} == {"d1", "d2"}
    assert found[1].error > 10 * found[2].error


# What belongs together


def test_a_layer_that_is_called_twice_is_one_group_and_its_kernel_counts_once():
    a, b = layers.Input((8,), name="a"), layers.Input((8,), name="b")
    shared = layers.Dense(6, name="shared")
    model = keras.Model([a, b], layers.Dense(3, name="head")(layers.Concatenate(name="both")([shared(a), shared(b)])))
    ready = prepare(model, Export(), {"a": normal(16, 8), "b": normal(16, 8) + 1})
    [group] = [group for group in groups(ready.source) if group.name == "shared"]
    assert [ready.source.ops[i].name for i in group.ops] == ["FULLY_CONNECTED"] * 2
    assert group.floats == 4 * 8 * 6
    eight = at(measure(ready), "int8")
    assert eight["shared"].bytes_saved == 3 * 8 * 6
    assert {"shared", "head", "both"} == set(eight)


def test_a_separable_convolution_is_one_group():
    model = keras.Sequential([layers.Input((8, 8, 3)), layers.SeparableConv2D(6, 3, name="separable")])
    ready = prepare(model, Export(), normal(16, 8, 8, 3))
    [group] = groups(ready.source)
    assert (group.name, group.kind) == ("separable", "DEPTHWISE_CONV_2D+CONV_2D")
    assert group.floats == 4 * (9 * 3 + 3 * 6)
    found = measure(ready)
    assert at(found, "int8")["separable"].bytes_saved == 3 * (9 * 3 + 3 * 6)
    assert at(found, "int4")["separable"].bytes_saved == 4 * 3 * 6 - 9  # a depthwise kernel has no int4


def test_layers_of_a_nested_model_go_by_their_path():
    inner = keras.Sequential(
        [layers.Input((6,)), layers.Dense(6, name="dense"), layers.Dense(6, name="other")], name="inner"
    )
    model = keras.Sequential([layers.Input((6,)), inner, layers.Dense(3, name="dense")])
    ready = prepare(model, Export(), normal(16, 6))
    names = [group.name for group in groups(ready.source)]
    assert names == ["inner/dense", "inner/other", "dense"]


def test_ops_between_layers_are_groups_of_their_own():
    x = layers.Input((6,))
    model = keras.Model(x, layers.Dense(4, name="head")(layers.Dense(6, name="first")(x) * layers.Dense(6)(x)))
    ready = prepare(model, Export(), normal(16, 6))
    kinds = {group.kind: group for group in groups(ready.source)}
    assert len(kinds["MUL"].ops) == 1
    assert kinds["MUL"].floats == 0


def test_loops_are_left_out_with_all_that_is_in_them():
    model = keras.Sequential([layers.Input((3, 3)), layers.LSTM(5, name="memory"), layers.Dense(4, name="head")])
    ready = prepare(model, Export(recurrent="loop"), normal(16, 3, 3))
    inside = {i for i, op in enumerate(ready.source.ops) if op.graph}
    assert inside
    assert not inside & {i for group in groups(ready.source) for i in group.ops}
    found = measure(ready)
    assert not any("WHILE" in s.group.kind and s.bytes_saved for s in found)
    assert at(found, "int8")["head"].bytes_saved == 3 * 5 * 4


def test_a_model_of_several_outputs_has_the_mean_of_their_errors():
    x = layers.Input((8,), name="x")
    y, z = layers.Dense(4, name="y")(x), layers.Dense(4, name="z")(x)
    ready = prepare(keras.Model(x, [y, z]), Export(), normal(32, 8))
    eight = at(measure(ready), "int8")
    index = eight["y"].group.ops[0]
    content = quantizer.quantize(ready.source, "none", ready.extremes.ranges(), {index: "int8"})
    few = normal(32, 8)[:SCORED_SAMPLES]
    expected, got = Runner(ready.source.content)(few), Runner(content)(few)
    alone = ((expected["y"] - got["y"]) ** 2).mean() / (expected["y"] ** 2).mean()
    assert alone > 0
    np.testing.assert_array_equal(got["z"], expected["z"])
    assert eight["y"].error == pytest.approx(alone / 2, rel=1e-3)


def test_ranking_layers_compresses_nothing(in_int8):
    assert in_int8[0]
