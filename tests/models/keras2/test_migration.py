"""Models of Keras 2 at the door, real ones of tf_keras: as an object, as an .h5 file, as a SavedModel folder."""

import contextlib
import functools
import json
import shutil

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tfopt
from tfopt import inspection
from tfopt.errors import ModelError
from tfopt.models import files as model_files
from tfopt.models import loading, signature, stored_model
from tfopt.models.keras2 import migration
from tfopt.models.keras2.random_inputs import random_inputs
from tfopt.report import summary

L = tf_keras.layers


def mlp():
    layers = [L.Dense(8, activation="relu", kernel_regularizer="l2"), L.Dropout(0.5), L.LeakyReLU(0.1), L.Softmax()]
    return tf_keras.Sequential([L.Input((4,)), *layers])


def cnn():
    layers = [L.Conv2D(4, 3), L.BatchNormalization(), L.DepthwiseConv2D(3), L.ReLU(6.0), L.SeparableConv2D(5, 3)]
    return tf_keras.Sequential([L.Input((9, 9, 3)), *layers, L.Conv2DTranspose(2, 3), L.GlobalAveragePooling2D()])


def recurrent():
    layers = [
        L.Bidirectional(L.LSTM(4, return_sequences=True)),
        L.GRU(4, return_sequences=True),
        L.TimeDistributed(L.Dense(3)),
    ]
    return tf_keras.Sequential([L.Input((4, 3)), *layers])


def memory():
    return tf_keras.Sequential([L.Input((4, 3)), L.LSTM(2)])


def cells():
    layers = [L.GRU(3, reset_after=False, return_sequences=True), L.RNN([L.LSTMCell(3), L.GRUCell(2)])]
    return tf_keras.Sequential([L.Input((4, 3)), *layers])


def states():
    """An encoder whose states start a decoder."""
    encoded, decoded = L.Input((4, 3)), L.Input((3, 3))
    _, h, c = L.LSTM(5, return_state=True)(encoded)
    return tf_keras.Model([encoded, decoded], L.LSTM(5)(decoded, initial_state=[h, c]))


def attention():
    x = L.Input((6, 8))
    y = L.LayerNormalization()(L.Add()([x, L.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)]))
    return tf_keras.Model(x, L.Dense(3)(y))


def embedding():
    return tf_keras.Sequential(
        [L.Input((5,), dtype="int32"), L.Embedding(7, 4, mask_zero=True), L.GlobalAveragePooling1D()]
    )


def normalization():
    layer = L.Normalization()
    layer.adapt(np.float32([[1, 20], [3, 50], [2, 80]]))
    return tf_keras.Sequential([L.Input((2,)), layer, L.Dense(2)])


def rescaling():
    return tf_keras.Sequential([L.Input((4, 4, 3), dtype="uint8"), L.Rescaling(1 / 255.0), L.RandomFlip(), L.Flatten()])


def two_sided():
    a, b = L.Input((3,), name="a"), L.Input((2,), name="b")
    return tf_keras.Model([b, a], [L.Dense(2, name="z")(b), L.Dense(4, name="y")(L.Concatenate()([a, b]))])


def named():
    a, b = L.Input((3,), name="a"), L.Input((2,), name="b")
    return tf_keras.Model({"b": b, "a": a}, {"z": L.Dense(2, name="z")(b), "y": L.Dense(4, name="y")(a)})


def nested():
    """A model in a model, called twice, beside a layer that is called twice."""
    x, shared = L.Input((3,)), L.Dense(3, name="shared")
    inner = tf_keras.Sequential([L.Input((3,)), L.Dense(3), L.BatchNormalization()], name="inner")
    return tf_keras.Model(x, L.Add()([inner(x, training=False), shared(inner(shared(x)))]))


def distributed():
    x = L.Input((2, 6, 6, 1))
    inner = tf_keras.Sequential([L.Input((6, 6, 1)), L.Conv2D(2, 3), L.BatchNormalization(), L.Flatten()])
    return tf_keras.Model(x, L.TimeDistributed(inner)(x))


CASES = (
    *(mlp, cnn, memory, attention, embedding, normalization, rescaling),
    *(two_sided, named, nested, distributed),
)


def trained(model, seed=0):
    """A model with weights that are neither zeros nor ones, as after training; a scaler keeps its own."""
    generator = np.random.default_rng(seed)
    for layer in model._flatten_layers(include_self=False):
        own = [*layer._trainable_weights, *layer._non_trainable_weights]
        for weight in own if not isinstance(layer, L.Normalization) else ():
            weight.assign(np.abs(generator.normal(0.5, 0.3, weight.shape)) + 0.01)
    return model


def stored(model, kind, folder):
    """The model as an object, or the path of what model.save wrote."""
    if kind == "object":
        return model
    path = folder / {"h5": "old.h5", "folder": "old"}[kind]
    with pytest.warns(UserWarning, match="HDF5") if kind == "h5" else contextlib.nullcontext():
        model.save(path)
    return path


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """The SavedModel folder of a model by the function that builds it, written once, and the model; for reading."""

    @functools.cache
    def get(case):
        model = trained(case())
        return stored(model, "folder", tmp_path_factory.mktemp(case.__name__)), model

    return get


@pytest.fixture
def own_folder(folder_of, tmp_path):
    """A copy of it that a test may damage, and the model."""

    def get(case):
        path, model = folder_of(case)
        return shutil.copytree(path, tmp_path / "old"), model

    return get


def outputs(model, inputs):
    return tf.nest.flatten(model(inputs, training=False))


KINDS = ("object", "h5", "folder")


# tf_keras takes many seconds to load a recurrent layer from a folder: one such case does.
PLACES = [(case, kind) for case in CASES for kind in KINDS] + [
    (c, k) for c in (recurrent, states, cells) for k in KINDS[:2]
]


@pytest.mark.parametrize(("case", "kind"), PLACES)
@pytest.mark.sample(5)
def test_a_keras_2_model_computes_the_same_in_keras_3(case, kind, tmp_path):
    model = trained(case())
    admitted = loading.load_source(stored(model, kind, tmp_path))
    new, carried = admitted
    assert isinstance(new, keras.Model)
    assert carried.model is new
    assert carried.max_error <= 1e-5 * max(carried.scale, 1)
    assert carried.scale > 0
    for inputs in random_inputs(model):  # the text of the report is one thing, and what the two compute another
        for one, other in zip(outputs(model, inputs), outputs(new, inputs), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    new.save(tmp_path / "new.keras")
    again = keras.models.load_model(tmp_path / "new.keras")  # an ordinary Keras 3 model, without tfopt
    assert all(np.array_equal(a, b) for a, b in zip(new.get_weights(), again.get_weights(), strict=True))
    assert {type(layer).__module__.split(".")[0] for layer in new._flatten_layers()} == {"keras"}


def test_names_shapes_and_sharing_stay():
    old = nested()
    new = loading.as_keras3(old)
    assert [layer.name for layer in new.layers] == [layer.name for layer in old.layers]
    assert (new.name, new.count_params()) == (old.name, old.count_params())
    assert signature.inputs_of(loading.as_keras3(two_sided())) == {"b": (2,), "a": (3,)}
    assert set(loading.as_keras3(named())({"b": np.ones((1, 2)), "a": np.ones((1, 3))})) == {"z", "y"}


def test_frozen_layers_stay_frozen():
    model = cnn()
    model.layers[0].trainable = False
    new = loading.as_keras3(model)
    assert [layer.trainable for layer in new.layers] == [layer.trainable for layer in model.layers]


def test_a_model_in_mixed_precision_stays_so():
    new = loading.as_keras3(tf_keras.Sequential([L.Input((4,)), L.Dense(3, dtype="mixed_float16"), L.Dense(2)]))
    assert [layer.compute_dtype for layer in new.layers] == ["float16", "float32"]


def test_sides_of_any_length_are_carried():
    model = tf_keras.Sequential(
        [L.Input((None, None, 3)), L.Conv2D(2, 9, 4), L.Conv2D(2, 9, 4), L.GlobalMaxPooling2D()]
    )
    assert loading.as_keras3(trained(model)).input_shape == (None, None, None, 3)


def test_a_name_with_a_slash_loses_it():
    assert loading.as_keras3(tf_keras.Sequential([L.Input((3,)), L.Dense(2, name="a/b")])).layers[0].name == "a_b"


@pytest.fixture(scope="module")
def fitted():
    model = mlp()
    model.compile(tf_keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(np.ones((8, 4)), np.ones(8), verbose=0)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_and_the_optimizer_are_kept(fitted, kind, tmp_path):
    new = loading.build(stored(fitted, kind, tmp_path))
    assert getattr(new.loss, "__name__", new.loss) == "sparse_categorical_crossentropy"
    assert float(new.optimizer.learning_rate) == pytest.approx(0.02)


# What Keras 2 and 3 share a class of


@keras.saving.register_keras_serializable("test_carry")
class Scale(keras.layers.Layer):
    def __init__(self, power=1, **rest):
        super().__init__(**rest)
        self.power = power

    def build(self, shape):
        self.factor = self.add_weight(shape=shape[-1:], name="factor")

    def call(self, x):
        return x * self.factor**self.power

    def get_config(self):
        return {**super().get_config(), "power": self.power}


def own_layer():
    def call(self, x):
        return x * self.factor**self.power

    def init(self, power=1, **rest):
        L.Layer.__init__(self, **rest)
        self.power = power

    def build(self, shape):
        self.factor = self.add_weight("factor", shape=shape[-1:])

    def get_config(self):
        return {**L.Layer.get_config(self), "power": self.power}

    methods = {"__init__": init, "build": build, "call": call, "get_config": get_config}
    cls = type("Scale", (L.Layer,), methods)
    return trained(tf_keras.Sequential([L.Input((3,)), cls(2, name="mine"), L.Dense(2)]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_of_ones_own_comes_with_its_keras_3_class(kind, tmp_path):
    model, x = own_layer(), np.ones((2, 3), np.float32)
    new = loading.as_keras3(stored(model, kind, tmp_path), custom_objects={"Scale": Scale})
    assert type(new.layers[0]) is Scale
    np.testing.assert_allclose(new(x), model(x), rtol=1e-5)


@pytest.mark.parametrize("kind", ["object", "folder"])
def test_a_layer_of_ones_own_is_refused_without(kind, tmp_path):
    with pytest.raises(ModelError, match=r"layer 'mine' \(Scale\).*custom_objects") as caught:
        loading.as_keras3(stored(own_layer(), kind, tmp_path))
    assert len(str(caught.value).splitlines()) == 1


def test_a_layer_of_ones_own_that_computes_something_else_is_refused():
    class Other(Scale):
        def call(self, x):
            return x + self.factor

    with pytest.raises(ModelError, match=r"computes something else.*differs by"):
        loading.as_keras3(own_layer(), custom_objects={"Scale": Other})


def test_a_layer_of_ones_own_with_other_weights_is_refused_by_name():
    class Other(Scale):
        def build(self, shape):
            super().build(shape)
            self.more = self.add_weight(shape=(1,))

    with pytest.raises(ModelError, match=r"layer 'mine' \(Scale\) has 1 weights, and 2 in Keras 3"):
        loading.as_keras3(own_layer(), custom_objects={"Scale": Other})


# Refused


def operation():
    x = L.Input((3,))
    return tf_keras.Model(x, L.Dense(2)(x + 1))


def sliced():
    x = L.Input((3, 3))
    return tf_keras.Model(x, L.Dense(2)(x[:, 1:]))


def code():
    return tf_keras.Sequential([L.Input((3,)), L.Lambda(lambda x: x * 2, name="double"), L.Dense(2)])


def gone():
    return tf_keras.Sequential([L.Input((3,)), L.ThresholdedReLU(1.0, name="cut")])


def argument():
    return tf_keras.Sequential([L.Input((3, 4)), L.SimpleRNN(2, time_major=True, name="memory")])


def axes():
    return tf_keras.Sequential([L.Input((3, 4)), L.BatchNormalization(axis=[1, 2], name="norm")])


REFUSED = {
    operation: r"layer 'tf\.__operators__\.add\w*' \(TFOpLambda\).*x \+ 1.*layers",
    sliced: r"layer 'tf\.__operators__\.getitem\w*' \(SlicingOpLambda\).*layers",
    code: r"ayer 'double'",
    gone: r"layer 'cut' \(ThresholdedReLU\).*Keras 3 does not have",
    argument: r"layer 'memory' \(SimpleRNN\) has time_major=True",
    axes: r"layer 'norm' \(BatchNormalization\).*several axes",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.sample(11)
def test_what_cannot_be_carried_is_refused_by_name_in_one_line(case, kind, tmp_path):
    with pytest.raises(ModelError, match=REFUSED[case]) as caught:
        loading.build(stored(case(), kind, tmp_path))
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.field == ("model",)
    assert caught.value.exit_code == 2


class Subclassed(tf_keras.Model):
    def __init__(self):
        super().__init__(name="mine")
        self.dense = L.Dense(2)

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize("kind", ["object", "folder"])
def test_a_subclassed_model_is_refused(kind, tmp_path):
    model = Subclassed()
    model(np.ones((1, 3), np.float32))
    with pytest.raises(ModelError, match=r"'mine' \(Subclassed\) is subclassed.*import keras"):
        loading.as_keras3(stored(model, kind, tmp_path))


def test_a_subclassed_model_inside_a_model_is_refused():
    x = L.Input((3,))
    with pytest.raises(ModelError, match=r"'mine' \(Subclassed\) is subclassed"):
        loading.as_keras3(tf_keras.Model(x, Subclassed()(x)))


def test_a_subclassed_model_in_a_recipe_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(tfopt.errors.InputError, match=r"\(Subclassed\) is subclassed"):
        loading.digest(Subclassed())


@pytest.mark.parametrize(
    ("model", "way_out"),
    [(tf_keras.Sequential([L.Dense(2)]), "Start it with an Input"), (L.Dense(2, name="d"), "not a model")],
)
def test_what_is_not_a_whole_model_is_refused(model, way_out):
    with pytest.raises(ModelError, match=way_out):
        loading.as_keras3(model)


def test_a_ragged_input_is_refused_by_name():
    x = L.Input((None,), dtype="int32", ragged=True, name="words")
    with pytest.raises(ModelError, match=r"layer 'words' \(InputLayer\).*dense"):
        loading.as_keras3(tf_keras.Model(x, L.Embedding(5, 2)(x)))


def test_text_is_refused():
    lookup = L.StringLookup(vocabulary=["a", "b"])
    with pytest.raises(ModelError, match="takes text"):
        loading.as_keras3(tf_keras.Sequential([L.Input((1,), dtype="string"), lookup, L.Embedding(3, 2)]))


def test_a_model_that_gives_no_numbers_is_refused():
    model = mlp()
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    with pytest.raises(ModelError, match="nothing but NaN"):
        loading.as_keras3(model)


# Folders


def module_folder(folder):
    module = tf.Module()
    module.f = tf.function(lambda x: x + 1, input_signature=[tf.TensorSpec((None, 3))])
    tf.saved_model.save(module, str(folder))


def exported_folder(folder):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).export(folder, verbose=False)


@pytest.mark.parametrize("write", [module_folder, exported_folder])
def test_a_saved_model_without_a_keras_model_is_refused_with_the_way_out(write, tmp_path):
    write(tmp_path / "sm")
    with pytest.raises(ModelError, match=r"without a Keras model.*Give the \.keras file"):
        loading.build(tmp_path / "sm")


@pytest.mark.parametrize("part", ["saved_model.pb", "keras_metadata.pb", "variables/variables.data-00000-of-00001"])
@pytest.mark.parametrize("content", [b"", b"\xffgarbage\x00"])
def test_a_saved_model_that_is_not_whole_is_refused_in_one_line(part, content, own_folder):
    path, _ = own_folder(mlp)
    (path / part).write_bytes(content)
    with pytest.raises(ModelError, match=r"SavedModel|does not load") as caught:
        loading.build(path)
    assert len(str(caught.value).splitlines()) == 1


def test_code_in_a_saved_model_is_refused_before_it_is_loaded(folder_of, monkeypatch):
    path, _ = folder_of(code)
    monkeypatch.setattr(migration, "read", None)
    for trust in (False, True):
        with pytest.raises(ModelError, match=r"layer 'double' \(Lambda\)"):
            model_files.load(path, trust=trust)


def edited(path, change):
    """Changes the graph of a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    change(saved.meta_graphs[0])
    (path / "saved_model.pb").write_bytes(saved.SerializeToString())


def saver(graph):
    """The function with which a SavedModel writes its variables."""
    found = graph.graph_def.library.function
    return next(one.signature.name for one in found if any(node.op == "SaveV2" for node in one.node_def))


def writes_in_a_function(graph):
    graph.graph_def.library.function[0].node_def.add(name="evil", op="WriteFile")


def python_at_the_top(graph):
    graph.graph_def.node.add(name="evil", op="PyFunc")


def unknown_op(graph):
    graph.graph_def.library.function[0].node_def.add(name="evil", op="SomebodysOwnOp")


def saves_from_a_function(graph):
    own = next(one for one in graph.graph_def.library.function if one.signature.name != saver(graph))
    own.node_def.add(name="evil", op="PartitionedCall").attr["f"].func.name = saver(graph)


def saves_from_an_object(graph):
    graph.object_graph_def.nodes.add().bare_concrete_function.concrete_function_name = saver(graph)


@pytest.mark.parametrize(
    ("change", "op"),
    [
        (writes_in_a_function, "WriteFile"),
        (python_at_the_top, "PyFunc"),
        (unknown_op, "SomebodysOwnOp"),
        (saves_from_a_function, "SaveV2"),
        (saves_from_an_object, "SaveV2"),
    ],
)
def test_a_saved_model_whose_graph_does_more_than_arithmetic_needs_trust(change, op, own_folder, monkeypatch):
    path, _ = own_folder(mlp)
    assert stored_model.check_saved_model(path)
    edited(path, change)
    monkeypatch.setattr(migration, "read", None)  # nothing of it is loaded
    with pytest.raises(ModelError, match=rf"not known to be arithmetic alone: .*{op}.*--trust") as caught:
        model_files.load(path)
    assert len(str(caught.value).splitlines()) == 1
    assert stored_model.check_saved_model(path, trust=True)


def test_every_op_on_the_list_is_one_of_tensorflow_and_none_of_those_that_do_something():
    from tensorflow.python.framework import op_def_registry

    from tfopt.models.arithmetic_ops import ARITHMETIC_OPS

    assert {name for name in ARITHMETIC_OPS if op_def_registry.get(name) is None} <= {"_Arg", "_Retval"}
    words = ("File", "Save", "Restore", "Print", "PyFunc", "Checkpoint", "Dataset", "Summary", "Send", "Recv", "Queue")
    assert not [name for name in ARITHMETIC_OPS if any(word in name for word in words)]


def test_a_number_of_a_protocol_buffer_that_never_ends_is_refused_at_once(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08" + b"\xff" * 10**6)
    with pytest.raises(ModelError, match="cut short, or damaged"):
        stored_model.check(tmp_path)


def test_a_saved_model_without_its_own_loss_is_read_uncompiled(own_folder):
    from tf_keras.protobuf import saved_metadata_pb2

    path, _ = own_folder(mlp)
    metadata = saved_metadata_pb2.SavedMetadata()
    metadata.ParseFromString((path / "keras_metadata.pb").read_bytes())
    root = json.loads(metadata.nodes[0].metadata)
    root["training_config"] = {"loss": {"class_name": "Gone", "config": {}}, "optimizer_config": {}}
    metadata.nodes[0].metadata = json.dumps(root)
    (path / "keras_metadata.pb").write_bytes(metadata.SerializeToString())
    assert not stored_model.check_saved_model(path)
    assert not model_files.load(path).compiled


def test_code_in_an_old_file_is_refused_before_it_is_loaded(tmp_path, monkeypatch):
    path = stored(code(), "h5", tmp_path)
    monkeypatch.setattr(migration, "read", None)
    with pytest.raises(ModelError, match=r"Lambda layer 'double'.*trust"):
        model_files.load(path)


def test_metadata_of_before_tensorflow_2_5_is_read_from_the_graph(own_folder):
    from tensorflow.core.protobuf import saved_model_pb2
    from tf_keras.protobuf import saved_metadata_pb2

    path, model = own_folder(mlp)
    x = np.ones((2, 4), np.float32)
    saved, metadata = saved_model_pb2.SavedModel(), saved_metadata_pb2.SavedMetadata()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    metadata.ParseFromString((path / "keras_metadata.pb").read_bytes())
    for node in metadata.nodes:
        user = saved.meta_graphs[0].object_graph_def.nodes[node.node_id].user_object
        user.identifier, user.metadata = node.identifier, node.metadata
    (path / "saved_model.pb").write_bytes(saved.SerializeToString())
    (path / "keras_metadata.pb").unlink()
    np.testing.assert_allclose(loading.build(path)(x), model(x), rtol=1e-5)


# Files that Keras 3 reads in its own way


def test_an_old_file_that_keras_3_does_not_load_is_carried(tmp_path):
    x = L.Input((3,))
    inner = tf_keras.Sequential([L.Input((3,)), L.Dense(3)], name="inner")
    model = trained(tf_keras.Model(x, inner(inner(x))))
    path = stored(model, "h5", tmp_path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        assert config["config"]["layers"][1]["class_name"] == "Sequential"
    with pytest.raises(Exception, match="failed to be resolved"):
        keras.models.load_model(path)
    np.testing.assert_allclose(model_files.load(path)(np.ones((2, 3))), model(np.ones((2, 3))), rtol=1e-5)


# Beyond the door


def test_the_digest_of_a_tf_keras_model_changes_with_a_weight():
    model = mlp()
    first = loading.digest(model)
    assert loading.digest(model) == first
    model.set_weights([w + 1 for w in model.get_weights()])
    assert loading.digest(model) != first


def depthwise():
    return tf_keras.Sequential([L.Input((4, 4, 2)), L.DepthwiseConv2D(3), L.Flatten()])


@pytest.mark.parametrize("kind", KINDS)
def test_inspect_looks_into_a_keras_2_model(kind, tmp_path):
    model = depthwise()
    found = inspection.inspect(stored(model, kind, tmp_path))
    assert (found.format, found.parameters) == ("keras", model.count_params())
    assert (found.bytes is None) == (kind != "h5")
    assert "DepthwiseConv2D" in {part.kind for part in found.parts}


@pytest.mark.parametrize("kind", ["object", "folder"])
def test_a_recipe_runs_from_a_keras_2_model_and_reports_what_it_cost(kind, folder_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    np.savez("data.npz", x_train=x, y_train=np.arange(20) % 8, x_test=x, y_test=np.arange(20) % 8)
    source = folder_of(mlp)[kind == "object"]
    recipe = tfopt.Recipe(
        name="old",
        model=str(source) if kind == "folder" else source,
        data="npz:data.npz",
        loss="sparse_categorical_crossentropy",
        stages=[{"quantize": {"mode": "float32"}}],
    )
    result = tfopt.run(recipe, out=tmp_path / "out")
    details = result.artifacts["source"].details["carried"]
    origin = {"object": "a tf_keras model", "folder": "the SavedModel old"}[kind]
    assert details["from"] == origin
    assert 0 <= details["max_error"] < 1e-5 < details["scale"]
    text = summary.as_markdown("old", result.artifacts)
    assert f"## starting model: carried over from {origin}" in text
    assert "largest difference of the outputs in Keras 3: " in text
    assert (result.folder / "report.md").read_text() == text
    assert tfopt.run(recipe, out=tmp_path / "out").artifacts["source"].details["carried"] == details


def test_a_keras_file_that_tf_keras_saved_is_carried_over(tmp_path):
    old = tf_keras.Sequential([tf_keras.layers.Input((5,)), tf_keras.layers.Dense(3)])
    old.save(tmp_path / "old.keras")
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    new = model_files.load(tmp_path / "old.keras")
    assert isinstance(new, keras.Model)
    np.testing.assert_allclose(new.predict(x, verbose=0), old.predict(x, verbose=0), atol=1e-6)


def test_layers_that_take_no_trainable_argument_are_carried_over():
    old = tf_keras.Sequential(
        [tf_keras.layers.Input((6, 4)), tf_keras.layers.SpatialDropout1D(0.2), tf_keras.layers.Dense(3)]
    )
    x = np.random.default_rng(0).normal(size=(4, 6, 4)).astype(np.float32)
    np.testing.assert_allclose(loading.as_keras3(old).predict(x, verbose=0), old.predict(x, verbose=0), atol=1e-6)
