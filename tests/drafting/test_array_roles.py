"""What the arrays of a file are to a model, by their names and their shapes."""

from pathlib import Path

import numpy as np
import pytest

from tfopt.drafting.array_roles import WHOLE, roles_of
from tfopt.drafting.model_facts import InputFacts, ModelFacts, OutputFacts
from tfopt.errors import DataError

FILE = Path("samples.npz")
IMAGE, META = InputFacts("image", (8, 8, 1), "float32"), InputFacts("meta", (4,), "float32")
DIGIT, AGE = OutputFacts("digit", (10,), "softmax"), OutputFacts("age", (1,), "linear")
ONE, TWO = ModelFacts((IMAGE,), (DIGIT,)), ModelFacts((IMAGE, META), (DIGIT, AGE))


def arrays(**shapes):
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def roles(facts, **shapes):
    return roles_of(arrays(**shapes), facts, FILE)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("x_train", "y_train", "x_test", "y_test"), ("train", "test")),
        (("train_images", "train_labels", "test_images", "test_labels"), ("train", "test")),
        (("X_train", "Y_train", "X_val", "Y_val"), ("train", "test")),
        (("x", "y", "x_test", "y_test"), ("train", "test")),
        (("image", "digit"), (WHOLE,)),
        (("inputs_training", "targets_training"), (WHOLE,)),
    ],
)
def test_names_and_the_splits_in_them_say_what_arrays_are(names, splits):
    found = roles(ONE, **{name: (6, 8, 8) if at % 2 == 0 else (6,) for at, name in enumerate(names)})
    assert tuple(found.inputs) == tuple(found.targets) == splits
    assert [key for part in found.inputs.values() for key in part.values()] == list(names[::2])
    assert [key for part in found.targets.values() for key in part.values()] == list(names[1::2])
    assert found.plain == (names == ("x_train", "y_train", "x_test", "y_test"))


def test_several_inputs_and_outputs_go_by_name_and_what_is_nothing_is_left():
    found = roles(TWO, image=(6, 8, 8, 1), x_meta=(6, 4), digit=(6,), y_age=(6,), notes=(9,))
    assert found.inputs == {WHOLE: {"image": "image", "meta": "x_meta"}}
    assert found.targets == {WHOLE: {"digit": "digit", "age": "y_age"}}
    assert found.unused == ("notes",)


def test_shapes_tell_arrays_whose_names_do_not():
    found = roles(TWO, arr_0=(6, 4), arr_1=(6, 8, 8), digit=(6,), age=(6,))
    assert found.inputs == {WHOLE: {"meta": "arr_0", "image": "arr_1"}}
    assert roles(ONE, arr_0=(6, 8, 8, 1), arr_1=(6,)).targets == {WHOLE: {"digit": "arr_1"}}


def test_an_input_whose_name_is_that_of_a_split_is_no_split():
    facts = ModelFacts((InputFacts("train_speed", (3,), "float32"),), (AGE,))
    assert roles(facts, train_speed=(6, 3), age=(6,)).inputs == {WHOLE: {"train_speed": "train_speed"}}


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"image": (6, 8, 8, 1)}, "input 'meta' takes samples (4,)"),
        ({"image": (6, 8, 8, 1), "meta": (5, 4)}, "image 6, meta 5"),
        ({"image": (0, 8, 8, 1), "meta": (0, 4)}, "no samples"),
    ],
)
def test_what_is_missing_or_uneven_is_one_line(shapes, words, one_line):
    with pytest.raises(DataError) as caught:
        roles(TWO, **shapes)
    assert words in one_line(caught)
