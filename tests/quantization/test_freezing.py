"""The converter that skips a function of the frozen graph gives the bytes of TensorFlow's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.python.framework import convert_to_constants

from tfopt.output_capture import captured
from tfopt.quantization.float_conversion import trace
from tfopt.quantization.freezing import FrozenConverter


def of_images():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False)(inputs)
    x = layers.BatchNormalization()(x)
    return keras.Model(inputs, [layers.Dense(3)(layers.GlobalAveragePooling2D()(x)), x])


def of_loops():
    inputs = keras.Input((5, 3))
    return keras.Model(inputs, layers.Bidirectional(layers.LSTM(4))(inputs))


def of_two_inputs():
    one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two", dtype="int32")
    table = layers.Embedding(7, 3)(two)
    return keras.Model([two, one], layers.Dense(2)(layers.Concatenate()([layers.Flatten()(table), one])))


def converted(converter, traced):
    with captured():
        return converter.from_concrete_functions([traced.function]).convert()


@pytest.fixture(params=[of_images, of_loops, of_two_inputs], ids=lambda build: build.__name__)
def traced(request):
    keras.utils.set_random_seed(0)
    return trace(request.param(), None, 1)


def test_bytes_are_those_of_tensorflow(traced):
    assert converted(FrozenConverter, traced) == converted(tf.lite.TFLiteConverter, traced)


def test_any_batch_is_that_of_tensorflow():
    traced = trace(of_images(), None, None)
    assert converted(FrozenConverter, traced) == converted(tf.lite.TFLiteConverter, traced)


def test_no_function_is_built_of_the_frozen_graph(traced, monkeypatch):
    def refused(*_):
        raise AssertionError("built")

    monkeypatch.setattr(convert_to_constants, "_construct_concrete_function", refused)
    assert converted(FrozenConverter, traced)


def test_a_tensorflow_of_other_names_freezes_by_itself(traced, monkeypatch):
    expected = converted(tf.lite.TFLiteConverter, traced)
    whole = convert_to_constants.convert_variables_to_constants_v2_as_graph
    asked = []
    names = vars(convert_to_constants)

    def watched(*args, **rest):
        asked.append(args)
        with monkeypatch.context() as back:
            back.setitem(names, "_FunctionConverterDataInEager", own)
            return whole(*args, **rest)

    own = names["_FunctionConverterDataInEager"]
    monkeypatch.setattr(convert_to_constants, "convert_variables_to_constants_v2_as_graph", watched)
    monkeypatch.delattr(convert_to_constants, "_FunctionConverterDataInEager")
    assert converted(FrozenConverter, traced) == expected
    assert len(asked) == 1


def test_weights_are_those_of_the_call(traced):
    before = converted(FrozenConverter, traced)
    for variable in traced.function.variables:
        variable.assign(variable + np.ones((), variable.dtype.as_numpy_dtype))
    assert converted(FrozenConverter, traced) != before
