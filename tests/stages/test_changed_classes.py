"""The samples that changed class in a file, as `verify` records them."""

from types import SimpleNamespace

import numpy as np
import pytest

from tfopt.data.splits import Split
from tfopt.data.streams import Stream
from tfopt.metrics import METRICS
from tfopt.stages.changed_classes import ChangedClasses, rows_of

ACCURACY, ERROR = METRICS["accuracy"], METRICS["mae"]
EYE = np.eye(3, dtype=np.float32)


def context(x, y, show=None):
    return SimpleNamespace(data=SimpleNamespace(test=Split(x, y), show=show), told=[])


def images(count):
    return np.linspace(0, 1, count * 64, dtype=np.float32).reshape(count, 8, 8, 1)


def test_a_sample_that_changes_in_two_files_is_shown_once():
    here = context(images(4), np.array([0, 1, 2, 0]))
    changed = ChangedClasses(here)
    before = {"digit": EYE[[0, 1, 2, 0]]}
    changed.add("float32", "train", [ACCURACY], lambda: before, before)
    changed.add("int8", "train", [ACCURACY], lambda: before, {"digit": EYE[[0, 2, 2, 0]]})
    changed.add("int4", "train", [ACCURACY], lambda: before, {"digit": EYE[[0, 2, 1, 0]]})
    [found] = changed.detail()
    assert {file: found.files[file]["digit"].share for file in found.files} == {"float32": 1, "int8": 0.75, "int4": 0.5}
    assert [sample.row for sample in found.files["int4"]["digit"].samples] == [1, 2]
    assert [(one.row, one.inputs[""].kind) for one in found.shown] == [(1, "image"), (2, "image")]
    assert found.files["int8"]["digit"].against == "train"
    assert here.told == []


def test_outputs_that_are_no_classes_or_of_another_model_are_not_compared():
    changed = ChangedClasses(context(images(2), {"kind": np.array([0, 1]), "size": np.ones(2)}))
    before = {"kind": EYE[[0, 1]], "size": np.ones((2, 1))}
    changed.add("int8", "train", [ERROR.of("size")], lambda: pytest.fail("the model is not asked"), before)
    changed.add("other", "train", [ACCURACY.of("kind")], lambda: {"kind": np.eye(4)[:2]}, before)
    assert changed.detail() == []
    changed.add("int8", "train", [ACCURACY.of("kind"), ERROR.of("size")], lambda: before, before)
    assert list(changed.detail()[0].files["int8"]) == ["kind"]


def test_a_function_of_the_users_that_fails_costs_the_pictures_and_not_the_result():
    def show(x):
        raise KeyError("gone")

    here = context(images(2), np.array([0, 1]), show)
    changed = ChangedClasses(here)
    changed.add("int8", "train", [ACCURACY], lambda: {"o": EYE[[0, 1]]}, {"o": EYE[[1, 1]]})
    [found] = changed.detail()
    assert found.shown[0].inputs[""].kind == "image"
    assert "show(x) fails on a sample: KeyError" in here.told[0]


@pytest.mark.parametrize("streamed", [False, True], ids=["arrays", "stream"])
def test_rows_are_found_in_arrays_and_in_streams(streamed):
    x = {"a": np.arange(30, dtype=np.float32).reshape(10, 3), "b": np.arange(10, dtype=np.float32).reshape(10, 1)}
    read = []

    def batches():
        for start in range(0, 10, 4):
            read.append(start)
            rows = slice(start, start + 4)
            yield {name: array[rows] for name, array in x.items()}, np.zeros(len(x["b"][rows]))

    samples = Stream(batches, 10) if streamed else Split(x, np.zeros(10))
    found = rows_of(samples, [1, 5, 6])
    np.testing.assert_array_equal(found["b"][:, 0], [1, 5, 6])
    np.testing.assert_array_equal(found["a"], x["a"][[1, 5, 6]])
    one = rows_of(Split(x["a"], np.zeros(10)), [9])
    np.testing.assert_array_equal(one, x["a"][[9]])


def test_of_several_outputs_a_sample_stays_the_same_where_all_of_them_do():
    changed = ChangedClasses(context(images(4), {"a": np.array([0, 1, 2, 0]), "b": np.array([0, 1, 2, 0])}))
    before = {"a": EYE[[0, 1, 2, 0]], "b": EYE[[0, 1, 2, 0]]}
    metrics = [ACCURACY.of("a"), ACCURACY.of("b")]
    changed.add("int8", "train", metrics, lambda: before, {"a": EYE[[1, 1, 2, 0]], "b": EYE[[0, 1, 2, 1]]})
    [found] = changed.detail()
    assert {name: one.share for name, one in found.files["int8"].items()} == {"a": 0.75, "b": 0.75}
    assert found.same == {"int8": 0.5}


def test_of_an_output_with_more_axes_every_value_counts():
    changed = ChangedClasses(context(images(2), np.array([[0, 1], [2, 0]])))
    changed.add("int8", "train", [ACCURACY], lambda: {"o": EYE[[[0, 1], [2, 0]]]}, {"o": EYE[[[0, 1], [2, 1]]]})
    assert changed.detail()[0].same == {"int8": 0.75}
