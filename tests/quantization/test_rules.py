"""Rules: which op gets which precision, read back from the file; and the ones that would change nothing."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization import zoo
from tests.quantization.shared_conversions import Conversions
from tfopt.errors import InputError, ModelError
from tfopt.quantization import convert, quantizer
from tfopt.quantization.conversion import convert_with_notes
from tfopt.quantization.op_audit import kernels, unpacked
from tfopt.recipe.export import Export, Rule
from tfopt.tflite.file import read


def network():
    """Layers of every precision's kind, each with a name of its own."""
    keras.utils.set_random_seed(5)
    inner = keras.Sequential([layers.Input((6, 6, 8)), layers.Conv2D(8, 3, name="conv"), layers.ReLU()], name="inner")
    stack = [
        layers.Conv2D(8, 3, activation="relu", name="stem"),
        inner,
        layers.SeparableConv2D(4, 3, name="separable"),
        layers.BatchNormalization(name="folded"),
        layers.Dropout(0.5, name="idle"),
        layers.Flatten(),
        layers.Dense(6, activation="relu", name="hidden"),
        layers.Dense(3, name="head"),
        layers.Activation("softmax", name="chances"),
    ]
    return zoo.chain((8, 8, 3), *stack)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def ruled(model):
    """What `convert_with_notes` gives for the network under rules; its float conversion is made once."""
    convert = Conversions(lambda name: model)

    def get(*rules, **settings):
        return convert("network", rules=[Rule(layers=names, to=to) for names, to in rules], **settings)

    return get


def kinds(ruled, *rules, mode="int8"):
    """By layer the type of its kernels and of its output in the file, as `read` sees them."""
    content = ruled(*rules, mode=mode, slim=False).content
    found = {}
    ops = read(content).ops
    unpacked = {op.outputs[0].name: op.inputs[0] for op in ops if op.name == "DEQUANTIZE"}
    for op in ops:
        weights = [t if t.bytes else unpacked.get(t.name, t) for t in op.inputs[1:2]]
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED") and weights[0].bytes:
            name = op.outputs[0].name
            layer = next(n for n in ("stem", "inner/conv", "separable", "hidden", "head") if n in name)
            depthwise = "/depthwise" if op.name == "DEPTHWISE_CONV_2D" else ""
            found[layer + depthwise] = (weights[0].dtype, op.outputs[0].dtype)
    return found


ALL_INT8 = dict.fromkeys(("stem", "inner/conv", "separable/depthwise", "separable", "hidden", "head"), ("INT8", "INT8"))
INT4, INT16, FLOAT = ("INT4", "INT8"), ("INT8", "INT16"), ("FLOAT32", "FLOAT32")


def test_without_rules_everything_is_the_modes(ruled):
    assert kinds(ruled) == ALL_INT8


@pytest.mark.parametrize(("to", "kind"), [("int4", INT4), ("int16", INT16), ("float", FLOAT)])
@pytest.mark.parametrize("layer", ["stem", "inner/conv", "hidden"])
def test_a_layer_gets_the_precision_of_its_rule_and_no_other_does(ruled, layer, to, kind):
    assert kinds(ruled, (layer, to)) == {**ALL_INT8, layer: kind}


def test_one_file_mixes_all_precisions(ruled):
    found = kinds(ruled, ("stem", "float"), ("inner/conv", "int4"), ("hidden", "int16"))
    assert found == {**ALL_INT8, "stem": FLOAT, "inner/conv": INT4, "hidden": INT16}


def test_a_mixed_file_still_gives_what_keras_gives(model, ruled):
    mixed = ruled(("stem", "float"), ("inner", "int4"), ("hidden", "int16"))
    assert zoo.error(mixed.content, *model) < 0.15


@pytest.mark.parametrize(("first", "second", "kind"), [("int4", "float", FLOAT), ("float", "int4", INT4)])
def test_a_later_rule_wins(ruled, first, second, kind):
    assert kinds(ruled, ("head", first), ("head", second))["head"] == kind


def test_a_later_rule_wins_for_the_layers_it_chooses_alone(ruled):
    found = kinds(ruled, ("*", "int4"), ("Dense", "int8"), ("head", "float"))
    assert found == {
        **dict.fromkeys(ALL_INT8, INT4),
        "separable/depthwise": ("INT8", "INT8"),
        "hidden": ("INT8", "INT8"),
        "head": FLOAT,
    }


@pytest.mark.parametrize("pattern", ["inner", "inner/*", "inn*", "Sequential", "inner/conv", "conv"])
def test_a_pattern_reaches_into_a_nested_model(ruled, pattern):
    assert kinds(ruled, (pattern, "int4")) == {**ALL_INT8, "inner/conv": INT4}


def test_a_class_chooses_its_layers(ruled):
    assert kinds(ruled, ("Dense", "float")) == {**ALL_INT8, "hidden": FLOAT, "head": FLOAT}


def test_several_patterns_of_a_rule_each_choose(ruled):
    assert kinds(ruled, (("stem", "head"), "int4")) == {**ALL_INT8, "stem": INT4, "head": INT4}


@pytest.mark.parametrize("mode", ["dynamic", "weight_only"])
def test_rules_of_modes_that_store_kernels_alone_change_kernels_alone(ruled, mode):
    found = kinds(ruled, ("hidden", "int4"), ("stem", "float"), mode=mode)
    assert {name: weights for name, (weights, _) in found.items()} == {
        **dict.fromkeys(ALL_INT8, "INT8"),
        "hidden": "INT4",
        "stem": "FLOAT32",
    }
    assert {output for _, output in found.values()} == {"FLOAT32"}


def test_mode_int4_can_be_taken_back_to_int8_for_a_layer(ruled):
    found = kinds(ruled, ("head", "int8"), mode="int4")
    assert found == {**dict.fromkeys(ALL_INT8, INT4), "separable/depthwise": ("INT8", "INT8"), "head": ("INT8", "INT8")}


def test_a_part_that_has_no_form_stays_as_the_mode_makes_it_and_is_named(ruled):
    [left] = ruled(("separable", "int4")).skipped
    assert left.where.startswith("DEPTHWISE_CONV_2D separable/")
    assert "int4" in left.reason
    assert kinds(ruled, ("separable", "int4")) == {**ALL_INT8, "separable": INT4}


def test_a_part_that_a_later_rule_gives_a_form_is_not_named_as_left(ruled):
    assert ruled(("separable", "int4"), ("separable", "int16")).skipped == ()


def test_a_folded_normalization_follows_its_dense_layer():
    dense = [layers.Dense(8, name="it"), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3)]
    model, samples = zoo.chain((6,), *dense)
    content = convert(model, "int8", samples, rules=[Rule(layers="it", to="int4")])
    assert [op.kernels[0].dtype for op in read(content).ops if op.kernels] == ["INT4", "INT8"]


@pytest.fixture
def refused(ruled, one_line):
    """The message of the rules' refusal, with its field asserted: where the rule that is wrong stands."""

    def text(*rules, number=0, mode="int8"):
        with pytest.raises(ModelError) as caught:
            ruled(*rules, mode=mode)
        assert caught.value.field == ("rules", number, "layers")
        return one_line(caught)

    return text


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_layer(refused):
    assert "Did you mean 'head'?" in refused(("haed", "float"))


def test_of_several_rules_the_one_that_is_wrong_is_pointed_at(refused):
    assert "nothing_like_it" in refused(("head", "float"), (("stem", "nothing_like_it"), "int4"), number=1)


@pytest.mark.parametrize("layer", ["folded", "idle"])
def test_a_layer_that_has_no_op_of_its_own_is_refused(refused, layer):
    assert "reaches no op" in refused((layer, "float"))


def test_a_precision_that_no_op_of_a_layer_has_is_refused(refused):
    assert "no int4 form of SOFTMAX" in refused(("chances", "int4"))


def test_a_layer_without_a_kernel_is_refused_where_kernels_alone_are_quantized(refused):
    assert "SOFTMAX" in refused(("chances", "int8"), mode="dynamic")


def test_a_precision_that_a_mode_does_not_know_is_refused(model, one_line):
    with pytest.raises(InputError, match=r"dynamic can be int8, int4, float.*int16") as caught:
        convert(model[0], "dynamic", rules=[Rule(layers="head", to="int16")])
    one_line(caught)


@pytest.mark.parametrize("mode", ["float32", "float16"])
def test_rules_are_refused_where_nothing_is_quantized(model, one_line, mode):
    with pytest.raises(InputError, match="rules") as caught:
        convert(model[0], mode, rules=[Rule(layers="head", to="float")])
    one_line(caught)


def test_int4_for_a_table_that_the_quantizer_leaves_at_int8_is_an_error():
    model = keras.Sequential(
        [layers.Input((5,), dtype="int32"), layers.Embedding(30, 8, name="table"), layers.Flatten(), layers.Dense(3)]
    )
    words = np.random.default_rng(0).integers(0, 30, (40, 5)).astype(np.int32)
    with pytest.raises(ModelError, match=r"'table' -> int4 would change nothing.*GATHER"):
        convert(model, "int8", words, rules=[{"layers": "table", "to": "int4"}])


@pytest.fixture(scope="module")
def between():
    """A model with operations between its layers and inside of an inner model, its samples, and their names by class.

    An activation is folded into the product before it.
    """
    keras.utils.set_random_seed(5)
    x = layers.Input((6,))
    inner = keras.Model(x, keras.ops.tanh(layers.Dense(5, name="one")(x)), name="inner")
    y = layers.Input((6,))
    h = keras.ops.matmul(inner(y), zoo.normal(5, 4))
    h = keras.ops.sigmoid(layers.Dense(5, name="two")(keras.ops.relu(h)))
    model = keras.Model(y, layers.Dense(3, name="head")(h))
    every = (op for owner in (model, inner) for op in owner.operations if not isinstance(op, layers.Layer))
    return model, zoo.normal(40, 6), {type(op).__name__: op.name for op in every}


def floating(between, *patterns, **settings):
    """The names of the ops that compute in float."""
    model, samples, _ = between
    rules = [{"layers": list(patterns), "to": "float"}] if patterns else []
    return convert_with_notes(model, Export(mode="int8", rules=rules, **settings), samples).audit.floating


@pytest.mark.parametrize(
    ("kind", "op"), [("Tanh", "TANH"), ("Matmul", "FULLY_CONNECTED"), ("Sigmoid", "LOGISTIC"), ("inner/Tanh", "TANH")]
)
def test_a_rule_reaches_an_operation_between_layers_by_its_name_and_class(between, kind, op):
    above, _, kind = kind.rpartition("/")
    name = between[2][kind]
    assert floating(between) == ()
    for pattern in (f"{above}/{name}",) if above else (name, kind):
        [found] = floating(between, pattern)
        assert found.startswith(f"{op} ")


def test_an_operation_that_is_folded_into_another_says_into_which(between, one_line):
    with pytest.raises(ModelError, match=f"is folded into the op of {between[2]['Matmul']}. Name that") as caught:
        floating(between, between[2]["Relu"])
    one_line(caught)


def test_int4_reaches_the_constant_of_an_operation(between):
    model, samples, names = between
    rules = [{"layers": names["Matmul"], "to": "int4"}]
    rows = convert_with_notes(model, Export(mode="int8", rules=rules), samples).audit.rows
    assert {row.layer: row.dtype for row in rows}[names["Matmul"]] == "int4"


def test_a_misspelt_operation_gets_the_nearest_name(between):
    with pytest.raises(ModelError, match=f"Did you mean '{between[2]['Matmul']}'"):
        floating(between, between[2]["Matmul"].replace("mm", "m").replace("tm", "m"))


@pytest.mark.parametrize("mode", ["int8", "int16x8", "dynamic", "weight_only"])
@pytest.mark.parametrize(
    "name", ["residual", "separable", "attention", "embedding", "normalization", "conv1d causal dilated"]
)
@pytest.mark.sample(6)
def test_what_is_said_to_have_an_int4_form_is_int4_in_the_file(converted, name, mode):
    prepared = converted.prepared(name, mode)
    able = [i for i, op in enumerate(prepared.source.ops) if quantizer.supports(op, mode, "int4")]
    made = read(prepared.quantized(dict.fromkeys(able, "int4"))).ops
    after = {op.outputs[0].name: kernels(op, unpacked(made)) for op in made if op.outputs}
    for index in able:
        stored = after[prepared.source.ops[index].outputs[0].name]
        assert {t.dtype for t in stored if len(t.shape) > 1} == {"INT4"}
