"""Calibration samples of another range than what the model was trained on: said where it is so, and only there."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfopt
from tfopt.errors import TfoptWarning
from tfopt.quantization import input_range, rank_layers
from tfopt.quantization.conversion import convert_with_notes
from tfopt.quantization.input_range import input_range_warnings, splits_warning
from tfopt.quantization.preparation import prepare
from tfopt.recipe.export import Export
from tfopt.search.model_profile import ModelProfile, SearchBounds

SHAPE, CLASSES = (8, 8, 1), 8
# From pixels of 0 to 255.
SCALINGS = {
    "pixels": lambda pixels: pixels,
    "unit": lambda pixels: pixels / 255,
    "signed": lambda pixels: pixels / 127.5 - 1,
    "imagenet": lambda pixels: (pixels / 255 - 0.449) / 0.226,
}


def pixels(count=64):
    """Images of as many classes as rows: one row is bright; with their classes."""
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 60, (count, *SHAPE))
    y = np.arange(count) % CLASSES
    x[np.arange(count), y] += 190
    x[0, 0, 0] = 0
    return np.round(x).astype(np.float32), y


def classifier(scaling, *front, margin=8.0, head="softmax"):
    """A network without a normalization as training on that scaling gives it: sure of its classes by `margin`."""
    x, y = pixels()
    model = keras.Sequential([keras.Input(SHAPE), *front, layers.Flatten(), layers.Dense(CLASSES, activation=head)])
    flat = (
        np.reshape(keras.Sequential([keras.Input(SHAPE), *front])(SCALINGS[scaling](x)), (len(x), -1))
        if front
        else (SCALINGS[scaling](x).reshape(len(x), -1))
    )
    means = np.stack([flat[y == label].mean(0) for label in range(CLASSES)])
    kernel = (means - means.mean(0)).T
    kernel *= margin / ((means - means.mean(0)) @ kernel).max()
    model.layers[-1].set_weights([kernel.astype(np.float32), (-means.mean(0) @ kernel).astype(np.float32)])
    return model


def normalized(scaling, *front):
    """A network whose batch normalization has the statistics of training on that scaling."""
    norm = layers.BatchNormalization(name="norm")
    stack = [*front, layers.Conv2D(6, 3, name="conv"), norm, layers.ReLU(), layers.Flatten()]
    model = keras.Sequential([keras.Input(SHAPE), *stack, layers.Dense(CLASSES, activation="softmax")])
    before = keras.Model(model.inputs[0], norm.input)(SCALINGS[scaling](pixels()[0])).numpy()
    norm.set_weights([*norm.get_weights()[:2], before.mean((0, 1, 2)), before.var((0, 1, 2))])
    return model


def said(model, scaling):
    return input_range_warnings(model, {model.inputs[0].name: SCALINGS[scaling](pixels()[0])})


@pytest.fixture
def looked(monkeypatch):
    """The models that were looked at for a warning, in order."""
    found = []

    def counted(model, *arguments, **named):
        found.append(model)
        return inner(model, *arguments, **named)

    inner = input_range.inner_rescaling
    monkeypatch.setattr(input_range, "inner_rescaling", counted)
    return found


def ranges_of(caught):
    return [str(one.message) for one in caught if "scaled in another way" in str(one.message)]


@pytest.mark.parametrize("make", [classifier, normalized])
@pytest.mark.parametrize("trained", SCALINGS)
def test_the_range_of_the_training_is_no_warning(make, trained):
    assert said(make(trained), trained) == ()


@pytest.mark.parametrize("make", [classifier, normalized])
@pytest.mark.parametrize(("trained", "fed"), [("unit", "pixels"), ("signed", "pixels"), ("imagenet", "pixels")])
def test_a_model_trained_on_small_values_and_calibrated_on_pixels(make, trained, fed):
    [sentence] = said(make(trained), fed)
    assert "scaled in another way than what the model was trained on" in sentence
    assert sentence.endswith("of 0 to 250.")
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize("make", [classifier, normalized])
@pytest.mark.parametrize("fed", ["unit", "signed"])
def test_the_reverse_a_model_trained_on_pixels_and_calibrated_on_small_values(make, fed):
    [sentence] = said(make("pixels"), fed)
    assert "0 to 255" in sentence


def test_every_scaling_that_the_statistics_do_not_tell_from_the_nearest_is_named():
    model = normalized("unit")
    norm = model.get_layer("norm")
    norm.moving_variance.assign(norm.moving_variance * 6)  # as of an average that is behind its weights
    assert said(model, "unit") == ()
    [sentence] = said(model, "pixels")
    assert "norm keeps fit inputs of 0 to 1, or of -1 to 1" in sentence


@pytest.mark.parametrize("make", [classifier, normalized])
def test_a_rescaling_in_front_takes_pixels_and_says_so_of_values_divided_before(make):
    model = make("pixels", layers.Rescaling(1 / 255, name="scale"))
    assert said(model, "pixels") == ()
    [sentence] = said(model, "unit")
    assert "the model divides its inputs itself, in scale" in sentence


def test_a_normalization_in_front_knows_the_range_of_its_training():
    front = layers.Normalization(axis=None, name="adapted")
    front.adapt(pixels()[0])
    model = keras.Sequential([keras.Input(SHAPE), front, layers.Flatten(), layers.Dense(CLASSES)])
    assert said(model, "pixels") == ()
    [sentence] = said(model, "unit")
    assert "adapted keeps fit inputs of 0 to 255" in sentence


def test_statistics_inside_of_a_nested_and_of_a_subclassed_model():
    class Own(keras.Model):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def call(self, x, training=False):
            return self.inner(x, training=training)

    inner = normalized("unit")
    inputs = keras.Input(SHAPE)
    nested = keras.Model(inputs, inner(inputs))
    subclassed = Own(inner)
    subclassed(np.zeros((1, *SHAPE), np.float32))
    for model in (nested, subclassed):
        name = (getattr(model, "inputs", None) or inner.inputs)[0].name
        assert input_range_warnings(model, {name: pixels()[0] / 255}) == ()
        [sentence] = input_range_warnings(model, {name: pixels()[0]})
        assert "norm keeps" in sentence
    assert "call" not in vars(inner.get_layer("norm"))


@pytest.mark.parametrize("steps", [1, 20, 200])
def test_averages_of_a_short_training_are_not_taken_for_another_range(steps):
    model = normalized("unit")
    norm, share = model.get_layer("norm"), 1 - 0.99**steps
    *own, mean, variance = norm.get_weights()
    norm.set_weights([*own, share * mean, (1 - share) + share * variance])
    assert said(model, "unit") == ()


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_was_not_trained_says_nothing(scaling, seed):
    keras.utils.set_random_seed(seed)
    plain = [layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), layers.Dense(CLASSES, activation="softmax")]
    fresh = [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(CLASSES)]
    for stack in (plain, fresh):
        assert said(keras.Sequential([keras.Input(SHAPE), *stack]), scaling) == ()


def test_tables_and_ids_are_not_images():
    generator = np.random.default_rng(0)
    table = (generator.random((64, 5)) * [1, 40, 255, 5000, 1e6]).astype(np.float32)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(8, activation="relu"), layers.Dense(6, "softmax")])
    assert input_range_warnings(model, {model.inputs[0].name: table}) == ()
    ids = generator.integers(0, 50, (64, 70))
    for dtype in ("int32", "float32"):
        words = keras.Sequential(
            [keras.Input((70,), dtype=dtype), layers.Embedding(50, 4), layers.Flatten(), layers.Dense(6, "softmax")]
        )
        assert input_range_warnings(words, {words.inputs[0].name: ids.astype(dtype)}) == ()
    norm = layers.BatchNormalization(momentum=0.5)
    table = layers.Embedding(50, 4)
    model = keras.Sequential([keras.Input((70,)), table, norm, layers.Flatten(), layers.Dense(6)])
    norm.moving_variance.assign(np.full(4, 1e6))  # no other ids fit, which would be out of the table
    assert input_range_warnings(model, {model.inputs[0].name: ids.astype("float32")}) == ()


def test_a_table_that_was_standardized_in_training_and_is_not_in_calibration():
    generator = np.random.default_rng(0)
    table = (generator.normal(3, 1, (64, 5)) * [100, 400, 250, 5000, 1e4]).astype(np.float32)
    standard = (table - table.mean(0)) / table.std(0)
    norm = layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input((5,)), layers.Dense(8), norm, layers.Dense(3)])
    hidden = model.layers[0](standard).numpy()
    norm.set_weights([*norm.get_weights()[:2], hidden.mean(0), hidden.var(0)])
    name = model.inputs[0].name
    assert input_range_warnings(model, {name: standard}) == ()
    [sentence] = input_range_warnings(model, {name: table})
    assert "mean 0 and deviation 1" in sentence


@keras.saving.register_keras_serializable("test_input_range")
class Looked(layers.Layer):
    """Looks the first column up in a table of as many rows, as a layer of a user's own may."""

    def build(self, shape):
        self.rows = self.add_weight(shape=(30, 2), name="rows", initializer="random_normal")

    def call(self, x):
        chosen = tf.gather(self.rows, tf.cast(x[..., 0], tf.int32))
        return tf.concat([chosen, x[..., 1:]], axis=-1)


def test_a_column_of_ids_that_a_layer_of_its_own_looks_up_is_never_changed():
    generator = np.random.default_rng(0)
    table = np.concatenate([np.arange(64)[:, None] % 30, generator.normal(5, 2, (64, 3))], axis=1).astype(np.float32)
    norm = layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input((4,)), Looked(name="looked"), norm, layers.Dense(3)])
    hidden = model.get_layer("looked")
    standard = np.concatenate([table[:, :1], (table[:, 1:] - 5) / 2], axis=1)
    trained = hidden(standard).numpy()
    norm.set_weights([*norm.get_weights()[:2], trained.mean(0), trained.var(0)])
    name = model.inputs[0].name
    assert input_range_warnings(model, {name: standard}) == ()
    [sentence] = input_range_warnings(model, {name: table * [1, 100, 100, 100]})
    assert "norm keeps fit inputs of mean 0 and deviation 1" in sentence
    norm.moving_variance.assign(np.full(5, 1e6))  # nothing fits
    assert input_range_warnings(model, {name: table}) == ()
    convert_with_notes(model, Export(mode="int8"), table)


@pytest.mark.parametrize("make", [classifier, normalized])
def test_inputs_that_a_model_does_not_take_are_no_error_and_the_others_tell(make):
    class NoSigns(layers.Layer):
        def call(self, x):
            tf.debugging.assert_non_negative(x)
            return x

    model = make("unit", NoSigns())
    assert said(model, "unit") == ()
    [sentence] = said(model, "pixels")
    assert "inputs of 0 to 1" in sentence
    assert said(model, "signed") == ()  # which it does not take either


def test_other_scalings_are_made_one_at_a_time_and_only_where_samples_are_far(allocated):
    shape = (48, 48, 3)
    x = np.random.default_rng(0).random((64, *shape)).astype(np.float32)
    norm = layers.BatchNormalization()
    model = keras.Sequential([keras.Input(shape), norm, layers.GlobalAveragePooling2D(), layers.Dense(2)])
    norm.set_weights([*norm.get_weights()[:2], np.full(3, 0.5), np.full(3, 1 / 12)])
    name = model.inputs[0].name
    assert allocated(input_range_warnings, model, {name: x}) < x.nbytes
    pixels = x * 255
    assert len(input_range_warnings(model, {name: pixels})) == 1
    assert allocated(input_range_warnings, model, {name: pixels}) < 4.5 * x.nbytes


def test_logits_are_taken_for_classes_where_the_loss_takes_them():
    model = classifier("unit", head=None)
    assert said(model, "pixels") == ()
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert len(said(model, "pixels")) == 1


def test_a_batch_of_a_fixed_size():
    inputs = keras.Input(SHAPE, batch_size=4)
    model = keras.Model(inputs, normalized("unit")(inputs))
    assert said(model, "unit") == ()
    assert len(said(model, "pixels")) == 1


def test_python_warns_and_the_conversion_keeps_the_sentence():
    model = classifier("unit")
    with pytest.warns(TfoptWarning, match="scaled in another way"):
        tfopt.convert(model, "int8", pixels()[0])
    conversion = convert_with_notes(model, Export(mode="int8"), pixels()[0])
    assert conversion.warnings == said(model, "pixels")
    assert convert_with_notes(model, Export(mode="float16"), pixels()[0]).warnings == ()
    assert convert_with_notes(model, Export(mode="dynamic")).warnings == ()


def test_quantization_aware_training_warns_when_it_begins():
    model = classifier("unit")
    with pytest.warns(TfoptWarning, match="scaled in another way"):
        tfopt.quantization.quantize_aware(model, "int8", pixels()[0]).strip()
    x, y = pixels()
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.warns(TfoptWarning, match="scaled in another way"):
        model.fit(x / 255, y, epochs=1, verbose=0, callbacks=[tfopt.callbacks.QuantizationAware(x)])


def test_a_conversion_looks_once_and_a_preparation_never(looked):
    model, x = normalized("unit"), pixels()[0]
    prepare(model, Export(mode="int8"), x)
    assert looked == []
    convert_with_notes(model, Export(mode="int8"), x)
    assert looked == [model]


def test_a_conversion_of_loops_looks_once(looked):
    inputs = keras.Input((6, 8))
    model = keras.Model(inputs, layers.Dense(3)(layers.SimpleRNN(4)(inputs)))
    convert_with_notes(model, Export(mode="int8"), np.random.default_rng(0).random((16, 6, 8)).astype(np.float32))
    assert looked == [model]


def test_a_ranking_of_layers_says_it_of_samples_that_were_given_and_a_search_does_not_look(looked):
    model, x = classifier("unit"), pixels()[0]
    notes = rank_layers(model, x, precisions=("int8",)).notes
    assert [note for note in notes if "scaled in another way" in note] == list(said(model, "pixels"))
    looked.clear()
    rank_layers(model, precisions=("int8",))
    ModelProfile(model, SearchBounds((0.3, 1.0), (8,), (4,), (1.0, 1.0)), x)
    assert looked == []


def test_quantization_aware_training_says_it_once(looked):
    model, (x, y) = classifier("unit"), pixels()
    tfopt.quantization.QATSession(model, Export(mode="int8"), x)
    assert looked == []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        aware = tfopt.quantization.quantize_aware(model, "int8", x)
        aware.convert()
        aware.strip()
        aware.on(model).convert()
    assert ranges_of(caught) == list(said(model, "pixels"))
    model.compile("sgd", "sparse_categorical_crossentropy")
    callback = tfopt.callbacks.QuantizationAware(x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            model.fit(x / 255, y, epochs=1, verbose=0, callbacks=[callback])
        callback.convert()
    assert len(ranges_of(caught)) == 1


def test_what_only_shows_after_the_training_is_said_with_the_file():
    model = normalized("unit")
    trained = model.get_weights()
    norm = model.get_layer("norm")
    norm.set_weights([*norm.get_weights()[:2], np.zeros(6), np.ones(6)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        aware = tfopt.quantization.quantize_aware(model, "int8", pixels()[0])
    assert ranges_of(caught) == []
    aware.strip()
    model.set_weights(trained)
    with pytest.warns(TfoptWarning, match="scaled in another way"):
        made = aware.convert()
    assert sum("scaled in another way" in sentence for sentence in made.warnings) == 1


def test_ids_of_other_reaches_are_no_other_scaling():
    low, high = np.arange(120).reshape(40, 3) % 30, np.arange(120).reshape(40, 3) * 250 + 8
    for dtype in ("int32", "int64", "uint8", "float32"):
        for here, there in ((low, high), (high, low)):
            assert splits_warning({"ids": here.astype(dtype)}, {"the test split": {"ids": there.astype(dtype)}}) is None
    assert splits_warning({"": np.array([["a"]])}, {"the test split": {"": np.array([["b"]])}}) is None


def test_pixels_of_bytes_and_rows_of_pixels_in_another_scaling_are_said():
    x = pixels()[0]
    for here, there in ((x.astype("uint8"), x / 255), (x.reshape(64, -1), x.reshape(64, -1) / 255)):
        for one, other in ((here, there), (there, here)):
            assert "preprocess all alike" in splits_warning({"": one}, {"the test split": {"": other}})


def test_splits_are_compared_on_a_few_samples(allocated):
    x = np.random.default_rng(0).random((2048, 256)).astype(np.float32)
    others = {what: {"": x[:64]} for what in ("the validation split", "the test split")}
    assert allocated(splits_warning, {"": x}, others) < x.nbytes / 4


def test_splits_of_another_range_than_the_samples_that_calibrate():
    x = pixels()[0]
    assert splits_warning({"": x}, {"the test split": {"": x[:8]}, "the validation split": {"": x + 5}}) is None
    sentence = splits_warning({"image": x / 255}, {"the test split": {"image": x}})
    assert "of 'image' are of 0 to 0.98, and the test split of 0 to 250" in sentence


CONVOLUTION = [layers.Reshape((28, 28, 1)), layers.Conv2D(8, 3, strides=2, activation="relu")]
NORMALIZED = [layers.Reshape((28, 28, 1)), layers.Conv2D(8, 3, strides=2), layers.BatchNormalization(), layers.ReLU()]
# Small networks of the kinds that people train, each up to its last layer.
NETWORKS = {
    "dense": [layers.Flatten(), layers.Dense(64, activation="relu")],
    "convolution": [*CONVOLUTION, layers.Conv2D(16, 3, strides=2, activation="relu"), layers.Flatten()],
    "dropout": [*CONVOLUTION, layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dropout(0.3)],
    "pooling": [*CONVOLUTION, layers.MaxPooling2D(), layers.Flatten()],
    "separable": [*CONVOLUTION, layers.SeparableConv2D(16, 3, activation="relu"), layers.Flatten()],
    "normalized": [*NORMALIZED, layers.Flatten()],
    "normalized twice": [*NORMALIZED, layers.Conv2D(16, 3), layers.BatchNormalization(), layers.Flatten()],
    "tanh": [layers.Flatten(), layers.Dense(256, activation="tanh")],
    "layer normalization": [*CONVOLUTION, layers.LayerNormalization(), layers.Flatten()],
    "recurrent": [layers.GRU(24)],
}
# Their outputs are bounded whatever goes in, which hides the fault.
BOUNDED = ("tanh", "layer normalization", "recurrent")


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["unit", "pixels"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_trained_on_real_digits(real_data, name, trained):
    with np.load(real_data / "mnist.npz") as file:
        x, y = file["x_train"][:6000].astype(np.float32), file["y_train"][:6000]
    stack = [type(layer).from_config(layer.get_config()) for layer in NETWORKS[name]]
    model = keras.Sequential([keras.Input((28, 28)), *stack, layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(SCALINGS[trained](x), y, epochs=4, batch_size=64, verbose=0)
    scaled = {scaling: {model.inputs[0].name: SCALINGS[scaling](x[:200])} for scaling in ("unit", "pixels")}
    assert input_range_warnings(model, scaled.pop(trained)) == ()
    [other] = scaled.values()
    told = input_range_warnings(model, other)
    if name not in BOUNDED and (trained == "unit" or name != "dropout"):
        assert len(told) == 1
