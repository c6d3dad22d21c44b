import json
import os
import subprocess
import sys
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from tfopt.errors import InputError, ModelError
from tfopt.models import files, loading, signature, stored_model
from tfopt.pipeline.plan import Plan
from tfopt.recipe.progress import Progress
from tfopt.recipe.recipe import Recipe
from tfopt.user_code import Ref


def dense_model():
    return keras.Sequential([layers.Input((3,)), layers.Dense(4, activation="relu"), layers.Dense(2)])


def lambda_model():
    return keras.Sequential([layers.Input((3,)), layers.Lambda(lambda x: x * 3, output_shape=(3,)), layers.Dense(2)])


def two_sided(structure):
    """Inputs b (width 2) and a (width 3), outputs z and y, as lists or dicts."""
    b, a = layers.Input((2,), name="b"), layers.Input((3,), name="a")
    z, y = layers.Dense(2, name="z")(b), layers.Dense(4, name="y")(layers.Concatenate()([a, b]))
    if structure == "list":
        return keras.Model([b, a], [z, y])
    return keras.Model({"b": b, "a": a}, {"z": z, "y": y})


class Stack(keras.Model):
    def __init__(self):
        super().__init__()
        self.blocks = [layers.Dense(3), layers.Dense(2)]

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def x_of(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def same_weights(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), two.get_weights(), strict=True))


@pytest.fixture
def user_file(tmp_path):
    """Writes a user's model file and returns a reference to a function in it."""

    def write(code, name="build"):
        path = tmp_path / f"user_{tmp_path.name}.py"
        path.write_text(code)
        return Ref(path, name)

    return write


# Resolving


@pytest.mark.parametrize("suffix", loading.FILES)
def test_a_model_file_resolves_to_its_path_beside_the_recipe(tmp_path, suffix):
    (tmp_path / f"model{suffix}").write_bytes(b"")
    assert loading.resolve(f"model{suffix}", tmp_path) == (tmp_path / f"model{suffix}").resolve()


def test_a_function_resolves_to_a_reference(tmp_path):
    (tmp_path / "net.py").write_text("def build(): ...")
    assert loading.resolve("net.py:build", tmp_path) == Ref((tmp_path / "net.py").resolve(), "build")


def test_an_object_resolves_to_itself(tmp_path):
    model = dense_model()
    assert loading.resolve(model, tmp_path) is model


def test_resolving_a_missing_file_names_it(tmp_path):
    with pytest.raises(InputError, match=r"no file 'absent\.keras'"):
        loading.resolve("absent.keras", tmp_path)


def test_resolving_words_that_are_no_model_says_what_a_model_is(tmp_path):
    with pytest.raises(ModelError, match=r"\.keras or \.h5.*'resnet'"):
        loading.resolve("resnet", tmp_path)


def test_a_saved_model_folder_resolves_to_its_path(tmp_path, monkeypatch):
    (tmp_path / "kws").mkdir()
    (tmp_path / "kws" / "saved_model.pb").write_bytes(b"")
    assert loading.resolve("kws", tmp_path) == (tmp_path / "kws").resolve()
    monkeypatch.chdir(tmp_path)
    assert loading.resolve("./kws", tmp_path / "elsewhere") == (tmp_path / "kws").resolve()


def test_resolving_an_empty_folder_says_what_a_saved_model_has(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty is a folder.*saved_model\.pb"):
        loading.resolve("empty", tmp_path)


# Digests


def test_the_digest_of_a_folder_changes_with_a_byte_and_with_a_name(tmp_path):
    def written(name, content):
        folder = tmp_path / f"{name}-{content}"
        (folder / "variables").mkdir(parents=True)
        (folder / "variables" / name).write_text(content)
        (folder / "saved_model.pb").write_text("graph")
        return loading.digest(folder)

    digests = {written(name, content) for name in "ab" for content in "12"}
    assert len(digests) == 4
    (tmp_path / "a-1").rename(tmp_path / "moved")
    assert loading.digest(tmp_path / "moved") in digests


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(b"one")
    first = loading.digest(path)
    path.write_bytes(b"two")
    assert first == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert loading.digest(path) != first


def test_the_digest_of_a_model_changes_with_a_weight_and_comes_back_with_it():
    model = dense_model()
    first = loading.digest(model)
    weights = model.get_weights()
    model.set_weights([weights[0] + 1, *weights[1:]])
    changed = loading.digest(model)
    model.set_weights(weights)
    assert changed != first
    assert loading.digest(model) == first


def test_the_digest_of_a_model_changes_with_its_architecture():
    model = dense_model()
    other = keras.Sequential([layers.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(2)])
    other.set_weights(model.get_weights())
    assert loading.digest(other) != loading.digest(model)


def test_a_subclassed_model_has_a_digest_that_changes_with_its_weights():
    model = Stack()
    model(x_of((1, 4)))
    first = loading.digest(model)
    model.set_weights([w + 1 for w in model.get_weights()])
    assert loading.digest(model) != first


def test_the_digest_of_a_reference_changes_with_the_code(user_file):
    ref = user_file("def build(): return 1")
    first = loading.digest(ref)
    ref.target.write_text("def build(): return 2")
    assert loading.digest(ref) != first


# Building


def test_a_function_gives_its_model():
    model = dense_model()
    assert loading.build(lambda: model) is model


def test_a_reference_gives_its_model(user_file):
    ref = user_file("import keras\ndef build(): return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])")
    assert loading.build(ref).count_params() == 3


def test_a_path_gives_the_model_in_it(tmp_path):
    model = dense_model()
    model.save(tmp_path / "m.keras")
    assert same_weights(loading.build(tmp_path / "m.keras"), model)


def test_a_model_object_is_taken_as_it_is():
    model = dense_model()
    assert loading.build(model) is model


def test_a_function_that_raises_is_reported_with_its_error_on_one_line(user_file):
    with pytest.raises(InputError, match="ZeroDivisionError") as caught:
        loading.build(user_file("def build():\n    return 1 / 0"))
    assert len(str(caught.value).splitlines()) == 1


def test_a_function_object_that_raises_is_reported_with_its_error():
    def build():
        raise KeyError("width")

    with pytest.raises(ModelError, match="KeyError: 'width'"):
        loading.build(build)


def test_a_function_that_returns_nothing_is_refused(user_file):
    with pytest.raises(ModelError, match=r"must return a Keras 3 model.*NoneType"):
        loading.build(user_file("def build(): pass"))


def test_a_function_that_returns_a_model_without_weights_is_refused():
    with pytest.raises(ModelError, match=r"no weights yet.*Input"):
        loading.build(lambda: keras.Sequential([layers.Dense(2)]))


def test_a_model_object_without_weights_is_refused():
    with pytest.raises(ModelError, match="no weights yet"):
        loading.build(keras.Sequential([layers.Dense(2)]))


@pytest.mark.parametrize(("model", "layer", "what"), [("net", "a*[b]", "layer"), ("my net", "head", "model")])
def test_a_name_that_tensorflow_does_not_take_is_refused(model, layer, what):
    with pytest.raises(ModelError, match=rf"is not a valid name for TensorFlow.*Give the {what} another"):
        loading.build(keras.Sequential([layers.Input((3,)), layers.Dense(2, name=layer)], name=model))


def test_all_names_that_tensorflow_does_not_take_are_told_at_once():
    inputs = layers.Input((3,))
    model = keras.Model(inputs, layers.Dense(2, name="stra\u00dfe")(layers.Dense(2, name="gr\u00f6\u00dfe")(inputs)))
    words = r"are not valid names for TensorFlow.*letters a to z.*Give them others"
    with pytest.raises(ModelError, match=words) as caught:
        loading.build(model)
    assert str(caught.value).startswith("'gr\u00f6\u00dfe', 'stra\u00dfe' are")


@pytest.fixture(scope="module")
def fresh_process(python, tmp_path_factory):
    """What a process says that has met neither TF-MOT nor tf.keras: it loads models of Keras 3, then of tf_keras."""
    folder = tmp_path_factory.mktemp("fresh")
    dense_model().save(folder / "m.keras")
    dense_model().save(folder / "m.h5")
    code = f"""
import os, sys
from pathlib import Path
from tfopt.models import loading
for name in ("m.keras", "m.h5"):
    path = Path({str(folder)!r}) / name
    loading.as_keras3(loading.build(path))
    loading.digest(path)
print("tf_keras" in sys.modules)
import tf_keras
model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
for source in (lambda: model, model):
    built = loading.build(source)
    print(type(built).__module__, built.count_params())
import tensorflow as tf
print(tf.keras.__version__[0], os.environ.get("TF_USE_LEGACY_KERAS"))
"""
    return python(code, KERAS_BACKEND="tensorflow").splitlines()


def test_a_keras_3_model_never_imports_tf_keras(fresh_process):
    assert fresh_process[0] == "False"


def test_a_tf_keras_model_is_carried_over_and_leaves_no_trace_in_the_process(fresh_process):
    assert fresh_process[1:] == ["keras.src.models.sequential 8"] * 2 + ["3 None"]


# Backends


OTHER_BACKEND = """
import numpy as np, keras
keras.utils.set_random_seed(1)
layers = keras.layers
model = keras.Sequential([layers.Input((6, 6, 2)), layers.Conv2D(3, 3), layers.BatchNormalization(), layers.Flatten()])
model.add(layers.Dense(2, activation="softmax"))
model.save({folder!r} + "/m.keras")
np.savez({folder!r} + "/io.npz", x=(x := np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype("float32")),
         y=np.asarray(model(x)))
"""


@pytest.mark.parametrize("backend", ["jax", "numpy", "torch"])
def test_a_file_of_another_backend_loads_with_the_same_outputs(tmp_path, backend):
    environment = {**os.environ, "KERAS_BACKEND": backend}
    code = OTHER_BACKEND.format(folder=str(tmp_path))
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    if "No module named" in finished.stderr:
        pytest.skip(f"the {backend} backend of Keras is not installed")
    assert finished.returncode == 0, finished.stderr[-2000:]
    arrays = np.load(tmp_path / "io.npz")
    np.testing.assert_allclose(loading.build(tmp_path / "m.keras")(arrays["x"]), arrays["y"], atol=1e-5)


CALLS = ("loading.build(path)", "files.load(path)", "loading.as_keras3(path)", "loading.build(lambda: None)")


@pytest.fixture(scope="module")
def refusals(python, tmp_path_factory):
    """The messages of a process with another backend, by call."""
    folder = tmp_path_factory.mktemp("backend")
    dense_model().save(folder / "m.keras")
    x, y = x_of((8, 3)), np.arange(8) % 2
    np.savez(folder / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    code = f"""
import json
from pathlib import Path
import tfopt
from tfopt.models import files, loading
folder = {str(folder)!r}
path = Path(folder) / "m.keras"
quantize = {{"quantize": {{"mode": "float32"}}}}
recipe = tfopt.Recipe(name="r", model=folder + "/m.keras", data="npz:" + folder + "/d.npz", stages=[quantize])
found = {{}}
for call in {(*CALLS, "tfopt.run(recipe, out=folder + '/out')")}:
    try:
        eval(call)
    except tfopt.errors.ModelError as error:
        found[call.split("(")[0] if "recipe" in call else call] = str(error)
print(json.dumps(found))
"""
    return json.loads(python(code, KERAS_BACKEND="jax").splitlines()[-1])


@pytest.mark.parametrize("call", CALLS)
def test_another_backend_is_refused_in_one_line(refusals, call):
    [line] = refusals[call].splitlines()
    assert "set KERAS_BACKEND=tensorflow" in line
    assert line.endswith("Received: 'jax'.")


def test_a_recipe_on_another_backend_ends_in_one_line(refusals):
    [line] = refusals["tfopt.run"].splitlines()
    assert "set KERAS_BACKEND=tensorflow" in line


# Any model


@pytest.mark.parametrize("kind", ["object", ".keras", ".h5", "text"])
def test_any_keras_3_model_comes_as_keras_3(tmp_path, kind):
    model, path = dense_model(), tmp_path / f"m{kind if kind[0] == '.' else '.keras'}"
    model.save(path)
    source = {"object": model, "text": str(path)}.get(kind, path)
    assert same_weights(loading.as_keras3(source), model)
    assert (loading.as_keras3(source) is model) == (kind == "object")


def test_custom_objects_and_trust_reach_the_file(tmp_path):
    lambda_model().save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="trust"):
        loading.as_keras3(tmp_path / "m.keras")
    assert loading.as_keras3(tmp_path / "m.keras", trust=True).count_params() == 8


@pytest.mark.parametrize("source", [None, 3, b"TFL3", layers.Dense(2)])
def test_what_is_no_model_is_refused_with_what_is(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"\.keras or \.h5 file or of a SavedModel folder\. Received: "):
        loading.as_keras3(source)


def test_a_tflite_is_refused_as_converted_already(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"")
    with pytest.raises(ModelError, match=r"model\.tflite is converted already"):
        loading.as_keras3(tmp_path / "model.tflite")


def test_a_path_that_is_not_there_is_called_missing(tmp_path):
    with pytest.raises(ModelError, match=r"no file .*absent\.keras"):
        loading.as_keras3(tmp_path / "absent.keras")


# Loading


@pytest.mark.parametrize("suffix", loading.FILES)
def test_a_saved_model_loads_with_its_weights_and_gives_the_same_outputs(tmp_path, suffix):
    model, x = dense_model(), x_of((5, 3))
    model.save(tmp_path / f"m{suffix}")
    loaded = files.load(tmp_path / f"m{suffix}")
    assert same_weights(loaded, model)
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_cut_short_is_not_a_whole_model(tmp_path, suffix, kept):
    path = tmp_path / f"m{suffix}"
    dense_model().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ModelError, match=r"not a whole|does not load") as caught:
        files.load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_text_file_is_not_a_model(tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_text("hello")
    with pytest.raises(ModelError, match=rf"not a whole \{suffix} model"):
        files.load(path)


def test_an_archive_without_a_model_is_not_a_model(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(ModelError, match="not a whole"):
        files.load(tmp_path / "m.keras")


def test_an_archive_whose_config_is_not_json_is_not_a_model(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{")
    with pytest.raises(ModelError, match="not a whole"):
        files.load(tmp_path / "m.keras")


def test_a_file_of_weights_alone_is_refused_with_the_way_out(tmp_path):
    dense_model().save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ModelError, match=r"weights but no model.*model\.save"):
        files.load(tmp_path / "m.weights.h5")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_missing_file_is_called_missing(tmp_path, suffix):
    with pytest.raises(ModelError, match="no file"):
        files.load(tmp_path / f"absent{suffix}")


def test_an_old_h5_with_grouped_depthwise_layers_loads(tmp_path):
    path, x = tmp_path / "old.h5", x_of((2, 6, 6, 3))
    model = keras.Sequential([layers.Input((6, 6, 3)), layers.DepthwiseConv2D(3), layers.Flatten(), layers.Dense(2)])
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
    np.testing.assert_array_equal(files.load(path)(x), model(x))


def test_an_old_h5_with_a_list_of_axes_loads_and_its_layers_are_kerass_own(tmp_path):
    path, x = tmp_path / "old.h5", x_of((2, 6, 6, 3))
    model = keras.Sequential([layers.Input((6, 6, 3)), layers.DepthwiseConv2D(3), layers.BatchNormalization()])
    model.set_weights([np.abs(w) + 0.5 for w in model.get_weights()])
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "BatchNormalization":
                layer["config"]["axis"] = [3]
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
    loaded = files.load(path)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert [type(layer) for layer in loaded.layers] == [layers.DepthwiseConv2D, layers.BatchNormalization]


def test_an_old_h5_loads_although_keras_does_not_know_its_optimizer(tmp_path):
    path, model = tmp_path / "old.h5", dense_model()
    model.compile("adam", "mse")
    model.save(path)
    with h5py.File(path, "r+") as file:
        training = json.loads(file.attrs["training_config"])
        training["optimizer_config"] = {"class_name": "Gone", "config": {"lr": 0.1}}
        file.attrs["training_config"] = json.dumps(training)
    assert same_weights(files.load(path), model)


# Code in files


def nested_lambda_model():
    inner = lambda_model()
    x = layers.Input((3,))
    return keras.Model(x, layers.Dense(1)(keras.Model(inner.inputs[0], inner.outputs[0], name="inner")(x)))


@pytest.mark.parametrize("build", [lambda_model, nested_lambda_model])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_layer_is_refused_by_name_until_it_is_trusted(tmp_path, build, suffix):
    path, x, model = tmp_path / f"m{suffix}", x_of((4, 3)), build()
    model.save(path)
    with pytest.raises(ModelError, match=r"Lambda layer 'lambda.*trust"):
        files.load(path)
    np.testing.assert_array_equal(files.load(path, trust=True)(x), model(x))


def test_building_from_a_file_passes_the_trust_on(tmp_path):
    lambda_model().save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="trust"):
        loading.build(tmp_path / "m.keras")
    assert loading.build(tmp_path / "m.keras", trust=True).count_params() == 8


def test_a_lambda_inside_a_wrapper_layer_is_refused(tmp_path):
    wrapped = layers.TimeDistributed(layers.Lambda(lambda x: x * 2, output_shape=(3,)))
    keras.Sequential([layers.Input((4, 3)), wrapped]).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="Lambda"):
        files.load(tmp_path / "m.keras")


# A user's own classes

CUSTOM = """
import keras

class Scale(keras.layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(shape=(), initializer="ones")
    def call(self, x):
        return x * self.factor

def twice(x):
    return 2 * x

def build():
    return keras.Sequential([keras.Input((3,)), Scale(), keras.layers.Dense(2, activation=twice)])
"""


def test_a_users_own_layer_survives_the_file(tmp_path, user_file):
    ref, x = user_file(CUSTOM), x_of((4, 3))
    model = loading.build(ref)
    model.layers[0].factor.assign(5.0)
    files.save(model, tmp_path / "m.keras")
    loaded = files.load(tmp_path / "m.keras", loading.custom_objects(ref))
    assert type(loaded.layers[0]).__name__ == "Scale"
    np.testing.assert_array_equal(loaded(x), model(x))


def test_a_users_own_layer_without_its_class_is_an_error_that_names_it(tmp_path, user_file):
    files.save(loading.build(user_file(CUSTOM)), tmp_path / "m.keras")
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:  # as read by a process that never imported the user's file
        for name, part in parts.items():
            archive.writestr(name, part.replace(b'"user_', b'"gone_') if name == "config.json" else part)
    with pytest.raises(ModelError, match=r"does not load.*Scale"):
        files.load(path)


def test_custom_objects_are_the_classes_and_functions_of_the_users_file(user_file):
    found = loading.custom_objects(user_file(CUSTOM))
    assert set(found) == {"Scale", "twice", "build"}


def test_a_plain_keras_model_has_no_custom_objects():
    assert loading.custom_objects(dense_model()) == {}


# Saving


@pytest.fixture(scope="module")
def fitted_model():
    model = dense_model()
    model.compile(keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
    model.fit(x_of((16, 3)), x_of((16, 2)), verbose=0)
    return model


def test_the_optimizer_of_a_saved_file_starts_afresh_and_loads_without_a_warning(fitted_model, tmp_path):
    model = fitted_model
    assert [v for v in model.optimizer.variables if v.shape == (3, 4) and np.any(v)] != []
    files.save(model, tmp_path / "m.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loaded = keras.models.load_model(tmp_path / "m.keras")
    assert [v for v in loaded.optimizer.variables if v.shape == (3, 4) and np.any(v)] == []
    assert int(loaded.optimizer.iterations) == 0


def test_a_saved_file_keeps_optimizer_settings_loss_and_metrics(fitted_model, tmp_path):
    files.save(fitted_model, tmp_path / "m.keras")
    loaded = files.load(tmp_path / "m.keras")
    assert loaded.loss == "mse"
    assert type(loaded.optimizer).__name__ == "Adam"
    assert float(loaded.optimizer.learning_rate) == pytest.approx(0.02)
    assert set(loaded.evaluate(x_of((8, 3)), x_of((8, 2)), verbose=0, return_dict=True)) == {"loss", "mae"}


def test_a_model_without_compile_is_saved_without(tmp_path):
    files.save(dense_model(), tmp_path / "m.keras")
    assert not files.load(tmp_path / "m.keras").compiled


def test_a_model_compiled_with_a_function_of_the_users_own_is_saved(tmp_path):
    def own_loss(y, p):
        return keras.ops.mean((y - p) ** 4)

    model = dense_model()
    model.compile("sgd", own_loss)
    files.save(model, tmp_path / "m.keras")
    assert same_weights(files.load(tmp_path / "m.keras", {"own_loss": own_loss}), model)


# Calling


def test_inputs_of_a_model_are_its_shapes_without_the_batch():
    assert signature.inputs_of(two_sided("list")) == {"b": (2,), "a": (3,)}


def test_a_model_that_does_not_know_its_inputs_has_none():
    assert signature.inputs_of(Stack()) == {}


def test_one_input_and_one_output_go_by_name():
    model, x = dense_model(), x_of((4, 3))
    [(_, value)] = signature.call(model, {model.inputs[0].name: x}).items()
    np.testing.assert_array_equal(value, model(x))


@pytest.mark.parametrize("structure", ["list", "dict"])
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_several_inputs_reach_their_place_whatever_order_they_come_in(structure, order):
    model, arrays = two_sided(structure), {"a": x_of((4, 3)), "b": x_of((4, 2))}
    result = signature.call(model, {name: arrays[name] for name in order})
    z = model.get_layer("z")(arrays["b"])
    y = model.get_layer("y")(np.concatenate([arrays["a"], arrays["b"]], axis=1))
    assert list(result) == (["z", "y"] if structure == "list" else ["y", "z"])
    np.testing.assert_allclose(result["z"], z, atol=1e-6)
    np.testing.assert_allclose(result["y"], y, atol=1e-6)


def test_call_runs_in_inference_mode():
    model, x = keras.Sequential([layers.Input((50,)), layers.Dropout(0.5)]), np.ones((2, 50), np.float32)
    [value] = signature.call(model, {model.inputs[0].name: x}).values()
    np.testing.assert_array_equal(value, x)


def test_a_subclassed_model_takes_a_dict_of_several_inputs():
    class Sum(keras.Model):
        def call(self, inputs):
            return inputs["p"] + 2 * inputs["q"]

    [value] = signature.call(Sum(), {"q": np.float32([[3]]), "p": np.float32([[1]])}).values()
    assert value.numpy().tolist() == [[7]]


def test_outputs_of_a_dict_are_sorted_by_key():
    assert list(signature.named_outputs(dense_model(), {"b": 1, "a": 2}).items()) == [("a", 2), ("b", 1)]


def test_outputs_of_a_functional_model_have_keras_names_in_keras_order():
    model = two_sided("list")
    assert signature.named_outputs(model, ["first", "second"]) == {"z": "first", "y": "second"}
    assert list(signature.named_outputs(model, ["first", "second"])) == ["z", "y"]


@pytest.mark.parametrize(("outputs", "names"), [("one", ["output"]), (["one", "two"], ["output_0", "output_1"])])
def test_outputs_of_a_subclassed_model_are_numbered(outputs, names):
    assert list(signature.named_outputs(Stack(), outputs)) == names


def test_one_layer_used_for_two_outputs_gives_two_names():
    a, b = layers.Input((3,)), layers.Input((3,))
    shared = layers.Dense(2)
    model = keras.Model([a, b], [shared(a), shared(b)])
    result = signature.named_outputs(model, ["first", "second"])
    assert list(result.values()) == ["first", "second"]


def test_saving_leaves_the_users_optimizer_in_place(fitted_model, tmp_path):
    model = fitted_model
    optimizer, steps = model.optimizer, int(model.optimizer.iterations)
    files.save(model, tmp_path / "m.keras")
    assert model.optimizer is optimizer
    assert int(model.optimizer.iterations) == steps > 0


def test_the_digest_of_a_model_object_counts_how_it_is_compiled():
    model = dense_model()
    digests = []
    for loss in ("mse", "mse", "mae"):
        model.compile("sgd", loss)
        digests.append(loading.digest(model))
    assert digests[0] == digests[1] != digests[2]


def test_a_model_without_a_call_is_refused_with_the_way_out(one_line):
    class Trainer(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = dense_model()

    with pytest.raises(ModelError) as caught:
        loading.build(lambda: Trainer())
    assert "Trainer has no call() of its own" in one_line(caught)


# Files of others


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("m.onnx", "is ONNX's.*onnx2tf"),
        ("m.pt", "is PyTorch's.*export it to ONNX"),
        ("m.PTH", "is PyTorch's"),
        ("m.pb", "SavedModel folder"),
        ("m.pkl", "is a pickle"),
        ("m.tflite", "is converted already"),
    ],
)
def test_the_file_of_another_framework_is_refused_with_the_way_from_there(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"1234TEXT")
    for refuse in (loading.as_keras3, lambda path: loading.resolve(str(path), tmp_path)):
        with pytest.raises(ModelError, match=words) as caught:
            refuse(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize(
    ("kind", "way"),
    [("PruneLowMagnitude", "strip_pruning"), ("ClusterWeights", "strip_clustering"), ("QuantizeWrapperV2", "qat")],
)
def test_a_wrapper_of_tfmot_in_a_file_is_refused_with_what_takes_it_off(tmp_path, suffix, kind, way):
    module = {"module": "tensorflow_model_optimization.x"} if suffix == ".keras" else {}
    wrapper = {**module, "class_name": kind, "config": {"name": "wrapped"}}
    config = json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": [wrapper]}})
    path = tmp_path / f"m{suffix}"
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = config
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", config)
    with pytest.raises(ModelError, match=rf"the layer 'wrapped' \({kind}\) is TF-MOT's wrapper\. .*{way}"):
        loading.as_keras3(path)


def planned(path):
    recipe = Recipe(name="r", model=path, data="digits", stages=["quantize"])
    return Plan(recipe, path.parent, Progress()).model


@pytest.mark.parametrize(
    "load",
    [
        loading.build,
        files.load,
        loading.as_keras3,
        planned,
    ],
    ids=["build", "load", "as_keras3", "plan"],
)
def test_the_checksums_of_a_file_are_read_once(load, tmp_path, monkeypatch):
    path, read = tmp_path / "m.keras", []
    dense_model().save(path)
    whole = stored_model.check_weights
    monkeypatch.setattr(stored_model, "check_weights", lambda file: read.append(file) or whole(file))
    load(path)
    assert read == [path]
