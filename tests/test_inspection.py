import gzip

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.errors import ModelError
from tfopt.inspection import inspect
from tfopt.quantization import convert
from tfopt.tflite.file import read


def small_model():
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3, name="head"),
        ]
    )
    kernel = model.get_layer("head").kernel
    kernel.assign(np.where(np.arange(kernel.numpy().size).reshape(kernel.shape) % 4, kernel.numpy(), 0))
    return model


def part(contents, name):
    return next(p for p in contents.parts if p.name == name)


def zeros_of(model):
    return sum(int((weights == 0).sum()) for weights in model.get_weights())


def samples():
    return np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def int8_file():
    return convert(small_model(), "int8", samples())


# Keras


def test_a_model_in_memory_has_no_file_sizes():
    contents = inspect(small_model())
    assert (contents.format, contents.bytes, contents.gzip_bytes) == ("keras", None, None)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_has_its_sizes_and_the_parts_of_its_model(tmp_path, suffix):
    path, model = tmp_path / f"m{suffix}", small_model()
    model.save(path)
    contents = inspect(path)
    assert contents.bytes == path.stat().st_size
    assert contents.gzip_bytes == len(gzip.compress(path.read_bytes(), 9))
    assert contents.parts == inspect(model).parts


def test_a_path_may_be_text(tmp_path):
    small_model().save(tmp_path / "m.keras")
    assert inspect(str(tmp_path / "m.keras")).parts == inspect(tmp_path / "m.keras").parts


def test_a_layer_has_its_class_dtype_shape_bytes_and_zeros():
    contents = inspect(small_model())
    conv, head = part(contents, "conv"), part(contents, "head")
    assert (conv.kind, conv.dtype, conv.shape) == ("Conv2D", "float32", "6x6x4")
    assert (conv.parameters, conv.bytes) == (40, 160)
    assert (head.parameters, head.bytes, head.zeros) == (435, 1740, 108 + 3)


def test_the_ends_have_the_names_that_data_and_the_file_go_by():
    assert inspect(small_model()).inputs == ("image: float32 8x8x1",)
    assert inspect(small_model()).outputs == ("output: float32 3",)
    assert inspect(nested_model()).outputs == ("outside: float32 2",)


def nested_model():
    inner = keras.Sequential([layers.Input((4,)), layers.Dense(5, name="inside")], name="inner")
    x = layers.Input((4,))
    return keras.Model(x, layers.Dense(2, name="outside")(inner(x)))


def shared_model():
    a, b, shared = layers.Input((3,)), layers.Input((3,)), layers.Dense(2, name="shared")
    return keras.Model([a, b], layers.Add()([shared(a), shared(b)]))


def attention_model():
    x = layers.Input((5, 8))
    return keras.Model(x, layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(x, x)))


def recurrent_model():
    return keras.Sequential([layers.Input((5, 3)), layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)])


class Weighted(keras.Model):
    """Has a weight of its own beside its layers."""

    def __init__(self):
        super().__init__()
        self.blocks = [layers.Dense(3), layers.Dense(3)]
        self.scale = self.add_weight(shape=(3,), name="scale")

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return x * self.scale


def subclassed_model():
    model = Weighted()
    model(np.zeros((1, 4), np.float32))
    return model


def tied_model():
    """Two layers that own the same variable."""

    class Tied(layers.Layer):
        def __init__(self, other, **rest):
            super().__init__(**rest)
            self.table = other.embeddings

        def call(self, x):
            return x @ keras.ops.transpose(self.table)

    table = layers.Embedding(7, 4)
    table.build()
    x = layers.Input((3,), dtype="int32")
    return keras.Model(x, Tied(table)(table(x)))


MODELS = [small_model, nested_model, shared_model, attention_model, recurrent_model, subclassed_model, tied_model]


@pytest.mark.parametrize("build", MODELS)
def test_the_totals_are_those_of_keras(build):
    model = build()
    contents = inspect(model)
    assert contents.parameters == model.count_params()
    assert contents.zeros == zeros_of(model)


def test_a_compiled_and_trained_model_counts_no_optimizer_or_metric():
    model = nested_model()
    model.compile("adam", "mse", metrics=["mae"], run_eagerly=True)
    model.fit(np.zeros((4, 4), np.float32), np.zeros((4, 2), np.float32), verbose=0)
    assert inspect(model).parameters == model.count_params() == 25 + 12


def test_a_shared_layer_is_one_part():
    assert [p.name for p in inspect(shared_model()).parts].count("shared") == 1


def test_inputs_and_outputs_have_a_line_each():
    a, b = layers.Input((3,), name="a"), layers.Input((None, 2), name="b")
    model = keras.Model([a, b], [layers.Dense(4, name="x")(a), layers.Dense(1, name="y")(b)])
    contents = inspect(model)
    assert contents.inputs == ("a: float32 3", "b: float32 ?x2")
    assert [line.split(": ")[1] for line in contents.outputs] == ["float32 4", "float32 ?x1"]


# TFLite


def test_a_tflite_file_and_its_bytes_have_the_same_contents(int8_file, tmp_path):
    (tmp_path / "m.tflite").write_bytes(int8_file)
    contents = inspect(tmp_path / "m.tflite")
    assert contents == inspect(int8_file)
    assert contents.format == "tflite"
    assert contents.bytes == len(int8_file)
    assert contents.gzip_bytes == len(gzip.compress(int8_file, 9))


def test_a_tflite_file_is_known_by_its_mark_and_not_by_its_name(int8_file, tmp_path):
    (tmp_path / "model.bin").write_bytes(int8_file)
    assert inspect(tmp_path / "model.bin").format == "tflite"


@pytest.mark.parametrize("mode", ["float32", "dynamic", "int8"])
def test_the_totals_of_a_tflite_file_are_those_of_its_weights(mode):
    content = convert(small_model(), mode, samples())
    contents, summary = inspect(content), read(content)
    assert contents.parameters == summary.parameters
    assert contents.zeros == summary.parameters - summary.nonzero


def test_a_weight_that_two_ops_share_counts_once():
    contents = inspect(convert(shared_model(), "float32"))
    used = [p for p in contents.parts if p.kind == "FULLY_CONNECTED"]
    assert len(used) == 2
    assert sum(p.parameters for p in used) == contents.parameters
    assert sorted(p.parameters > 0 for p in used) == [False, True]


def test_an_op_shows_the_dtypes_of_its_weights(int8_file):
    conv = next(p for p in inspect(int8_file).parts if p.kind == "CONV_2D")
    assert conv.dtype == "int8+int32"
    assert conv.shape == "1x6x6x4"
    assert conv.bytes == 36 + 4 * 4


def test_inputs_of_a_tflite_file_show_their_dtype(int8_file):
    contents = inspect(int8_file)
    assert contents.inputs == ("image: int8 1x8x8x1",)
    assert [line.split(": ")[1] for line in contents.outputs] == ["int8 1x3"]


# What is no model


def test_a_missing_file_is_called_missing(tmp_path):
    with pytest.raises(ModelError, match=r"no file .*absent\.keras"):
        inspect(tmp_path / "absent.keras")


def test_a_folder_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ModelError, match=r"is a folder.*\.tflite"):
        inspect(tmp_path)


def test_a_file_of_another_kind_is_refused_with_the_kinds_there_are(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ModelError, match=r"not a model file.*\.keras.*\.h5.*\.tflite"):
        inspect(tmp_path / "notes.txt")


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".tflite"])
def test_text_under_a_models_name_is_refused(tmp_path, suffix):
    (tmp_path / f"m{suffix}").write_text("hello")
    with pytest.raises(ModelError, match="not a"):
        inspect(tmp_path / f"m{suffix}")


def test_a_tflite_file_cut_short_is_refused(int8_file):
    with pytest.raises(ModelError, match="not a whole TFLite file"):
        inspect(int8_file[: len(int8_file) // 2])


@pytest.mark.parametrize("thing", [None, 42, [1, 2], small_model], ids=["none", "number", "list", "function"])
def test_an_object_that_is_no_model_is_refused(thing):
    with pytest.raises(ModelError):
        inspect(thing)


def test_a_file_with_code_is_refused_until_it_is_trusted(tmp_path):
    model = keras.Sequential([layers.Input((3,)), layers.Lambda(lambda x: x * 2, output_shape=(3,)), layers.Dense(2)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="trust"):
        inspect(tmp_path / "m.keras")
    assert inspect(tmp_path / "m.keras", trust=True).parameters == 8


def test_the_file_of_another_framework_is_refused_with_the_way_from_there(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"1234TEXT")
    with pytest.raises(ModelError, match=r"is ONNX's, and tfopt takes models of Keras\. onnx2tf"):
        inspect(tmp_path / "m.onnx")
