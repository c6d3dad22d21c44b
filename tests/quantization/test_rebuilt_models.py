"""Models that are built again on the way are held to the model as it was handed in."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization import zoo
from tfopt.errors import ConversionError, ModelError
from tfopt.quantization import convert, convert_with_notes
from tfopt.quantization.preparation import prepare
from tfopt.recipe.export import Export


def adapted(values):
    layer = layers.Normalization()
    layer.adapt(values)
    return layer


def series(seed=0, count=48):
    return np.random.default_rng(seed).normal(3, 5, (count, 6, 4)).astype(np.float32)


def test_normalization_keeps_its_statistics_where_a_model_is_unrolled():
    x = series()[:, :3]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((3, 4)), adapted(x), layers.SimpleRNN(5), layers.Dense(2)])
    converted = convert_with_notes(model, Export(mode="int8"), x)
    assert converted.audit.loops == ()
    assert zoo.error(converted.content, model, x) < 0.05


def test_normalization_keeps_its_statistics_where_a_model_is_built_in_float32():
    x = series()[:, 0]
    policy = {"dtype": "mixed_float16"}
    scale = layers.Normalization(**policy)
    scale.adapt(x)
    model = keras.Sequential([layers.Input((4,)), scale, layers.Dense(3, **policy)])
    converted = convert_with_notes(model, Export(mode="float32"), x)
    assert zoo.error(converted.content, model, x) < 0.01
    assert "built again in float32" in converted.notes[0]


def test_a_copy_that_computes_something_else_is_refused():
    model, x = zoo.chain((4,), layers.Dense(3))
    other, _ = zoo.chain((4,), layers.Dense(3, bias_initializer="ones"))
    with pytest.raises(ConversionError, match="gives something else than Keras"):
        prepare(model, Export(mode="float32"), x, original=other)


class Inside(layers.Layer):
    """A layer whose loop no setting unrolls."""

    def call(self, x):
        return keras.ops.fori_loop(0, 3, lambda i, state: keras.ops.tanh(state * 1.1), x)


def test_a_loop_that_does_not_unroll_is_told_to_stay():
    model, x = zoo.chain((4,), layers.Dense(4), Inside(), layers.Dense(2))
    converted = convert_with_notes(model, Export(mode="int8"), x)
    assert len(converted.audit.loops) == 1
    assert "loops stay in float" in converted.notes[0]
    assert "does not unroll" in converted.notes[0]


def test_masked_text_is_unrolled_and_right():
    words = np.random.default_rng(0).integers(0, 20, (64, 3)).astype(np.int32)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.Input((3,), dtype="int32"), layers.Embedding(20, 6, mask_zero=True), layers.LSTM(5), layers.Dense(2)]
    )
    converted = convert_with_notes(model, Export(mode="int8"), words)
    assert zoo.error(converted.content, model, words) < 0.25
    assert (converted.audit.loops == ()) == ("were unrolled" in converted.notes[0])


def test_a_stateful_layer_is_refused_by_name():
    model = keras.Sequential([layers.Input((6, 4), batch_size=1), layers.LSTM(3, stateful=True, name="memory")])
    with pytest.raises(ModelError, match="memory is stateful"):
        convert(model, "float32", series())


def test_a_recurrent_layer_with_a_batch_of_any_size_is_one_line():
    model = keras.Sequential([layers.Input((6, 4)), layers.LSTM(3)])
    with pytest.raises(ModelError, match="Give batch a number"):
        convert(model, "dynamic", series(), batch="any")


def test_a_small_output_beside_a_large_one_is_not_overlooked():
    x = layers.Input((4,))
    large, small = layers.Dense(3, name="large")(x), layers.Dense(3, name="small")(x)
    model = keras.Model(x, [large, small])
    model.get_layer("large").kernel.assign(model.get_layer("large").kernel * 1e4)
    samples = zoo.normal(48, 4)
    prepared = prepare(model, Export(mode="int8"), samples)
    both = prepared.snr(prepared.quantized())
    worst = min(zoo.errors(prepared.quantized(), model, samples).values(), default=0)
    assert worst < 0.1
    assert both > 10
