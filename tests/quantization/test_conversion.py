import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfopt import models
from tfopt.errors import ConversionError, InputError, ModelError
from tfopt.quantization import MODES, convert, convert_with_notes
from tfopt.quantization.conversion import check_finite
from tfopt.tflite import Runner, read

# Largest error allowed, as a share of the largest output.
TOLERANCE = {"float32": 1e-4, "float16": 3e-3, "dynamic": 0.025, "int8": 0.04}


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def convolutional():
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu", bias_initializer="normal"), layers.Flatten()]
    )
    model.add(layers.Dense(4, activation="softmax", bias_initializer="normal"))
    return model, normal(48, 8, 8, 1)


def two_sided(structure):
    b, a = layers.Input((4,), name="b"), layers.Input((6,), name="a")
    h = layers.Concatenate()([layers.Dense(8, activation="relu")(b), layers.Dense(8, activation="relu")(a)])
    z, y = layers.Dense(3, name="z")(h), layers.Dense(2, name="y")(layers.Dense(5, activation="tanh")(h))
    samples = {"a": normal(48, 6), "b": normal(48, 4)}
    if structure == "list":
        return keras.Model([b, a], [z, y]), samples
    return keras.Model({"b": b, "a": a}, {"z": z, "y": y}), samples


class Stack(keras.Model):
    def __init__(self):
        super().__init__()
        self.blocks = [layers.Dense(8, activation="relu"), layers.Dense(3)]

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Pair(keras.Model):
    """Takes and gives dicts."""

    def __init__(self):
        super().__init__()
        self.one, self.two = layers.Dense(3), layers.Dense(2)

    def call(self, inputs):
        return {"sum": self.one(inputs["p"]) + self.one(inputs["q"]), "alone": self.two(inputs["q"])}


def subclassed():
    model, x = Stack(), normal(48, 5)
    model(x[:1])
    return model, x


def subclassed_pair():
    model, samples = Pair(), {"p": normal(48, 4), "q": normal(48, 4) * 2}
    model({name: array[:1] for name, array in samples.items()})
    return model, samples


def nested():
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(8)], name="inner")
    x = layers.Input((6,))
    return keras.Model(x, layers.Dense(2)(inner(x))), normal(48, 6)


def shared():
    a, b, twin = layers.Input((6,), name="a"), layers.Input((6,), name="b"), layers.Dense(5, activation="relu")
    return keras.Model([a, b], layers.Dense(2)(layers.Subtract()([twin(a), twin(b)]))), [normal(48, 6), -normal(48, 6)]


def token_ids():
    model = keras.Sequential(
        [layers.Input((10,), dtype="int32"), layers.Embedding(50, 8), layers.GlobalAveragePooling1D(), layers.Dense(3)]
    )
    return model, np.random.default_rng(0).integers(0, 50, (48, 10)).astype(np.int32)


def normalized_swish():
    norm = layers.BatchNormalization()
    model = keras.Sequential(
        [layers.Input((8, 8, 3)), layers.Conv2D(8, 3, use_bias=False), norm, layers.Activation("swish")]
    )
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(3))
    generator = np.random.default_rng(0)
    norm.set_weights([generator.uniform(0.5, 1.5, w.shape) for w in norm.get_weights()])
    return model, normal(48, 8, 8, 3)


def attention():
    x = layers.Input((6, 8))
    h = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)]))
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(h))), normal(48, 6, 8)


def depthwise():
    model = keras.Sequential([layers.Input((8, 8, 3)), layers.DepthwiseConv2D(3), layers.ReLU(max_value=6.0)])
    model.add(layers.SeparableConv2D(6, 3))
    model.add(layers.Flatten())
    model.add(layers.Dense(3))
    return model, normal(48, 8, 8, 3)


def recurrent():
    return keras.Sequential([layers.Input((6, 4)), layers.LSTM(5), layers.Dense(2)]), normal(48, 6, 4)


def volumetric():
    model = keras.Sequential([layers.Input((6, 6, 6, 1)), layers.Conv3D(2, 3), layers.MaxPooling3D(2)])
    return model, normal(8, 6, 6, 6, 1)


MODELS = {
    "convolutional": convolutional,
    "lists": lambda: two_sided("list"),
    "dicts": lambda: two_sided("dict"),
    "subclassed": subclassed,
    "subclassed pair": subclassed_pair,
    "nested": nested,
    "shared": shared,
    "token ids": token_ids,
    "normalized swish": normalized_swish,
    "attention": attention,
    "depthwise": depthwise,
}


@pytest.fixture(scope="module")
def built():
    """Models by name, each built once."""
    kept = {}

    def get(name):
        if name not in kept:
            keras.utils.set_random_seed(5)
            kept[name] = {**MODELS, "recurrent": recurrent, "volumetric": volumetric}[name]()
        return kept[name]

    return get


def by_name(model, samples):
    if isinstance(samples, dict):
        return samples
    names = [tensor.name for tensor in getattr(model, "inputs", None) or []] or ["input"]
    return dict(zip(names, samples if isinstance(samples, list) else [samples], strict=True))


def relative_error(content, model, samples):
    """Of every output, as a share of its largest value."""
    feed = by_name(model, samples)
    got, expected = Runner(content)(feed), models.call(model, feed)
    assert set(got) == set(expected)
    pairs = [(got[name], keras.ops.convert_to_numpy(value)) for name, value in expected.items()]
    return max(np.abs(mine - theirs).max() / np.abs(theirs).max() for mine, theirs in pairs)


# Every mode on every kind of model


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MODELS)
def test_the_file_gives_what_keras_gives(built, name, mode):
    model, samples = built(name)
    assert relative_error(convert(model, mode, samples), model, samples) < TOLERANCE[mode]


@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic"])
def test_a_recurrent_model_converts_where_its_weights_alone_are_stored_smaller(built, mode):
    model, samples = built("recurrent")
    assert relative_error(convert(model, mode, samples), model, samples) < TOLERANCE[mode]


def test_a_recurrent_model_in_int8_is_refused_in_one_line_that_names_the_mode(built):
    with pytest.raises(ConversionError, match="int8") as caught:
        convert(*built("recurrent")[:1], "int8", built("recurrent")[1])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_layer_that_tflite_lacks_is_refused_in_one_line_that_names_it(built, mode):
    model, samples = built("volumetric")
    with pytest.raises(ConversionError, match="MaxPool3D") as caught:
        convert(model, mode, samples)
    assert len(str(caught.value).splitlines()) == 1


def test_a_layer_that_is_random_in_inference_is_found():
    class Noise(layers.Layer):
        def call(self, x):
            return x + tf.random.uniform(tf.shape(x))

    model = keras.Sequential([layers.Input((4,)), layers.Dense(3), Noise()])
    with pytest.raises(ConversionError):
        convert(model, "float32", normal(8, 4))


def test_dropout_and_augmentation_are_left_out():
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.RandomFlip(), layers.GaussianNoise(1.0), layers.Flatten(), layers.Dropout(0.5)]
    )
    model.add(layers.Dense(2))
    x = normal(8, 8, 8, 1)
    assert relative_error(convert(model, "float32", x), model, x) < 1e-4


@pytest.mark.parametrize("name", ["convolutional", "lists", "dicts", "attention"])
@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic"])
def test_modes_without_calibration_need_no_samples(built, name, mode):
    model, samples = built(name)
    assert convert(model, mode) == convert(model, mode, samples)


def test_samples_may_be_a_list_a_tuple_or_a_dict(built):
    model, samples = built("lists")
    as_list = [samples["b"], samples["a"]]
    assert convert(model, "int8", samples) == convert(model, "int8", as_list) == convert(model, "int8", tuple(as_list))


def test_a_missing_channel_axis_of_the_samples_is_added(built):
    model, samples = built("convolutional")
    assert convert(model, "int8", samples[..., 0]) == convert(model, "int8", samples)


def test_samples_of_doubles_do_as_well(built):
    model, samples = built("convolutional")
    assert convert(model, "int8", samples.astype(np.float64)) == convert(model, "int8", samples)


# int8 against TensorFlow's own


def tensorflows_own_int8(model, samples):
    """TFLiteConverter's post-training quantization of the same model with the same samples, as an independent check."""
    specs = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name=tensor.name) for tensor in model.inputs]
    function = tf.function(lambda x: model(x, training=False))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(*specs)])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def run_by_hand(content, x):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for sample in x:
        scale, zero_point = taken["quantization"]
        quantized = np.clip(np.rint(sample[None] / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(taken["index"], quantized)
        interpreter.invoke()
        scale, zero_point = given["quantization"]
        outputs.append((interpreter.get_tensor(given["index"]).astype(np.float32) - zero_point) * scale)
    return np.concatenate(outputs)


@pytest.mark.parametrize("name", ["convolutional", "nested", "normalized swish", "attention", "depthwise"])
def test_int8_is_as_close_to_keras_as_tensorflows_own_int8(built, name):
    """On the calibration samples, and on as many that neither has seen and some of which lie out of range."""
    model, samples = built(name)
    seen, unseen = samples[:24], samples[24:]
    mine, theirs = convert(model, "int8", seen), tensorflows_own_int8(model, seen)
    for x in (seen, unseen):
        exact = model(x).numpy()
        error, bar = (np.abs(run_by_hand(content, x) - exact).mean() for content in (mine, theirs))
        assert 0 < error <= 1.5 * bar


def test_int8_sees_the_largest_value_of_every_calibration_sample():
    """The first sample reaches ten times farther than the rest: a range that forgets it would cut it off."""
    model, x = keras.Sequential([layers.Input((4,)), layers.Dense(3, use_bias=False)]), normal(60, 4)
    x[0] *= 10
    assert relative_error(convert(model, "int8", x), model, x[:1]) < 0.03


# What is in the files


@pytest.mark.parametrize(("io", "dtype"), [("int8", "INT8"), ("float32", "FLOAT32")])
@pytest.mark.parametrize("name", ["convolutional", "lists"])
def test_inputs_and_outputs_have_the_type_asked_for(built, name, io, dtype):
    model, samples = built(name)
    content = convert(model, "int8", samples, io=io)
    summary = read(content)
    assert {found for found, _ in (*summary.inputs.values(), *summary.outputs.values())} == {dtype}
    assert relative_error(content, model, samples) < TOLERANCE["int8"]


@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic"])
def test_inputs_and_outputs_of_the_other_modes_are_float(built, mode):
    summary = read(convert(built("convolutional")[0], mode))
    assert {found for found, _ in (*summary.inputs.values(), *summary.outputs.values())} == {"FLOAT32"}


@pytest.mark.parametrize("io", ["int8", "float32"])
def test_token_ids_stay_integers(built, io):
    model, samples = built("token ids")
    assert [dtype for dtype, _ in read(convert(model, "int8", samples, io=io)).inputs.values()] == ["INT32"]


def test_the_signature_has_the_models_own_names(built):
    summary = read(convert(built("lists")[0], "float32"))
    assert summary.inputs == {"b": ("FLOAT32", (1, 4)), "a": ("FLOAT32", (1, 6))}
    assert summary.outputs == {"z": ("FLOAT32", (1, 3)), "y": ("FLOAT32", (1, 2))}


@pytest.mark.parametrize(
    ("mode", "dtype"), [("float32", "FLOAT32"), ("float16", "FLOAT16"), ("dynamic", "INT8"), ("int8", "INT8")]
)
def test_kernels_are_stored_in_the_type_of_the_mode(built, mode, dtype):
    model, samples = built("convolutional")
    kernels = [t for t in read(convert(model, mode, samples)).tensors if t.parameter and len(t.shape) > 1]
    assert [tensor.dtype for tensor in kernels] == [dtype] * 2


def test_an_int8_file_computes_in_integers_throughout(built):
    model, samples = built("depthwise")
    assert [op.name for op in read(convert(model, "int8", samples)).ops if op.floating] == []


@pytest.mark.parametrize("mode", MODES)
def test_no_parameter_is_lost(built, mode):
    model, samples = built("convolutional")
    assert read(convert(model, mode, samples)).parameters == model.count_params()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["convolutional", "lists"])
def test_converting_twice_gives_identical_bytes(built, name, mode):
    model, samples = built(name)
    assert convert(model, mode, samples) == convert(model, mode, samples)


def test_converting_leaves_the_model_as_it_was(built):
    model, samples = built("normalized swish")
    before, outputs = model.get_weights(), model(samples).numpy()
    convert(model, "int8", samples)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    np.testing.assert_array_equal(model(samples), outputs)


@pytest.mark.parametrize("mode", MODES)
def test_exact_zeros_of_a_pruned_kernel_are_exact_zeros_of_the_file(mode):
    model = keras.Sequential([layers.Input((6, 6, 4)), layers.Conv2D(8, 3), layers.Flatten(), layers.Dense(10)])
    for layer in (model.layers[0], model.layers[2]):
        kernel = layer.kernel.numpy()
        kernel[np.abs(kernel) < np.quantile(np.abs(kernel), 0.8)] = 0
        layer.kernel.assign(kernel)
    x = normal(32, 6, 6, 4)
    content = convert(model, mode, x)
    found = [t for t in read(content).tensors if t.parameter and len(t.shape) > 1]
    for layer, shape in ((model.layers[0], (8, 3, 3, 4)), (model.layers[2], (10, 128))):
        [tensor] = [t for t in found if t.shape == shape]
        zeros = int((layer.kernel.numpy() == 0).sum())
        assert zeros <= tensor.zeros <= zeros + 0.01 * tensor.size


def test_zeros_stay_at_their_places_in_an_int8_kernel():
    from ai_edge_litert.interpreter import Interpreter

    model = keras.Sequential([layers.Input((20,)), layers.Dense(30, use_bias=False)])
    kernel = model.layers[0].kernel
    mask = np.random.default_rng(0).random(kernel.shape) < 0.7
    kernel.assign(np.where(mask, 0, kernel.numpy()))
    interpreter = Interpreter(model_content=convert(model, "int8", normal(32, 20)))
    interpreter.allocate_tensors()
    [index] = [d["index"] for d in interpreter.get_tensor_details() if tuple(d["shape"]) == (30, 20)]
    assert np.all(interpreter.get_tensor(index).T[mask] == 0)


def test_large_constants_lie_inside_the_file():
    model = keras.Sequential([layers.Input((600,)), layers.Dense(600, use_bias=False)])
    content = convert(model, "int8", normal(4, 600))
    assert read(content).parameters == model.count_params()
    assert sum(t.bytes for t in read(content).tensors) >= 600 * 600


# What is said about it


@pytest.mark.parametrize("mode", ["float16", "dynamic"])
def test_a_table_that_stays_in_float_is_listed(built, mode):
    model, samples = built("token ids")
    [left] = convert_with_notes(model, mode, samples).skipped
    assert left.where.startswith("GATHER")
    assert mode in left.reason


def test_an_op_that_stays_in_float_in_int8_is_listed(built):
    model, samples = built("attention")
    notes = convert_with_notes(model, "int8", samples)
    floating = [op.name for op in read(notes.content).ops if op.floating]
    assert len(floating) > 0
    assert [left.where.split()[0] for left in notes.skipped] == floating


@pytest.mark.parametrize(("name", "mode"), [("convolutional", mode) for mode in MODES] + [("attention", "float32")])
def test_nothing_is_listed_where_nothing_was_left(built, name, mode):
    model, samples = built(name)
    assert convert_with_notes(model, mode, samples).skipped == ()


@pytest.mark.parametrize("mode", ["float16", "dynamic"])
def test_a_mode_that_would_change_nothing_is_refused(mode):
    model = keras.Sequential([layers.Input((6,), dtype="int32"), layers.Embedding(20, 4)])
    with pytest.raises(ConversionError, match=f"nothing.*{mode}"):
        convert(model, mode, np.zeros((2, 6), np.int32))


def test_nothing_reaches_the_terminal_of_a_fresh_process(python, tmp_path):
    """Below Python: what the file descriptors 1 and 2 receive while all four modes are converted."""
    code = f"""
import os, sys
import keras, numpy as np
from tfopt.quantization import convert
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
x = np.ones((8, 4), np.float32)
saved = [os.dup(fd) for fd in (1, 2)]
with open({str(tmp_path / "said")!r}, "wb") as file:
    for fd in (1, 2):
        os.dup2(file.fileno(), fd)
    for mode in ("float32", "float16", "dynamic", "int8"):
        convert(model, mode, x)
    sys.stdout.flush(), sys.stderr.flush()
    for fd, old in zip((1, 2), saved):
        os.dup2(old, fd)
print("converted")
"""
    assert python(code).splitlines()[-1] == "converted"
    assert (tmp_path / "said").read_text() == ""


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_printed(built, capfd, mode):
    model, samples = built("convolutional")
    convert(model, mode, samples)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_printed_when_the_converter_refuses(built, capfd):
    model, samples = built("volumetric")
    with pytest.raises(ConversionError):
        convert(model, "int8", samples)
    assert capfd.readouterr() == ("", "")


# What cannot be done


@pytest.mark.parametrize("mode", ["int4", "INT8", "", "float"])
def test_an_unknown_mode_is_refused(built, mode):
    with pytest.raises(InputError, match=f"no mode {mode!r}") as caught:
        convert(built("convolutional")[0], mode)
    assert caught.value.field == ("mode",)


def test_a_mode_misspelt_gets_the_nearest_one(built):
    with pytest.raises(InputError, match="Did you mean 'dynamic'"):
        convert(built("convolutional")[0], "dynamc")


def test_an_unknown_type_of_inputs_is_refused(built):
    with pytest.raises(InputError, match="io='uint8'"):
        convert(*built("convolutional")[:1], "int8", built("convolutional")[1], io="uint8")


@pytest.mark.parametrize(
    "samples",
    [None, np.zeros((0, 8, 8, 1), np.float32), [], {}, {"x": np.zeros((0, 8, 8, 1), np.float32)}],
    ids=["none", "empty array", "empty list", "empty dict", "dict of empty"],
)
def test_int8_without_samples_is_refused(built, samples):
    with pytest.raises(InputError, match="calibration"):
        convert(built("convolutional")[0], "int8", samples)


@pytest.mark.parametrize("shape", [(5, 8, 8, 3), (5, 7, 8, 1), (5, 64), (8, 8, 1)])
def test_samples_of_another_shape_are_refused_with_both_shapes(built, shape):
    with pytest.raises(InputError, match=r"\(8, 8, 1\)") as caught:
        convert(built("convolutional")[0], "int8", np.zeros(shape, np.float32))
    assert ", ".join(str(n) for n in shape[1:3]) in str(caught.value)


def test_samples_without_an_input_are_refused_with_its_name(built):
    model, samples = built("dicts")
    with pytest.raises(InputError, match=r"'b'.*only a"):
        convert(model, "int8", {"a": samples["a"]})


def test_samples_for_too_few_inputs_are_refused(built):
    model, samples = built("lists")
    with pytest.raises(InputError, match=r"inputs b, a.*1"):
        convert(model, "int8", samples["a"])


def test_samples_of_two_lengths_are_refused(built):
    model, samples = built("dicts")
    with pytest.raises(InputError):
        convert(model, "int8", {"a": samples["a"], "b": samples["b"][:5]})


def test_samples_that_are_not_finite_are_refused(built):
    model, samples = built("convolutional")
    bad = samples.copy()
    bad[3, 2, 2, 0] = np.nan
    with pytest.raises((InputError, ConversionError), match=r"finite|NaN"):
        convert(model, "int8", bad)


@pytest.mark.parametrize("mode", ["float32", "dynamic"])
def test_a_subclassed_model_without_samples_is_refused_with_the_way_out(built, mode):
    with pytest.raises(ModelError, match=r"subclassed.*samples"):
        convert(built("subclassed")[0], mode)


def test_a_model_that_computes_nan_is_refused():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    model.layers[0].bias.assign([np.nan, 0])
    with pytest.raises(ConversionError, match="not finite"):
        convert(model, "float32", normal(4, 3))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_output_that_is_not_finite_is_named(bad):
    check_finite({"good": np.ones(3), "other": np.zeros((2, 2))})
    with pytest.raises(ConversionError, match="'bad'"):
        check_finite({"good": np.ones(3), "bad": np.array([1.0, bad])})
