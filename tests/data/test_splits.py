import hashlib
import inspect
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.data import batches as batches_module
from tfopt.data import sources
from tfopt.data import splits as splits_module
from tfopt.data.input_source import InputSource
from tfopt.data.labelled import labelled_samples
from tfopt.data.splits import Data, Reading, Split
from tfopt.data.streams import Stream
from tfopt.errors import DataError, InputError
from tfopt.user_code import Ref


def arrays(count=40, seed=0, shape=(3,)):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, *shape)).astype(np.float32), generator.integers(0, 4, count)


def pairs(count=40, test=8, shape=(3,)):
    return arrays(count, 0, shape), arrays(test, 1, shape)


def as_dict(count=40, test=8):
    (x, y), (x_test, y_test) = pairs(count, test)
    return {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}


def three(x, y):
    return Data(Split(x, y), Split(*arrays(4, 2)), Split(*arrays(4, 3)))


def rows(x):
    return {row.tobytes() for row in x}


# Resolving


def test_the_name_of_a_fixed_set_resolves_to_itself(tmp_path):
    assert sources.resolve("digits", tmp_path) == "digits"
    assert sources.resolve("keras:mnist", tmp_path) == "keras:mnist"


def test_an_object_resolves_to_itself(tmp_path):
    value = pairs()
    assert sources.resolve(value, tmp_path) is value


def test_a_function_resolves_to_a_reference(tmp_path):
    (tmp_path / "sets.py").write_text("def load(): ...")
    assert sources.resolve("sets.py:load", tmp_path) == Ref((tmp_path / "sets.py").resolve(), "load")


def test_an_npz_is_looked_for_beside_the_recipe(tmp_path):
    (tmp_path / "d.npz").write_bytes(b"")
    assert sources.resolve("npz:d.npz", tmp_path) == (tmp_path / "d.npz").resolve()


@pytest.mark.parametrize("text", ["npz:$MY_SETS/d.npz", "npz:${MY_SETS}/d.npz"])
def test_an_environment_variable_in_a_path_is_expanded(tmp_path, monkeypatch, text):
    monkeypatch.setenv("MY_SETS", str(tmp_path / "sets"))
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "d.npz").write_bytes(b"")
    assert sources.resolve(text, tmp_path) == (tmp_path / "sets" / "d.npz").resolve()


@pytest.mark.parametrize(
    ("text", "telling"),
    [
        ("digit", "Did you mean 'digits'"),
        ("keras:mnst", "Did you mean 'mnist'"),
        ("keras:", "no ''"),
        ("npz:absent.npz", r"no file 'absent\.npz'"),
        ("sets.csv:load me", "Received"),
        ("absent.py:load", r"no file 'absent\.py'"),
    ],
)
def test_words_that_name_no_data_are_refused(tmp_path, text, telling):
    with pytest.raises(InputError, match=telling):
        sources.resolve(text, tmp_path)


# Digits


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "folder/t.h5"])
def test_a_file_of_another_kind_is_answered_with_the_ways_to_read_it(tmp_path, name, one_line):
    with pytest.raises(DataError, match=r"np.savez.*file.py:function") as caught:
        sources.resolve(name, tmp_path)
    one_line(caught)
    with pytest.raises(DataError, match=r"np.save, .*np.savez.*file.py:function") as caught:
        InputSource(name).take({}, 4)
    one_line(caught)


def test_digits_have_images_of_8_by_8_in_0_to_1():
    digits = sources.load("digits")
    assert digits.train.x.shape == (1297, 8, 8, 1)
    assert digits.validation.x.shape == (140, 8, 8, 1)
    assert digits.test.x.shape == (360, 8, 8, 1)
    assert digits.train.x.dtype == np.float32
    assert (digits.train.x.min(), digits.train.x.max()) == (0.0, 1.0)
    assert set(digits.train.y) == set(range(10))


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_digits_have_every_class_in_every_split_in_the_same_share(name):
    split = sources.load("digits").splits()[name]
    share = np.bincount(split.y, minlength=10) / len(split)
    np.testing.assert_allclose(share, 0.1, atol=0.01)


def test_the_splits_of_digits_are_disjoint_and_together_the_whole_set():
    from sklearn.datasets import load_digits

    splits = sources.load("digits").splits().values()
    together = sorted(row.tobytes() for split in splits for row in split.x.reshape(-1, 64))
    assert together == sorted(row.tobytes() for row in (load_digits().data / 16).astype(np.float32))


def test_digits_are_the_same_every_time():
    one, two = sources.load("digits"), sources.load("digits")
    np.testing.assert_array_equal(one.test.x, two.test.x)
    np.testing.assert_array_equal(one.validation.y, two.validation.y)


# Files


def test_an_npz_file_loads(tmp_path):
    source = as_dict()
    np.savez(tmp_path / "d.npz", **source)
    loaded = sources.load(tmp_path / "d.npz")
    np.testing.assert_array_equal(loaded.test.x, source["x_test"])
    assert len(loaded.train) + len(loaded.validation) == 40


def test_an_npz_file_with_a_validation_split_keeps_it(tmp_path):
    x, y = arrays(6, 5)
    np.savez(tmp_path / "d.npz", **as_dict(), x_validation=x, y_validation=y)
    loaded = sources.load(tmp_path / "d.npz")
    np.testing.assert_array_equal(loaded.validation.x, x)
    assert len(loaded.train) == 40


@pytest.mark.parametrize("key", ["x_train", "y_train", "x_test", "y_test"])
def test_an_npz_file_without_a_key_names_it_and_those_it_has(tmp_path, key):
    source = as_dict()
    del source[key]
    np.savez(tmp_path / "d.npz", **source)
    with pytest.raises(DataError, match=f"no {key}.*It has: {', '.join(source)}"):
        sources.load(tmp_path / "d.npz")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.97])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_file_cut_short_is_called_that(tmp_path, kept, save):
    path = tmp_path / "d.npz"
    save(path, **as_dict())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DataError, match=r"not a whole \.npz file") as caught:
        sources.load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_an_npz_file_with_a_damaged_part_is_called_that(tmp_path):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, **as_dict())
    content = bytearray(path.read_bytes())
    content[100:140] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a whole \.npz file"):
        sources.load(path)


def test_a_text_file_is_not_an_npz(tmp_path):
    (tmp_path / "d.npz").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"not a whole \.npz file"):
        sources.load(tmp_path / "d.npz")


def test_a_single_array_is_not_an_npz(tmp_path):
    with (tmp_path / "d.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="npz"):
        sources.load(tmp_path / "d.npz")


def test_an_npz_with_python_objects_is_refused_and_not_run(tmp_path):
    np.savez(tmp_path / "d.npz", **{**as_dict(), "y_test": np.array([{}] * 8, dtype=object)})
    with pytest.raises(DataError, match=r"pickle|object"):
        sources.load(tmp_path / "d.npz")


# Functions and objects


@pytest.mark.parametrize(
    "source",
    [as_dict(), pairs(), list(pairs()), (list(pairs()[0]), list(pairs()[1])), pairs],
    ids=["dict", "tuple", "list", "lists", "function"],
)
def test_every_form_of_data_gives_the_same_splits(source):
    loaded = sources.load(source)
    (x, _), (x_test, y_test) = pairs()
    assert (len(loaded.train), len(loaded.validation)) == (36, 4)
    assert rows(loaded.train.x) | rows(loaded.validation.x) == rows(x)
    np.testing.assert_array_equal(loaded.test.x, x_test)
    np.testing.assert_array_equal(loaded.test.y, y_test)


def test_data_is_taken_as_it_is():
    value = three(*arrays())
    assert sources.load(value) is value
    assert sources.load(lambda: value) is value


def test_a_function_in_a_file_is_called(tmp_path):
    (tmp_path / f"sets_{tmp_path.name}.py").write_text(
        "import numpy as np\ndef load():\n    x = np.zeros((20, 2))\n    return (x, x[:, 0]), (x, x[:, 0])\n"
    )
    assert len(sources.load(sources.resolve(f"sets_{tmp_path.name}.py:load", tmp_path)).test) == 20


def test_a_function_that_raises_is_reported_with_its_error():
    def load():
        raise FileNotFoundError("no such table")

    with pytest.raises(DataError, match="FileNotFoundError: no such table"):
        sources.load(load)


def test_a_function_in_a_file_that_raises_is_reported_with_its_error(tmp_path):
    path = tmp_path / f"sets_{tmp_path.name}.py"
    path.write_text("def load():\n    raise KeyError('table')\n")
    with pytest.raises(DataError, match="KeyError: 'table'"):
        sources.load(Ref(path, "load"))


@pytest.mark.parametrize(
    "value",
    [None, 3, (arrays(),), (1, 2), "abc", np.zeros((4, 2))],
    ids=["none", "int", "one", "ints", "text", "array"],
)
def test_anything_else_is_not_data(value):
    with pytest.raises(DataError, match="Received"):
        sources.load(lambda: value)


@pytest.mark.parametrize("kind", [tuple, list])
def test_three_splits_in_a_row_are_refused_as_either_of_two_could_be_the_test(kind, one_line):
    with pytest.raises(DataError, match="which of them is the test split") as caught:
        sources.load(kind([arrays(), arrays(), arrays()]))
    assert "{'train': ..., 'validation': ..., 'test': ...}" in one_line(caught)


def test_three_splits_with_names_are_taken_by_these():
    class Splits(NamedTuple):
        train: Any
        test: Any
        validation: Any

    data = sources.load(Splits(arrays(30), arrays(20), arrays(10)))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [30, 10, 20]


def test_an_array_alone_is_not_data():
    with pytest.raises(DataError):
        sources.load(np.zeros((4, 2)))


def test_validation_is_held_out_of_training_the_same_way_every_time():
    x, y = np.arange(200)[:, None], np.arange(200)
    one, two = sources.load(((x, y), pairs()[1])), sources.load(((x, y), pairs()[1]))
    assert len(one.validation) == 20
    assert set(one.validation.y) | set(one.train.y) == set(range(200))
    np.testing.assert_array_equal(one.validation.x[:, 0], one.validation.y)
    np.testing.assert_array_equal(one.train.x[:, 0], one.train.y)
    np.testing.assert_array_equal(one.validation.x, two.validation.x)
    assert set(one.validation.y) != set(range(180, 200))


def test_dicts_of_arrays_are_held_out_together():
    x = {"a": np.arange(30)[:, None], "b": np.arange(30)[:, None] * 2}
    y = {"out": np.arange(30)}
    held = sources.load(((x, y), (x, y))).validation
    assert len(held) == 3
    np.testing.assert_array_equal(held.x["b"][:, 0], 2 * held.y["out"])
    np.testing.assert_array_equal(held.x["a"][:, 0], held.y["out"])


@pytest.mark.parametrize("other", [30, 50])
def test_inputs_and_targets_of_different_lengths_are_found_before_validation_is_held_out(other):
    (x, _), test = pairs()
    with pytest.raises(DataError, match=f"40.*{other}|{other}.*40"):
        sources.load(((x, np.zeros(other)), test)).check()


def test_a_validation_split_without_targets_is_refused():
    with pytest.raises(DataError, match="y_validation"):
        sources.load({**as_dict(), "x_validation": arrays(3)[0]})


@pytest.mark.parametrize(
    "x",
    [np.array([[1], [2, 3]], dtype=object), [[1.0], [2.0, 3.0]], np.float32(3)],
    ids=["objects", "ragged", "scalar"],
)
def test_samples_that_are_no_array_of_one_shape_are_refused(x):
    with pytest.raises(DataError, match="one shape"):
        sources.load(((x, [0, 1]), pairs()[1]))


# Checking


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_located(bad):
    x, y = arrays()
    x[17, 1] = bad
    with pytest.raises(DataError, match=r"x_train.*sample 17\b") as caught:
        three(x, y).check()
    assert caught.value.field == ("data",)


@pytest.mark.parametrize("row", [0, 17, 39])
def test_a_bad_sample_is_counted_before_validation_is_held_out(row):
    (x, y), test = pairs()
    x = x.copy()
    x[row, 1] = np.nan
    with pytest.raises(DataError, match=rf"x_train has a NaN or infinite value in sample {row}\."):
        sources.load(((x, y), test)).check()


def test_the_first_of_several_bad_samples_of_a_dict_is_located():
    x, y = arrays()
    y = y.astype(np.float32)
    y[[9, 30]] = np.nan
    with pytest.raises(DataError, match=r"y_train\['out'\].*sample 9\b"):
        Data(Split({"in": x}, {"out": y}), Split(*arrays(4)), Split(*arrays(4))).check()


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_an_empty_split_is_named(name):
    empty = Split(np.zeros((0, 3), np.float32), np.zeros(0))
    with pytest.raises(DataError, match=f"x_{name} is empty"):
        Data(**{**three(*arrays()).splits(), name: empty}).check()


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_a_split_of_two_lengths_is_named(name):
    uneven = Split(np.zeros((5, 3), np.float32), np.zeros(4))
    with pytest.raises(DataError, match=f"y_{name} has 4 samples and x_{name} has 5"):
        Data(**{**three(*arrays()).splits(), name: uneven}).check()


def test_whole_data_passes_the_check():
    three(*arrays()).check()
    sources.load("digits").check()


# Fitting to a model


def test_a_missing_channel_axis_is_added():
    fitted = sources.load(pairs(shape=(6, 6))).fitted({"image": (6, 6, 1)})
    assert [s.x.shape[1:] for s in fitted.splits().values()] == [(6, 6, 1)] * 3
    np.testing.assert_array_equal(fitted.test.x[..., 0], pairs(shape=(6, 6))[1][0])


def test_data_that_fits_is_left_alone():
    loaded = sources.load(pairs(shape=(6, 6, 1)))
    np.testing.assert_array_equal(loaded.fitted({"image": (6, 6, 1)}).train.x, loaded.train.x)


def test_an_unknown_dimension_takes_any_length():
    assert sources.load(pairs(shape=(7, 3))).fitted({"signal": (None, 3)}).test.x.shape == (8, 7, 3)


def test_a_model_that_does_not_know_its_inputs_takes_the_data_as_it_is():
    loaded = sources.load(pairs())
    assert loaded.fitted({}) is loaded


@pytest.mark.parametrize("shape", [(6, 6, 3), (5, 6, 1), (36,), (6, 6, 1, 1)])
def test_another_shape_is_refused_with_both_shapes(shape):
    with pytest.raises(DataError, match="'image'") as caught:
        sources.load(pairs(shape=(6, 6))).fitted({"image": shape})
    assert str(shape) in str(caught.value)
    assert "(6, 6" in str(caught.value)


def dict_data():
    x = {"a": np.zeros((20, 3)), "b": np.zeros((20, 4, 4)), "more": np.zeros((20, 1))}
    return sources.load(((x, np.zeros(20)), (x, np.zeros(20))))


def test_dict_inputs_go_to_the_inputs_of_their_names():
    fitted = dict_data().fitted({"b": (4, 4, 1), "a": (3,)})
    assert {name: array.shape[1:] for name, array in fitted.test.x.items()} == {"b": (4, 4, 1), "a": (3,)}


def test_a_missing_input_is_named_with_those_there_are():
    with pytest.raises(DataError, match=r"'c'.*a, b, more"):
        dict_data().fitted({"a": (3,), "c": (3,)})


def test_one_array_for_a_model_of_several_inputs_is_refused():
    with pytest.raises(DataError, match=r"inputs a, b.*dict"):
        sources.load(pairs()).fitted({"a": (3,), "b": (3,)})


# Calibration


def test_calibration_samples_are_training_inputs_decided_by_the_seed():
    loaded = sources.load(pairs(count=100))
    chosen = loaded.calibration(10, seed=3)
    assert rows(chosen) <= rows(loaded.train.x)
    assert len(rows(chosen)) == 10
    np.testing.assert_array_equal(chosen, loaded.calibration(10, seed=3))
    assert rows(chosen) != rows(loaded.calibration(10, seed=4))


def test_more_calibration_samples_than_there_are_gives_all():
    loaded = sources.load(pairs())
    assert rows(loaded.calibration(1000, seed=0)) == rows(loaded.train.x)


def test_calibration_of_dict_inputs_takes_the_same_samples_of_each():
    x = {"a": np.arange(50)[:, None], "b": np.arange(50)[:, None] * 3}
    chosen = sources.load(((x, np.zeros(50)), (x, np.zeros(50)))).calibration(7, seed=0)
    assert len(chosen["a"]) == 7
    np.testing.assert_array_equal(chosen["b"], 3 * chosen["a"])


# Fingerprints


def fingerprint(source):
    return sources.fingerprint(source, lambda: sources.load(source))


def test_equal_arrays_have_equal_fingerprints_in_whatever_form():
    assert fingerprint(pairs()) == fingerprint(as_dict()) == fingerprint(pairs)


@pytest.mark.parametrize("key", ["x_train", "y_train", "x_test", "y_test"])
def test_a_fingerprint_changes_with_one_value(key):
    source = as_dict()
    first = fingerprint(source)
    source[key] = source[key].copy()
    source[key].flat[0] += 1
    assert fingerprint(source) != first


def test_a_fingerprint_changes_with_the_dtype_and_the_shape():
    zeros = np.zeros((8, 4), np.float32)
    variants = [zeros, zeros.view(np.int32), zeros.reshape(8, 2, 2)]
    assert len({fingerprint(three(x, np.zeros(8))) for x in variants}) == 3


def test_the_fingerprint_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "d.npz").write_bytes(b"abc")
    assert fingerprint(tmp_path / "d.npz") == hashlib.sha256(b"abc").hexdigest()


def test_fixed_sets_have_fingerprints_of_their_own():
    assert len({fingerprint("digits"), fingerprint("keras:mnist"), fingerprint("keras:cifar10")}) == 3


# Batches of training


def batches(split, size=8, seed=1, first=0, epochs=2):
    return [(np.asarray(x), np.asarray(y)) for x, y in split.training(splits_module.Reading(size, seed, first, epochs))]


@pytest.fixture(scope="module")
def numbered():
    """Twenty-one samples that carry their number in the input and the target."""
    return Split(np.arange(21, dtype=np.float32)[:, None], np.arange(21))


def test_an_epoch_has_every_sample_once_in_batches_with_the_rest_last(numbered):
    found = batches(numbered, size=8, epochs=2)
    assert [len(y) for _, y in found] == [8, 8, 5, 8, 8, 5]
    for epoch in (found[:3], found[3:]):
        assert sorted(np.concatenate([y for _, y in epoch])) == list(range(21))


def test_inputs_and_targets_stay_together(numbered):
    for x, y in batches(numbered):
        np.testing.assert_array_equal(x[:, 0], y)


def order(split, **rest):
    return np.concatenate([y for _, y in batches(split, **rest)]).tolist()


def test_every_epoch_has_an_order_of_its_own(numbered):
    both = order(numbered, epochs=2)
    assert both[:21] != both[21:]
    assert both[:21] != sorted(both[:21])


def test_the_order_is_decided_by_the_seed(numbered):
    assert order(numbered, seed=1) == order(numbered, seed=1)
    assert order(numbered, seed=1) != order(numbered, seed=2)


def test_the_order_does_not_depend_on_the_random_state_of_the_process(numbered):
    first = order(numbered)
    keras.utils.set_random_seed(99)
    assert order(numbered) == first


@pytest.mark.parametrize("start", [1, 2, 3])
def test_starting_at_a_later_epoch_gives_what_would_have_come(numbered, start):
    assert order(numbered, first=start, epochs=4) == order(numbered, first=0, epochs=4)[21 * start :]


def test_the_batch_size_does_not_change_the_order(numbered):
    assert order(numbered, size=5) == order(numbered, size=21)


def test_batches_of_dicts_are_dicts_of_the_same_samples():
    split = Split({"a": np.arange(10)[:, None], "b": np.arange(10)[:, None] * 2}, {"out": np.arange(10)})
    found = list(split.training(splits_module.Reading(4, 0, 0, 1)))
    assert [len(y["out"]) for _, y in found] == [4, 4, 2]
    for x, y in found:
        np.testing.assert_array_equal(x["b"][:, 0], 2 * y["out"])
        np.testing.assert_array_equal(x["a"][:, 0], y["out"])


def test_batches_keep_the_dtypes():
    [(x, y)] = Split(np.zeros((3, 2), np.uint8), np.zeros(3, np.int64)).training(splits_module.Reading(8, 0, 0, 1))
    assert (x.dtype.name, y.dtype.name) == ("uint8", "int64")


# Sets of keras.datasets


def small_set(classes=10, columns=False):
    x, y = arrays(20, shape=(4, 4))
    return (x, y[:, None] if columns else y), (x[:5], y[:5, None] if columns else y[:5])


def test_a_keras_set_is_loaded_by_its_own_loader(monkeypatch):
    monkeypatch.setattr(keras.datasets.mnist, "load_data", small_set)
    loaded = sources.load("keras:mnist")
    assert [len(split) for split in loaded.splits().values()] == [18, 2, 5]
    np.testing.assert_array_equal(loaded.test.x, small_set()[1][0])


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_labels_of_cifar_are_flattened(monkeypatch, name):
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", lambda: small_set(columns=True))
    assert sources.load(f"keras:{name}").train.y.shape == (18,)


def test_a_download_that_fails_is_reported_with_its_reason(monkeypatch):
    def load_data():
        raise OSError("no route to host")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", load_data)
    with pytest.raises(DataError, match=r"keras\.datasets\.mnist.*no route to host"):
        sources.load("keras:mnist")


@pytest.mark.parametrize("name", sources.KERAS)
def test_every_named_set_is_one_that_keras_has(name):
    assert callable(getattr(keras.datasets, name).load_data)


def test_the_real_mnist_loads_as_a_file(real_data):
    path = sources.resolve(f"npz:{real_data / 'mnist.npz'}", real_data)
    loaded = sources.load(path)
    loaded.check()
    assert [len(split) for split in loaded.splits().values()] == [54000, 6000, 10000]
    assert loaded.fitted({"image": (28, 28, 1)}).test.x.shape == (10000, 28, 28, 1)


def test_the_real_mnist_loads_through_the_loader_of_keras(real_data, tmp_path, python):
    file = real_data / "mnist.npz"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest not in inspect.getsource(inspect.getmodule(keras.datasets.mnist.load_data)):
        pytest.skip("this mnist.npz is packed differently from the one whose hash keras.datasets checks")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mnist.npz").symlink_to(file)
    code = "from tfopt.data import sources; d = sources.load('keras:mnist'); print(d.train.x.shape, d.test.y.shape)"
    assert python(code, KERAS_HOME=str(tmp_path)).splitlines()[-1] == "(54000, 28, 28) (10000,)"


def test_an_npz_file_needs_no_word_in_front(tmp_path):
    (tmp_path / "d.npz").write_bytes(b"")
    assert sources.resolve("d.npz", tmp_path) == (tmp_path / "d.npz").resolve()
    with pytest.raises(DataError, match=r"x\.npy is one array, and a run takes labelled samples.*np\.savez"):
        sources.resolve("x.npy", tmp_path)


def test_a_key_in_capitals_is_recognized(tmp_path):
    np.savez(tmp_path / "d.npz", **{key.replace("x_", "X_"): array for key, array in as_dict().items()})
    for read in (sources.load, lambda path: InputSource(str(path)).take({}, 4)):
        with pytest.raises(DataError, match=r"the data has no x_train\. Did you mean 'X_train' by it\?"):
            read(tmp_path / "d.npz")


def test_of_a_broken_file_no_more_is_read_than_a_byte_to_say_what_it_is(tmp_path, monkeypatch):
    path = tmp_path / "d.npz"
    path.write_bytes(b"not an archive")

    def whole(*_):
        raise MemoryError

    monkeypatch.setattr(Path, "read_bytes", whole)
    with pytest.raises(DataError, match=r"not a whole \.npz file"):
        sources.load(path)


def test_what_cannot_be_opened_is_said_in_one_line(tmp_path):
    (tmp_path / "d.npz").mkdir()
    with pytest.raises(DataError, match=r"not a whole \.npz file") as caught:
        InputSource(str(tmp_path / "d.npz")).take({}, 4)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("whole", [True, False])
def test_a_pickle_in_the_place_of_arrays_is_one_line_with_the_way_out(tmp_path, whole):
    path = tmp_path / "d.npz"
    if whole:
        path.write_bytes(pickle.dumps({"x_train": [1, 2]}))
    else:
        np.savez(path, **{**as_dict(), "x_train": np.array([[1], None], object)})
    for read in (sources.load, lambda path: InputSource(str(path)).take({}, 4)):
        with pytest.raises(DataError, match=r"holds Python objects \(a pickle\).*np\.savez") as caught:
            read(path)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("augment", [None, lambda x, y, seed: (x, y)], ids=["plain", "augmented"])
def test_no_data_set_is_autotuned(augment):
    x, y = np.zeros((20, 3), np.float32), np.zeros(20, np.int32)
    reading = Reading(4, 0, 0, 2, augment)
    pairs = tf.data.Dataset.from_tensor_slices((x, y)).batch(5)
    for samples in (Split(x, y), Stream(pairs), Stream(lambda: pairs.as_numpy_iterator(), samples=20)):
        made = [samples.batches(4), samples.training(reading)]
        made += [samples.inputs()] if isinstance(samples, Stream) else []
        assert [one.options().autotune.enabled for one in made] == [False] * len(made)


def test_large_arrays_give_the_batches_of_small_ones(monkeypatch):
    split, given = Split({"a": np.arange(14.0).reshape(7, 2), "b": np.arange(7)}, np.arange(7, dtype=np.int8)), []
    for bound in (batches_module.SMALL_BYTES, 0):
        monkeypatch.setattr(batches_module, "SMALL_BYTES", bound)
        made = (split.batches(3), split.training(Reading(3, 5, 1, 3)))
        given.append([keras.tree.map_structure(np.ndarray.tolist, list(one.as_numpy_iterator())) for one in made])
        assert made[0].element_spec == made[1].element_spec
    assert given[0] == given[1]


def test_batches_of_arrays_of_another_byte_order_are_of_this_machines(monkeypatch):
    monkeypatch.setattr(batches_module, "SMALL_BYTES", 0)
    x, y = np.arange(12, dtype=">f4").reshape(6, 2), np.arange(6, dtype=">i4")
    split = Split(x, y)
    for batches in (split.batches(4), split.training(Reading(4, 0, 0, 1))):
        found = [
            (a, b) for x_batch, y_batch in batches.as_numpy_iterator() for a, b in zip(x_batch, y_batch, strict=True)
        ]
        assert sorted((int(b), a.tolist()) for a, b in found) == [(i, [2 * i, 2 * i + 1]) for i in range(6)]


READ = """
import numpy as np, tensorflow as tf
from tfopt.data.splits import Reading, Split

def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

split = Split(np.ones((100_000, 28, 28, 1), np.float32), np.ones(100_000, np.int32))
for warm in (split.few(256), split):
    before = peak()
    for batches in (warm.batches(256), warm.training(Reading(256, 0, 0, 1))):
        for batch in batches:
            pass
print((peak() - before) / split.x.nbytes)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's count of a process's memory")
def test_reading_arrays_copies_no_more_than_a_few_batches(python):
    assert float(python(READ).splitlines()[-1]) < 0.25


def test_calibration_samples_leave_out_no_class():
    y = np.repeat(np.arange(6), [900, 90, 5, 3, 1, 1])
    x = np.arange(1000.0)[:, None]
    for labels in (y, y[:, None], np.eye(6)[y]):
        chosen = Split(x, labels).choose_of_all(50, 1)
        ids = y[chosen.x[:, 0].astype(int)]
        assert set(ids) == set(range(6))
        assert len(np.unique(chosen.x)) == 50
        assert (np.diff(chosen.x[:, 0]) > 0).all()
        assert 30 < (ids == 0).sum() < 50


def test_where_no_class_is_missing_or_none_is_known_the_choice_is_the_random_one():
    x = np.arange(1000.0)[:, None]
    for y in (np.arange(1000) % 10, np.arange(1000), np.linspace(0, 1, 1000), {"a": np.arange(1000) % 2}):
        split = Split(x, y)
        np.testing.assert_array_equal(split.choose_of_all(100, 3).x, split.choose(100, 3).x)
    assert len(Split(x[:5], np.arange(5)).choose_of_all(100, 3)) == 5


@pytest.mark.parametrize("shapes", [{}, {"a": (3,), "b": (2,)}], ids=["of_no_model", "of_a_model"])
def test_inputs_of_one_place_belong_together(tmp_path, shapes, one_line):
    np.savez(tmp_path / "d.npz", a=np.ones((10, 3)), b=np.ones((4, 2)))
    with pytest.raises(DataError, match=r"same number of samples\. Received: a 10, b 4") as caught:
        InputSource(str(tmp_path / "d.npz"), shapes).take(shapes, 4)
    one_line(caught)


def test_arrays_that_a_model_does_not_take_may_have_another_length(tmp_path):
    np.savez(tmp_path / "d.npz", a=np.ones((10, 3)), classes=np.ones(4))
    taken = InputSource(str(tmp_path / "d.npz"), {"a": (3,)}).take({"a": (3,)}, 6)
    assert {name: array.shape for name, array in taken.items()} == {"a": (6, 3)}


@pytest.mark.parametrize("name", ["x", "y"])
def test_a_single_number_is_no_labelled_sample(tmp_path, name, one_line):
    arrays = {"x": np.ones((4, 3)), "y": np.ones(4), name: np.float32(5)}
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError, match=f"{name} is a single number") as caught:
        labelled_samples("d.npz", tmp_path)
    one_line(caught)


def test_a_note_of_the_data_is_a_sentence_and_stays_with_it():
    parts = {f"{axis}_{split}": np.ones((4, 2)) for axis in "xy" for split in ("train", "test")}
    assert sources.as_data(parts | {"note": "guesses"}).fitted({"a": (2,)}).note == "guesses"
    assert sources.as_data(parts).note == ""
    assert sources.as_data(parts | {"note": None}).note == ""
    assert sources.as_data(parts | {"note": np.array("of 2023")}).note == ""
    with pytest.raises(DataError, match="note is a sentence"):
        sources.as_data(parts | {"note": 3})
