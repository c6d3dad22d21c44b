"""From a model to a file: the checks on the way, what is said about it, and what it leaves alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfopt
from tests.quantization import zoo
from tfopt.errors import ConversionError, InputError, ModelError, TfoptWarning
from tfopt.quantization import convert, quantize_aware, validation
from tfopt.quantization.conversion import convert_with_notes
from tfopt.quantization.validation import check_finite
from tfopt.recipe.export import Export
from tfopt.recipe.modes import MODES
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["conv2d", "lists in and out"])
@pytest.mark.sample(3)
def test_converting_twice_gives_identical_bytes(built, converted, name, mode):
    model, samples = built(name)
    assert convert(model, mode, samples) == converted(name, mode).content


@pytest.mark.parametrize("mode", ["float32", "int8"])
@pytest.mark.parametrize("slim", [True, False])
@pytest.mark.sample(1)
def test_a_file_does_not_depend_on_what_was_converted_before(built, converted, mode, slim):
    model, samples = built("attention")
    before = converted("attention", mode, slim=slim).content
    for other in ("conv2d", "residual", "subclassed"):
        convert(*built(other)[:1], "int8", built(other)[1], slim=slim)
    with pytest.raises(ConversionError):
        convert(built("max pooling 3d")[0], "float32")
    model(samples)
    assert convert(model, mode, samples, slim=slim) == before


def test_converting_leaves_the_model_as_it_was(built):
    model, samples = built("batch normalization")
    before, outputs = model.get_weights(), model(samples).numpy()
    convert(model, "int8", samples)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    np.testing.assert_array_equal(model(samples), outputs)


def test_a_compiled_model_trains_on_after_it_was_converted(built):
    model, samples = zoo.chain((4,), layers.Dense(6), layers.BatchNormalization(), layers.Dense(2))
    model.compile("sgd", "mse")
    convert(model, "int8", samples)
    before = model.layers[0].kernel.numpy()
    model.fit(samples, np.ones((len(samples), 2), np.float32), verbose=0)
    assert not np.array_equal(before, model.layers[0].kernel.numpy())


def test_training_is_seen_by_the_next_conversion():
    model, samples = zoo.chain((4,), layers.Dense(2))
    before = convert(model, "float32", samples)
    model.layers[0].kernel.assign(model.layers[0].kernel * 2)
    after = convert(model, "float32", samples)
    assert after != before
    assert zoo.error(after, model, samples) < 1e-5


def test_settings_of_an_export_are_taken_by_name(built):
    model, samples = built("conv2d")
    content = tfopt.convert(model, "int8", calibration=samples, io="float32", batch=2, slim=False, ranges="percentile")
    [(dtype, shape)] = read(content).inputs.values()
    assert (dtype, shape) == ("FLOAT32", (2, 8, 8, 1))


def test_a_setting_that_is_misspelt_gets_the_nearest_one(built, one_line):
    with pytest.raises(InputError, match="Did you mean 'batch'") as caught:
        convert(built("conv2d")[0], "float32", bacth=2)
    one_line(caught)


def test_a_keras_file_converts_as_the_model_does(built, tmp_path):
    model, samples = built("conv2d")
    model.save(tmp_path / "model.keras")
    [mine], [theirs] = (
        Runner(convert(source, "int8", samples))(samples).values() for source in (tmp_path / "model.keras", model)
    )
    np.testing.assert_array_equal(mine, theirs)


# Checks


def test_a_layer_that_is_random_in_inference_is_found(one_line):
    class Noise(layers.Layer):
        def call(self, x):
            return x + tf.random.uniform(tf.shape(x))

    model = keras.Sequential([layers.Input((4,)), layers.Dense(3), Noise()])
    with pytest.raises(ConversionError) as caught:
        convert(model, "float32", zoo.normal(8, 4))
    one_line(caught)


def test_a_layer_that_differs_from_keras_a_little_is_found(one_line):
    """What it computes in a graph is not what it computes at once."""

    class Split(layers.Layer):
        def call(self, x):
            return x * (1.0 if tf.executing_eagerly() else 1.01)

    model = keras.Sequential([layers.Input((4,)), layers.Dense(3), Split()])
    with pytest.raises(ConversionError, match="something else than Keras") as caught:
        convert(model, "float32", zoo.normal(8, 4))
    one_line(caught)


def saturated_root():
    """A root that is infinite at 0, where Keras goes on with a number and LiteRT with NaN."""
    x = layers.Input((4,))
    return keras.Model(x, layers.Dense(3)(keras.ops.tanh(keras.ops.rsqrt(keras.ops.abs(x)))))


@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic"])
@pytest.mark.parametrize("given", [True, False])
def test_a_file_that_gives_nan_for_zeros_and_keras_a_number_has_a_warning_that_names_the_op(mode, given):
    model = saturated_root()
    name = next(op.name for op in model.operations if type(op).__name__ == "Rsqrt")
    with pytest.warns(TfoptWarning, match=f"all inputs are 0 .*(nan|inf).*RSQRT of {name}") as caught:
        convert(model, mode, zoo.normal(8, 4) if given else None)
    [said] = [str(one.message) for one in caught if one.category is TfoptWarning]
    assert said.endswith(".")


def test_a_file_whose_op_at_fault_cannot_be_told_has_the_warning_still(monkeypatch):
    def hidden(*_):
        raise ConversionError("LiteRT cannot run the float file")

    monkeypatch.setattr(validation, "values_of", hidden)
    with pytest.warns(TfoptWarning, match="all inputs are 0 .*nan.*: an op is not finite"):
        convert(saturated_root(), "float32", zoo.normal(8, 4))


def test_keras_computes_zeros_only_where_the_file_gives_no_number(monkeypatch):
    seen, by_keras = [], validation.by_keras

    def look(model, samples):
        seen.append(all(array.any() for array in samples.values()))
        return by_keras(model, samples)

    monkeypatch.setattr(validation, "by_keras", look)
    convert(keras.Sequential([layers.Input((4,)), layers.Dense(3)]), "float32", zoo.normal(8, 4))
    assert seen == [True]
    with pytest.warns(TfoptWarning, match="all inputs are 0"):
        convert(saturated_root(), "float32", zoo.normal(8, 4))
    assert seen == [True, True, False]


@pytest.mark.parametrize(
    "model",
    [
        lambda x: keras.ops.log(x),  # Keras gives minus infinity as well
        lambda x: keras.ops.divide_no_nan(x, x),
        lambda x: layers.UnitNormalization()(x),
    ],
)
def test_where_keras_and_the_file_agree_on_zeros_nothing_is_said(model, recwarn):
    x = layers.Input((4,))
    convert(keras.Model(x, layers.Dense(3)(model(x))), "float32", np.abs(zoo.normal(8, 4)) + 0.1)
    assert not [one for one in recwarn if one.category is TfoptWarning]


def test_a_model_that_takes_no_zeros_is_left_alone(recwarn):
    class Picky(layers.Layer):
        def call(self, x):
            if tf.executing_eagerly() and not tf.reduce_any(x != 0):
                raise ZeroDivisionError("nothing to see")
            return x

    x = layers.Input((4,))
    convert(keras.Model(x, layers.Dense(3)(Picky()(x))), "float32", zoo.normal(8, 4))
    assert not [one for one in recwarn if one.category is TfoptWarning]


def test_a_model_that_computes_nan_is_refused():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    model.layers[0].bias.assign([np.nan, 0])
    with pytest.raises(ConversionError, match="not finite"):
        convert(model, "float32", zoo.normal(4, 3))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_output_that_is_not_finite_is_named(bad):
    check_finite({"good": np.ones(3), "other": np.zeros((2, 2))})
    with pytest.raises(ConversionError, match="'bad'"):
        check_finite({"good": np.ones(3), "bad": np.array([1.0, bad])})


def test_a_quantized_file_whose_error_is_as_strong_as_its_outputs_is_refused(one_line):
    """Beside samples a million times larger, all that the others hold is rounded to 0."""
    model, samples = zoo.chain((4,), layers.Dense(8, activation="relu"), layers.Dense(3))
    scale = np.full((4,), 1e6, np.float32)
    samples = np.concatenate([samples[:8], np.broadcast_to(scale, (8, 4))]).astype(np.float32)
    with pytest.raises(ConversionError, match="SNR") as caught:
        convert(model, "int8", samples)
    one_line(caught)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.sample(3)
def test_a_layer_that_tflite_lacks_is_refused_in_one_line_that_names_it(built, one_line, mode):
    model, samples = built("max pooling 3d")
    with pytest.raises(ConversionError, match="MaxPool3D") as caught:
        convert(model, mode, samples)
    one_line(caught)


@pytest.mark.parametrize("model", [5, None, "no_such_file.keras", keras.layers.Dense(3)])
def test_what_is_no_model_is_refused(one_line, model):
    with pytest.raises(ModelError) as caught:
        convert(model, "float32")
    one_line(caught)


# What is printed


def test_nothing_reaches_the_terminal_of_a_fresh_process(python, tmp_path):
    """Below Python: what the file descriptors 1 and 2 receive while all modes are converted."""
    code = f"""
import os, sys
import keras, numpy as np, warnings
from tfopt.recipe.modes import MODES
import tfopt
from tfopt.quantization import convert
warnings.simplefilter("ignore", tfopt.TfoptWarning)  # of four bits: tfopt's own words
keras.utils.set_random_seed(0)  # there are weights of which int4 is refused
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 4)
saved = [os.dup(fd) for fd in (1, 2)]
with open({str(tmp_path / "said")!r}, "wb") as file:
    for fd in (1, 2):
        os.dup2(file.fileno(), fd)
    for mode in MODES:
        convert(model, mode, x)
    sys.stdout.flush(), sys.stderr.flush()
    for fd, old in zip((1, 2), saved):
        os.dup2(old, fd)
print("converted")
"""
    assert python(code).splitlines()[-1] == "converted"
    assert (tmp_path / "said").read_text() == ""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.sample(3)
def test_nothing_is_printed(built, capfd, mode):
    model, samples = built("conv2d")
    capfd.readouterr()
    convert(model, mode, samples)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_printed_when_the_converter_refuses(built, capfd):
    model, samples = built("max pooling 3d")
    capfd.readouterr()
    with pytest.raises(ConversionError):
        convert(model, "int8", samples)
    assert capfd.readouterr() == ("", "")


def with_an_idle_input(**idle):
    used, unused = keras.layers.Input((8,), name="x"), keras.layers.Input(name="idle", **idle)
    return keras.Model([used, unused], keras.layers.Dense(4)(used))


@pytest.mark.parametrize("idle", [{"shape": (3,)}, {"shape": (), "dtype": "int32"}, {"shape": (2,), "dtype": "bool"}])
@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.sample(8)
def test_an_input_that_nothing_reads_stays_and_is_told(mode, idle):
    model, generator = with_an_idle_input(**idle), np.random.default_rng(0)
    x = generator.normal(size=(16, 8)).astype(np.float32)
    more = generator.integers(0, 2, (16, *idle["shape"])).astype(idle.get("dtype", "float32"))
    converted = convert_with_notes(model, Export(mode=mode), [x, more])
    assert "input 'idle' is not used: no output depends on it" in converted.notes
    runner = Runner(converted.content)
    assert set(runner.inputs) == {"x", "idle"}
    [outputs] = runner({"x": x, "idle": more}).values()
    assert outputs == pytest.approx(np.asarray(model([x, more])), abs=0.5)
    assert not any("is not used" in note for note in convert_with_notes(dense(), Export(mode="float32")).notes)


def dense():
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])


def test_a_model_with_an_idle_input_is_trained_for_quantization():
    model, x = with_an_idle_input(shape=(3,)), np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
    aware = quantize_aware(model, "int8", calibration=[x, x[:, :3]])
    model.compile("sgd", "mse")
    model.fit([x, x[:, :3]], x[:, :4], epochs=1, verbose=0)
    converted = aware.convert()
    aware.strip()
    assert set(Runner(converted.content).inputs) == {"x", "idle"}
    assert "input 'idle' is not used: no output depends on it" in converted.notes
