"""Each private name of TensorFlow is there, and still holds what tfopt takes it for."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.python.framework import convert_to_constants

from tfopt import tensorflow_private
from tfopt.output_capture import captured
from tfopt.quantization.float_conversion import trace


def test_every_function_has_a_test_of_its_name():
    functions = [
        name
        for name, value in vars(tensorflow_private).items()
        if getattr(value, "__module__", "") == tensorflow_private.__name__ and not name.startswith("_")
    ]
    assert [name for name in functions if f"test_{name}" not in globals()] == []


def test_op_outputs_replaced():
    asked = []

    def change(name, outputs):
        asked.append(name)
        return [outputs[0] * 10] if name == "here" else None

    @tf.function
    def compute(x):
        with tensorflow_private.op_outputs_replaced(change):
            inside = tf.add(x, 1, name="here")
        return inside, tf.add(x, 1, name="later")

    assert [float(value) for value in compute(tf.constant(1.0))] == [20, 2]
    assert "here" in asked
    assert "later" not in asked


def test_with_constants():
    variable = tf.Variable([2.0])
    function = tf.function(lambda x: variable * x).get_concrete_function(tf.TensorSpec([1]))
    frozen = tensorflow_private.with_constants(function)
    variable.assign([5.0])
    assert float(frozen(tf.constant([1.0]))[0][0]) == 2
    assert list(frozen.variables) == []


def test_is_op_determinism_enabled():
    assert not tensorflow_private.is_op_determinism_enabled()
    tf.config.experimental.enable_op_determinism()
    try:
        assert tensorflow_private.is_op_determinism_enabled()
    finally:
        tensorflow_private.disable_op_determinism()


def test_disable_op_determinism():
    tf.config.experimental.enable_op_determinism()
    tensorflow_private.disable_op_determinism()
    assert not tensorflow_private.is_op_determinism_enabled()


def test_limit_cluster_start(monkeypatch):
    """TensorFlow's own `configure_coordination_service` takes what it is given; it would last for the process."""
    from tensorflow.python.eager import context

    took = inspect.signature(context.Context.configure_coordination_service)
    given = []

    def configure(self, **settings):
        took.bind(self, **settings)
        given.append(settings)

    monkeypatch.setattr(context.Context, "configure_coordination_service", configure)
    tensorflow_private.limit_cluster_start({"worker": ["localhost:1", "localhost:2"]}, 1.5, 10)
    [settings] = given
    assert settings["cluster_register_timeout_in_ms"] == 1500
    assert settings["heartbeat_timeout_in_ms"] == 10_000
    assert "worker" in settings["service_leader"]
    assert [(job.name, job.num_tasks) for job in settings["coordinated_jobs"]] == [("worker", 2)]


def test_saved_model_message(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    message = tensorflow_private.saved_model_message()
    message.ParseFromString((tmp_path / "saved_model.pb").read_bytes())
    assert len(message.meta_graphs) == 1
    assert len(message.meta_graphs[0].object_graph_def.nodes) > 0


# The frozen converter gives the bytes of TensorFlow's own


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


def own_converter(traced):
    return tf.lite.TFLiteConverter.from_concrete_functions([traced.function])


def converted(converter):
    with captured():
        return converter.convert()


@pytest.fixture(params=[of_images, of_loops, of_two_inputs], ids=lambda build: build.__name__)
def traced(request):
    keras.utils.set_random_seed(0)
    return trace(request.param(), None, 1)


def test_frozen_converter(traced):
    assert converted(tensorflow_private.frozen_converter(traced.function)) == converted(own_converter(traced))


def test_any_batch_is_that_of_tensorflow():
    traced = trace(of_images(), None, None)
    assert converted(tensorflow_private.frozen_converter(traced.function)) == converted(own_converter(traced))


def test_no_function_is_built_of_the_frozen_graph(traced, monkeypatch):
    def refused(*_):
        raise AssertionError("built")

    monkeypatch.setattr(convert_to_constants, "_construct_concrete_function", refused)
    assert converted(tensorflow_private.frozen_converter(traced.function))


def without(names, name):
    del names[name]


def of_other_arguments(names, name):
    names[name] = lambda function, lowered: None


def of_more_results(names, name):
    own = names[name]
    names[name] = lambda data: (*own(data), None)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (without, "_FunctionConverterDataInEager"),
        (without, "_replace_variables_by_constants"),
        (of_other_arguments, "_FunctionConverterDataInEager"),
        (of_more_results, "_replace_variables_by_constants"),
    ],
    ids=["another class", "another function", "other arguments", "more results"],
)
def test_a_tensorflow_of_other_names_freezes_by_itself(change, name, monkeypatch):
    traced = trace(of_images(), None, 1)
    expected = converted(own_converter(traced))
    whole = convert_to_constants.convert_variables_to_constants_v2_as_graph
    asked = []
    names = vars(convert_to_constants)
    own = names[name]

    def watched(*args, **rest):
        asked.append(args)
        with monkeypatch.context() as back:
            back.setitem(names, name, own)
            return whole(*args, **rest)

    monkeypatch.setattr(convert_to_constants, "convert_variables_to_constants_v2_as_graph", watched)
    monkeypatch.setitem(names, name, own)  # put back at the end
    change(names, name)
    assert converted(tensorflow_private.frozen_converter(traced.function)) == expected
    assert len(asked) == 1


def test_weights_are_those_of_the_call(traced):
    before = converted(tensorflow_private.frozen_converter(traced.function))
    for variable in traced.function.variables:
        variable.assign(variable + np.ones((), variable.dtype.as_numpy_dtype))
    assert converted(tensorflow_private.frozen_converter(traced.function)) != before
