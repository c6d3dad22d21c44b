import math

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.data.splits import Split
from tfopt.errors import DataError
from tfopt.metrics import METRICS, classes, compare_outputs, default_metric, score_split
from tfopt.metrics.outputs import metrics_by_labels, snr_db
from tfopt.models.signature import keras_outputs
from tfopt.quantization import convert
from tfopt.tflite.batch_interpreter import file_outputs

ACCURACY, MAE, MSE = METRICS["accuracy"], METRICS["mae"], METRICS["mse"]
# Four samples of three classes; the third is wrong.
SCORES = np.float32([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.0, 0.1, 0.9]])
IDS = np.array([0, 1, 2, 2])


# Metrics by hand


@pytest.mark.parametrize(
    "labels",
    [
        IDS,
        IDS.astype(np.uint8),
        IDS.astype(np.float32),
        IDS[:, None],
        IDS[:, None].astype(np.float32),
        np.eye(3)[IDS],
        np.eye(3, dtype=np.int64)[IDS],
    ],
    ids=["ids", "uint8", "float ids", "column", "float column", "one-hot", "integer one-hot"],
)
def test_accuracy_takes_labels_in_every_form(labels):
    assert ACCURACY.score(labels, SCORES) == 0.75


def test_accuracy_of_logits_is_that_of_their_softmax():
    assert ACCURACY.score(IDS, np.log(SCORES + 1e-9)) == 0.75


@pytest.mark.parametrize(
    "labels", [[0, 1, 1, 0], [[0], [1], [1], [0]], [0.0, 1.0, 1.0, 0.0], [[0.0], [1.0], [1.0], [0.0]]]
)
@pytest.mark.parametrize("scores", [[0.2, 0.9, 0.4, 0.6], [[0.2], [0.9], [0.4], [0.6]]])
def test_accuracy_of_two_classes_cuts_one_score_at_a_half(labels, scores):
    assert ACCURACY.score(np.array(labels), np.float32(scores)) == 0.5


def test_accuracy_of_two_classes_with_two_scores_takes_the_larger():
    assert ACCURACY.score(np.array([0, 1, 1]), np.float32([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("steps", [2, 3, 5])
def test_accuracy_of_a_class_at_every_step_counts_steps(steps):
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 3, (6, steps)), generator.random((6, steps, 3))
    assert ACCURACY.score(labels, scores) == pytest.approx((labels == scores.argmax(-1)).mean())


def test_accuracy_of_a_class_at_every_pixel_counts_pixels():
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 3, (2, 4, 5, 1)), generator.random((2, 4, 5, 3))
    assert ACCURACY.score(labels, scores) == pytest.approx((labels[..., 0] == scores.argmax(-1)).mean())


@pytest.mark.parametrize("columns", [False, True])
def test_mean_errors_of_one_value_follow_their_formulas(columns):
    y, outputs = np.array([1.0, 2.0, -1.0]), np.array([[1.5], [2.0], [1.0]])
    targets = y[:, None] if columns else y
    assert MAE.score(targets, outputs) == pytest.approx((0.5 + 0 + 2) / 3)
    assert MSE.score(targets, outputs) == pytest.approx((0.25 + 0 + 4) / 3)


def test_mean_errors_of_images_are_over_all_values():
    generator = np.random.default_rng(1)
    y, outputs = generator.random((3, 4, 4, 2)), generator.random((3, 4, 4, 2))
    assert MAE.score(y, outputs) == pytest.approx(np.abs(y - outputs).mean())
    assert MSE.score(y, outputs) == pytest.approx(((y - outputs) ** 2).mean())


@pytest.mark.parametrize(("metric", "worse", "better"), [(ACCURACY, 0.8, 0.9), (MAE, 0.9, 0.8), (MSE, 3.0, 1.0)])
def test_a_drop_is_positive_where_it_got_worse(metric, worse, better):
    assert metric.drop(better, worse) == pytest.approx(abs(better - worse))
    assert metric.drop(worse, better) == pytest.approx(-abs(better - worse))
    assert metric.drop(worse, worse) == 0


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        ("sparse_categorical_crossentropy", "accuracy"),
        ("binary_crossentropy", "accuracy"),
        ("categorical_hinge", "accuracy"),
        ("binary_focal_crossentropy", "accuracy"),
        ("mse", "mse"),
        ("huber", "mse"),
        (None, "mse"),
    ],
)
def test_the_metric_follows_the_loss(loss, name):
    assert default_metric(loss).name == name


def test_classes_of_several_scores_is_the_largest_and_of_one_the_half():
    assert classes(SCORES).tolist() == [0, 1, 0, 2]
    assert classes(np.float32([[0.5], [0.51]])).ravel().tolist() == [0, 1]


# Scores of splits


def test_the_score_of_one_output():
    assert score_split(ACCURACY, Split(np.zeros((4, 1)), IDS), {"any": SCORES}) == 0.75


def test_the_score_of_several_outputs_is_the_mean_of_those_with_targets():
    outputs = {"kind": SCORES, "flag": np.float32([[0.9], [0.1], [0.9], [0.9]]), "extra": SCORES}
    split = Split(np.zeros((4, 1)), {"flag": np.array([1, 0, 0, 0]), "kind": IDS})
    assert score_split(ACCURACY, split, outputs) == pytest.approx((0.75 + 0.5) / 2)


def test_targets_go_to_the_output_of_their_name_whatever_the_order():
    outputs = {"b": np.float32([[1.0]]), "a": np.float32([[5.0]])}
    assert score_split(MAE, Split(np.zeros((1, 1)), {"a": np.array([4.0])}), outputs) == 1.0


def test_targets_of_other_names_are_refused_with_both():
    with pytest.raises(DataError, match=r"outputs are kind.*targets are label"):
        score_split(ACCURACY, Split(np.zeros((4, 1)), {"label": IDS}), {"kind": SCORES})


# Outputs of models and files


@pytest.fixture(scope="module")
def two_sided():
    keras.utils.set_random_seed(4)
    b, a = layers.Input((2,), name="b"), layers.Input((3,), name="a")
    z, y = layers.Dense(2, name="z")(b), layers.Dense(4, name="y")(layers.Concatenate()([a, b]))
    return keras.Model([b, a], [z, y])


@pytest.fixture(scope="module")
def inputs():
    generator = np.random.default_rng(0)
    return {"a": generator.random((300, 3), np.float32), "b": generator.random((300, 2), np.float32)}


def test_outputs_of_a_model_go_by_name_over_all_samples(two_sided, inputs):
    outputs = keras_outputs(two_sided, inputs)
    z, y = two_sided([inputs["b"], inputs["a"]])
    np.testing.assert_allclose(outputs["z"], z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs["y"], y, rtol=1e-5, atol=1e-6)


def test_outputs_of_a_file_are_those_of_its_model_name_by_name(two_sided, inputs, tmp_path):
    (tmp_path / "m.tflite").write_bytes(convert(two_sided, "float32"))
    expected, actual = keras_outputs(two_sided, inputs), file_outputs(tmp_path / "m.tflite", inputs)
    assert set(actual) == set(expected)
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-5)


def test_one_target_array_is_scored_on_the_output_that_the_metric_names_in_a_model_and_its_file(
    two_sided, inputs, tmp_path
):
    (tmp_path / "m.tflite").write_bytes(convert(two_sided, "float32"))
    expected, actual = keras_outputs(two_sided, inputs), file_outputs(tmp_path / "m.tflite", inputs)
    split = Split(inputs, expected["z"])
    assert score_split(MSE.of("z"), split, expected) == 0
    assert score_split(MSE.of("z"), split, actual) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("structure", ["sequential", "subclassed"])
def test_the_only_output_has_one_name_in_model_and_file(structure, tmp_path):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = layers.Dense(2)

        def call(self, x):
            return self.head(x)

    x = np.random.default_rng(0).random((4, 3), np.float32)
    model = Own() if structure == "subclassed" else keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    model(x)
    (tmp_path / "m.tflite").write_bytes(convert(model, "float32", x))
    assert compare_outputs(keras_outputs(model, x), file_outputs(tmp_path / "m.tflite", x))["max_error"] < 1e-5


# Comparing


def test_a_comparison_follows_its_formulas():
    generator = np.random.default_rng(2)
    a, b = generator.random((50, 4)), generator.random((50, 4))
    result = compare_outputs({"out": a}, {"out": b})
    assert result["max_error"] == pytest.approx(np.abs(a - b).max())
    assert result["mean_error"] == pytest.approx(np.abs(a - b).mean())
    assert result["snr_db"] == pytest.approx(10 * math.log10((a**2).sum() / ((a - b) ** 2).sum()))
    assert result["agreement"] == pytest.approx((a.argmax(1) == b.argmax(1)).mean())


def test_a_tenth_of_the_amplitude_is_twenty_decibels():
    a = np.random.default_rng(0).normal(size=(100, 1))
    assert compare_outputs({"out": a}, {"out": a * 1.1})["snr_db"] == pytest.approx(20)


def test_equal_outputs_agree_in_everything():
    assert compare_outputs({"out": SCORES}, {"out": SCORES}) == {
        "max_error": 0.0,
        "mean_error": 0.0,
        "snr_db": 200.0,
        "agreement": 1.0,
    }


@pytest.mark.parametrize(
    ("expected", "found", "decibels"),
    [
        ([3.0, 4.0], [3.0, 4.0], 200),
        ([1e30], [1e30 + 1e15], 200),
        ([0.0, 0.0], [1.0, 1.0], -200),
        ([0.0, 0.0], [0.0, 0.0], 200),
        ([3.0, 4.0], [3.0, 4.5], 20),
        ([3.0, 4.0], [np.inf, 4.0], np.nan),
        ([np.nan, 4.0], [3.0, 4.0], np.nan),
    ],
    ids=["equal", "nearly equal", "noise", "zeros", "a tenth", "infinite", "not a number"],
)
def test_a_ratio_of_powers_is_bounded(expected, found, decibels):
    assert snr_db(np.array(expected), np.array(found)) == pytest.approx(decibels, nan_ok=True)


def test_outputs_that_are_all_zero_still_compare():
    result = compare_outputs({"out": np.zeros((3, 2))}, {"out": np.ones((3, 2))})
    assert result["max_error"] == 1
    assert math.isfinite(result["snr_db"])


def test_a_signal_that_is_all_noise_has_no_good_ratio():
    assert compare_outputs({"out": np.zeros((3, 2))}, {"out": np.ones((3, 2))})["snr_db"] <= 0


def test_one_score_has_no_agreement():
    assert "agreement" not in compare_outputs({"out": np.ones((5, 1))}, {"out": np.zeros((5, 1))})


def test_several_outputs_are_compared_together_by_name():
    a = {"kind": SCORES, "size": np.float32([[1], [2], [3], [4]])}
    b = {"size": np.float32([[1], [2], [3], [6]]), "kind": SCORES[[0, 1, 3, 3]]}
    result = compare_outputs(a, b)
    assert result["max_error"] == 2
    assert result["agreement"] == 0.75
    third = {"kind": SCORES, "other": SCORES}
    fourth = {"kind": SCORES[[0, 1, 3, 3]], "other": SCORES[[1, 1, 2, 3]]}
    assert compare_outputs(third, fourth)["agreement"] == 0.5  # 0.75 in each output, and two samples in both
    assert result["mean_error"] == pytest.approx((2 + np.abs(SCORES[2] - SCORES[3]).sum()) / 16)


def test_small_differences_are_not_lost_in_float32():
    a = np.full((1, 2), 1e4, np.float32)
    b = np.nextafter(a, np.float32(2e4))
    assert compare_outputs({"out": a}, {"out": b})["max_error"] == pytest.approx(float(b[0, 0]) - 1e4, rel=1e-9)


def test_labels_without_names_score_none_of_several_outputs():
    outputs = {"features": SCORES, "head": SCORES}
    with pytest.raises(DataError, match="outputs features, head: give y as a dict by these names"):
        score_split(ACCURACY, Split(SCORES, IDS), outputs)
    assert score_split(ACCURACY, Split(SCORES, {"head": IDS}), outputs) == 0.75


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (np.array([31, 64, 18, 31]), "mse"),
        (np.array([0, 1, 1, 0]), "accuracy"),
        (np.array([0.0, 1.0, 1.0, 0.0]), "accuracy"),
        (np.array([0.5, 0.2, 0.1, 0.0]), "mse"),
    ],
    ids=["ages", "classes", "classes_as_floats", "values"],
)
def test_whole_numbers_beside_one_score_are_classes_where_there_are_two(labels, name):
    scores = np.array([[0.9], [0.2], [0.7], [0.1]], np.float32)
    [found] = metrics_by_labels((), Split(scores, labels), {"out": scores})
    assert found.name == name


def test_ids_beside_several_scores_are_classes():
    assert [metric.name for metric in metrics_by_labels((), Split(SCORES, IDS), {"out": SCORES})] == ["accuracy"]
