import keras
import pytest
from keras import layers

from tfopt.errors import ModelError
from tfopt.models.layers import by_rules, kernels, operations, prunable, select, walk


def paths(model):
    return [place.path for place in walk(model)]


def place_of(model, path):
    return next(place for place in walk(model) if place.path == path)


def attributes(layer, shape, asked=False, kernels_of=prunable, **options):
    """What is prunable in a layer that stands alone in a model."""
    model = keras.Sequential([layers.Input(shape, **options), layer])
    return [k.attribute for place in walk(model) for k in (kernels_of(place, asked) if asked else kernels_of(place))]


def encoder_model():
    encoder = keras.Sequential(
        [
            layers.Input((8, 8, 1), name="pixels"),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
        ],
        name="encoder",
    )
    x = layers.Input((8, 8, 1), name="image")
    h = layers.Flatten(name="flat")(encoder(x))
    return keras.Model(x, layers.Dense(2, name="head")(layers.Dense(4, name="hidden")(h)))


# Walking


def test_a_sequential_model_is_walked_in_order():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(4, name="one"), layers.Dense(2, name="two")])
    assert [p for p in paths(model) if p in ("one", "two")] == ["one", "two"]


def test_layers_of_an_inner_model_have_its_name_before_theirs():
    found = paths(encoder_model())
    assert {"image", "encoder", "encoder/conv", "encoder/norm", "flat", "hidden", "head"} <= set(found)
    assert found.index("encoder") < found.index("encoder/conv") < found.index("head")


def test_every_layer_of_a_subclassed_model_with_a_list_is_found():
    class Stack(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [layers.Dense(3, name="first"), layers.Dense(2, name="second")]
            self.head = layers.Dense(1, name="head")

        def call(self, x):
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    model = Stack()
    model(keras.ops.zeros((1, 4)))
    assert sorted(paths(model)) == ["first", "head", "second"]


def test_a_layer_inside_a_users_own_layer_is_found():
    class Residual(layers.Layer):
        def __init__(self, **rest):
            super().__init__(**rest)
            self.inner = layers.Dense(3, name="inner")

        def call(self, x):
            return x + self.inner(x)

    model = keras.Sequential([layers.Input((3,)), Residual(name="residual")])
    assert "residual/inner" in paths(model)


def test_a_shared_layer_comes_once():
    a, b = layers.Input((3,)), layers.Input((3,))
    shared = layers.Dense(2, name="shared")
    model = keras.Model([a, b], layers.Add()([shared(a), shared(b)]))
    assert paths(model).count("shared") == 1


def test_a_layer_shared_with_an_inner_model_comes_once():
    x, shared = layers.Input((3,)), layers.Dense(3, name="shared")
    inner = keras.Sequential([layers.Input((3,)), shared], name="inner")
    found = [p for p in paths(keras.Model(x, shared(inner(x)))) if p.endswith("shared")]
    assert len(found) == 1


def test_the_projections_of_attention_are_found():
    x = layers.Input((5, 8))
    model = keras.Model(x, layers.MultiHeadAttention(2, 4, name="attention")(x, x))
    found = [p for p in paths(model) if place_of(model, p).layer.__class__.__name__ == "EinsumDense"]
    assert sorted(found) == [f"attention/{part}" for part in ("attention_output", "key", "query", "value")]


def test_both_cells_of_a_bidirectional_lstm_are_found():
    model = keras.Sequential([layers.Input((5, 3)), layers.Bidirectional(layers.LSTM(4, name="lstm"), name="both")])
    cells = [place for place in walk(model) if type(place.layer).__name__ == "LSTMCell"]
    assert sorted(cell.path for cell in cells) == ["both/backward_lstm/lstm_cell", "both/forward_lstm/lstm_cell"]
    assert len({id(cell.layer) for cell in cells}) == 2


def test_a_place_knows_the_layers_it_lies_in():
    place = place_of(encoder_model(), "encoder/conv")
    assert [layer.name for layer in place.above] == ["encoder"]


# Patterns


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("encoder/conv", {"encoder/conv"}),
        ("conv", {"encoder/conv"}),
        ("Conv2D", {"encoder/conv"}),
        ("encoder", {"encoder", "encoder/pixels", "encoder/conv", "encoder/norm"}),
        ("Sequential", {"encoder", "encoder/pixels", "encoder/conv", "encoder/norm"}),
        ("encoder/*", {"encoder/pixels", "encoder/conv", "encoder/norm"}),
        ("h*", {"head", "hidden"}),
        ("Dense", {"head", "hidden"}),
        ("hea?", {"head"}),
        ("dense", set()),
    ],
)
def test_a_pattern_matches_path_name_class_and_the_layers_around(pattern, expected):
    assert {place.path for place in walk(encoder_model()) if place.matches(pattern)} == expected


def test_select_without_patterns_takes_all():
    places = list(walk(encoder_model()))
    assert select(places) == places


def test_select_takes_what_some_pattern_names():
    chosen = select(list(walk(encoder_model())), only=("head", "encoder/conv"))
    assert [place.path for place in chosen] == ["encoder/conv", "head"]


def test_skip_wins_over_only():
    chosen = select(list(walk(encoder_model())), only=("Dense",), skip=("head",))
    assert [place.path for place in chosen] == ["hidden"]


@pytest.mark.parametrize("knob", ["only", "skip"])
def test_a_pattern_without_a_match_names_the_nearest_layer_and_all_of_them(knob):
    with pytest.raises(ModelError, match=r"'haed'.*Did you mean 'head'.*encoder/conv") as caught:
        select(list(walk(encoder_model())), **{knob: ("haed",)})
    assert caught.value.field == (knob,)
    assert knob in str(caught.value)


# Operations between layers


def spectral_model():
    """An inner model with an operation of its own, and operations around it."""
    signal = layers.Input((6,))
    inner = keras.Model(signal, keras.ops.log(keras.ops.abs(layers.Dense(4, name="one")(signal)) + 1), name="inner")
    x = layers.Input((6,))
    return keras.Model(x, layers.Dense(2, name="head")(keras.ops.exp(inner(x) * 2)))


def test_operations_have_the_names_of_the_summary_behind_the_path_of_their_model():
    model = spectral_model()
    own = [operation.name for operation in model.operations if not isinstance(operation, layers.Layer)]
    inner = [op.name for op in model.get_layer("inner").operations if not isinstance(op, layers.Layer)]
    found = list(operations(model))
    assert [place.path for place in found] == [*own, *(f"inner/{name}" for name in inner)]
    assert [type(place.layer).__name__ for place in found] == ["Multiply", "Exp", "Absolute", "Add", "Log"]
    assert not {place.path for place in found} & set(paths(model))


@pytest.mark.parametrize(("pattern", "kinds"), [("Lo*", ["Log"]), ("inner", ["Absolute", "Add", "Log"])])
def test_a_pattern_matches_an_operation_by_name_class_and_the_models_around(pattern, kinds):
    assert [type(p.layer).__name__ for p in operations(spectral_model()) if p.matches(pattern)] == kinds


@pytest.mark.parametrize("kind", ["sequential", "subclassed"])
def test_other_models_have_layers_alone(kind):
    class Own(keras.Model):
        def call(self, x):
            return x + 1

    model = Own() if kind == "subclassed" else keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    assert list(operations(model)) == []


@pytest.mark.parametrize("knob", ["only", "skip"])
def test_a_pattern_that_names_an_operation_alone_says_so(knob, one_line):
    model = spectral_model()
    with pytest.raises(ModelError, match=r"'(only|skip)' matches exp\S* \(Exp\) alone, an operation") as caught:
        select(list(walk(model)), between=list(operations(model)), **{knob: ("Exp",)})
    assert caught.value.field == (knob,)
    assert "inner/one" in one_line(caught)


def test_a_rule_about_weights_that_names_an_operation_alone_says_so(one_line):
    model = spectral_model()
    with pytest.raises(ModelError, match="which has no weights") as caught:
        by_rules(list(walk(model)), [(("head",), 0.5), (("Exp",), 0.1)], list(operations(model)))
    assert caught.value.field == ("rules", 1, "layers")
    one_line(caught)


# What may be pruned


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (lambda: layers.Dense(3), (4,), ["kernel"]),
        (lambda: layers.EinsumDense("ab,bc->ac", 3), (4,), ["kernel"]),
        (lambda: layers.Conv1D(3, 2), (8, 2), ["kernel"]),
        (lambda: layers.Conv2D(3, 2), (8, 8, 2), ["kernel"]),
        (lambda: layers.Conv3D(3, 2), (8, 8, 8, 2), ["kernel"]),
        (lambda: layers.Conv1DTranspose(3, 2), (8, 2), ["kernel"]),
        (lambda: layers.Conv2DTranspose(3, 2), (8, 8, 2), ["kernel"]),
        (lambda: layers.Conv3DTranspose(3, 2), (8, 8, 8, 2), ["kernel"]),
        (lambda: layers.SeparableConv1D(3, 2), (8, 2), ["pointwise_kernel"]),
        (lambda: layers.SeparableConv2D(3, 2), (8, 8, 2), ["pointwise_kernel"]),
        (lambda: layers.LSTM(3), (5, 2), ["kernel", "recurrent_kernel"]),
        (lambda: layers.GRU(3), (5, 2), ["kernel", "recurrent_kernel"]),
        (lambda: layers.SimpleRNN(3), (5, 2), ["kernel", "recurrent_kernel"]),
        (lambda: layers.Embedding(9, 4), (5,), ["embeddings"]),
        (lambda: layers.DepthwiseConv1D(3), (8, 2), []),
        (lambda: layers.DepthwiseConv2D(3), (8, 8, 2), []),
        (lambda: layers.BatchNormalization(), (8,), []),
        (lambda: layers.LayerNormalization(), (8,), []),
        (lambda: layers.PReLU(), (8,), []),
        (lambda: layers.ReLU(), (8,), []),
    ],
)
def test_the_weights_that_tfmot_prunes_are_prunable(layer, shape, expected):
    assert attributes(layer(), shape) == expected


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (lambda: layers.DepthwiseConv1D(3), (8, 2), ["kernel"]),
        (lambda: layers.DepthwiseConv2D(3), (8, 8, 2), ["kernel"]),
        (lambda: layers.SeparableConv1D(3, 2), (8, 2), ["pointwise_kernel", "depthwise_kernel"]),
        (lambda: layers.SeparableConv2D(3, 2), (8, 8, 2), ["pointwise_kernel", "depthwise_kernel"]),
        (lambda: layers.Dense(3), (4,), ["kernel"]),
        (lambda: layers.BatchNormalization(), (8,), []),
    ],
)
def test_depthwise_kernels_are_prunable_when_asked_for(layer, shape, expected):
    assert attributes(layer(), shape, asked=True) == expected


def test_a_subclass_of_a_prunable_layer_is_prunable():
    class MyDense(layers.Dense):
        pass

    assert attributes(MyDense(3), (4,)) == ["kernel"]


def test_a_prunable_weight_is_the_layers_own_variable():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, name="dense")])
    [kernel] = prunable(place_of(model, "dense"))
    assert kernel.variable is model.get_layer("dense").kernel
    assert kernel.path == "dense/kernel"


def test_a_cells_weights_carry_the_path_down_to_the_cell():
    model = keras.Sequential([layers.Input((5, 2)), layers.LSTM(3, name="lstm")])
    found = [kernel.path for place in walk(model) for kernel in prunable(place)]
    assert found == ["lstm/lstm_cell/kernel", "lstm/lstm_cell/recurrent_kernel"]


class Mixer(layers.Layer):
    """Says for itself what may be pruned, as TF-MOT's PrunableLayer does."""

    def build(self, shape):
        self.left = self.add_weight(shape=(shape[-1], 3), name="left")
        self.right = self.add_weight(shape=(shape[-1], 3), name="right")

    def call(self, x):
        return x @ self.left + x @ self.right

    def get_prunable_weights(self):
        return [self.right]


class PickyDense(layers.Dense):
    def get_prunable_weights(self):
        return [self.kernel, self.bias]


def test_a_layer_that_says_what_is_prunable_is_taken_at_its_word():
    assert attributes(Mixer(), (4,)) == ["right"]


def test_a_keras_layer_that_says_what_is_prunable_keeps_the_public_names():
    assert attributes(PickyDense(3), (4,)) == ["kernel", "bias"]


def test_the_attribute_of_every_kernel_leads_back_to_its_variable():
    model = keras.Sequential([layers.Input((5, 4)), Mixer(), PickyDense(3), layers.LSTM(3), layers.Dense(2)])
    found = [kernel for place in walk(model) for kernel in prunable(place)]
    assert len(found) == 6
    assert all(getattr(kernel.place.layer, kernel.attribute) is kernel.variable for kernel in found)


# What a regularizer acts on


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (lambda: layers.Dense(3), (4,), {"kernel"}),
        (lambda: layers.DepthwiseConv2D(3), (8, 8, 2), {"kernel"}),
        (lambda: layers.SeparableConv2D(3, 2), (8, 8, 2), {"pointwise_kernel", "depthwise_kernel"}),
        (lambda: layers.GRU(3), (5, 2), {"kernel", "recurrent_kernel"}),
        (lambda: layers.Embedding(9, 4), (5,), set()),
        (lambda: layers.BatchNormalization(), (8,), set()),
    ],
)
def test_a_regularizer_acts_on_kernels_and_never_on_biases_scales_or_embeddings(layer, shape, expected):
    assert set(attributes(layer(), shape, kernels_of=kernels)) == expected


def test_a_regularizer_acts_on_the_kernel_of_a_users_own_layer():
    class Own(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 3))
            self.bias = self.add_weight(shape=(3,))

        def call(self, x):
            return x @ self.kernel + self.bias

    assert attributes(Own(), (4,), kernels_of=kernels) == ["kernel"]
