"""Samples as people see them: pictures that decode to what they show, text, and numbers."""

import base64
import re

import numpy as np
import pytest
import tensorflow as tf

from tfopt.data.preview import LONGEST, previews
from tfopt.data.sources import as_data, fingerprint
from tfopt.errors import DataError


def decoded(preview):
    """The pixels by libpng, RGBA."""
    return tf.io.decode_png(base64.b64decode(preview.content), channels=4).numpy()


@pytest.mark.parametrize("channels", [1, 3, 4], ids=["grey", "rgb", "rgba"])
def test_a_picture_decodes_to_the_pixels_it_was_made_of(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 7, 9, channels)).astype(np.uint8)
    found = previews(pixels)
    for sample, [preview] in zip(pixels, (one.values() for one in found), strict=True):
        assert (preview.kind, preview.width, preview.height) == ("image", 9, 7)
        rgba = decoded(preview)
        colours = np.repeat(sample, 3, axis=-1) if channels == 1 else sample[..., :3]
        if channels < 4:
            np.testing.assert_array_equal(rgba[..., :3], colours)
            assert (rgba[..., 3] == 255).all()
        else:
            np.testing.assert_array_equal(rgba, sample)


@pytest.mark.parametrize(
    ("low", "high", "black"),
    [(0, 1, 0), (0, 255, 0), (-1, 1, -1), (-3, 5, -3), (0, 7.98, 0), (0, 0.02, 0), (4, 9, 4)],
    ids=["unit", "bytes", "around_zero", "any", "log_spectrum", "faint", "without_zero"],
)
def test_the_values_of_an_image_are_stretched_to_the_ends_that_they_use(low, high, black):
    x = np.full((1, 6, 6, 1), low, np.float32)
    x[0, 0, 0] = high
    x[0, 0, 1] = (black + high) / 2
    [[preview]] = [list(one.values()) for one in previews(x)]
    grey = decoded(preview)[0, :3, 0]
    assert grey[0] == 255
    assert abs(int(grey[1]) - 127) <= 1
    assert grey[2] == 0


@pytest.mark.parametrize(
    ("highest", "white"), [(16, True), (1, True), (200, False)], ids=["of_four_bits", "mask", "of_a_byte"]
)
def test_bytes_that_use_a_small_part_of_their_range_are_stretched_too(highest, white):
    x = np.zeros((1, 6, 6), np.uint8)[..., None]
    x[0, 0, 0] = highest
    [[preview]] = [list(one.values()) for one in previews(x)]
    assert decoded(preview)[0, 0, 0] == (255 if white else highest)


def test_an_image_of_one_value_and_one_with_nan_are_pictures_too():
    x = np.full((2, 8, 8, 1), 7.5, np.float32) * 1000
    x[1, 0, 0] = np.nan
    assert {one[""].kind for one in previews(x)} == {"image"}


def test_a_large_picture_is_made_small_by_the_mean_of_its_blocks():
    x = np.zeros((1, 200, 100, 1), np.float32)
    x[0, ::2] = 1
    [[preview]] = [list(one.values()) for one in previews(x)]
    assert (preview.width, preview.height) == (25, 50)
    assert (np.abs(decoded(preview)[..., 0].astype(int) - 128) <= 1).all()


def test_pictures_together_stay_within_their_bytes():
    noise = np.random.default_rng(0).integers(0, 256, (24, 128, 128, 3)).astype(np.uint8)
    found = [one[""] for one in previews(noise)]
    assert sum(len(one.content) for one in found) <= 150_000
    assert len({one.width for one in found}) == 1
    assert found[0].width < 64


def test_what_is_no_image_is_shown_by_its_first_numbers():
    x = {"few": np.arange(6).reshape(2, 3), "sound": np.zeros((2, 8000), np.float32), "strip": np.ones((2, 3, 90, 1))}
    [first, _] = previews(x)
    assert {name: one.kind for name, one in first.items()} == dict.fromkeys(x, "numbers")
    assert first["few"].content == "0, 1, 2"
    assert first["sound"].content.endswith("... (8,000 in all)")


def test_the_datas_own_function_says_how_a_sample_is_shown():
    words = ["", "good", "film"]
    x = {"words": np.array([[1, 2, 0]]), "image": np.zeros((1, 4, 4), np.uint8)}

    def show(sample):
        assert sample["words"].shape == (3,)
        text = " ".join(words[number] for number in sample["words"] if number)
        return {"text": text, "picture": sample["image"]}

    [found] = previews(x, show)
    assert (found["text"].kind, found["text"].content) == ("text", "good film")
    assert (found["picture"].kind, found["picture"].width) == ("image", 4)
    [alone] = previews(x["words"], lambda numbers: f"{len(numbers)} <words> {'x' * LONGEST}")
    assert alone[""].content.startswith("3 <words> xx")
    assert len(alone[""].content) == LONGEST


@pytest.mark.parametrize(
    ("show", "words"),
    [
        (lambda x: 1 / 0, "show(x) fails on a sample: ZeroDivisionError"),
        (lambda x: None, "Received: NoneType."),
        (lambda x: np.zeros((4, 4, 2)), "of shape (4, 4, 2)."),
        (lambda x: {"a": "text", "b": 3}, "Received: int."),
    ],
    ids=["fails", "none", "two_channels", "number"],
)
def test_a_function_that_shows_nothing_is_one_line(show, words):
    with pytest.raises(DataError) as caught:
        previews(np.zeros((1, 3)), show)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def splits(**more):
    x, y = np.zeros((10, 3), np.float32), np.zeros(10, np.int32)
    return {"x_train": x, "y_train": y, "x_test": x, "y_test": y, **more}


def test_data_carries_the_function_and_results_do_not_depend_on_it():
    def show(x):
        return "a sample"

    data = as_data(splits(show=show))
    assert data.show is show
    assert data.fitted({"in": (3,)}).show is show
    assert as_data(data).show is show
    data.check_show()
    named = {"train": (np.zeros((4, 2)), np.zeros(4)), "test": (np.zeros((4, 2)), np.zeros(4)), "show": show}
    assert as_data(named).show is show
    assert fingerprint(data, lambda: data) == fingerprint(None, lambda: as_data(splits()))


def test_a_function_is_what_it_takes():
    with pytest.raises(DataError, match=re.escape("show is a function of the inputs of one sample. Received: 'text'.")):
        as_data(splits(show="text"))
    with pytest.raises(DataError, match="fails on a sample"):
        as_data(splits(show=lambda x: x.words)).check_show()
