"""Losses by name, and the focal loss of class ids against its formula."""

import keras
import numpy as np
import pytest

from tfopt.errors import InputError
from tfopt.losses import SparseCategoricalFocalCrossentropy, build_loss

P = np.float32([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3]])
IDS = np.array([0, 1, 2])


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("alpha", [0.25, [0.1, 0.2, 0.7]])
def test_it_follows_the_formula_of_the_paper(alpha, gamma):
    own = P[np.arange(3), IDS]
    weights = np.broadcast_to(alpha, 3)[IDS]
    expected = (-weights * (1 - own) ** gamma * np.log(own)).mean()
    loss = SparseCategoricalFocalCrossentropy(alpha=alpha, gamma=gamma)
    for labels in (IDS, IDS[:, None], IDS.astype(np.float32)):
        assert float(loss(labels, P)) == pytest.approx(expected, rel=1e-5)
    logits = SparseCategoricalFocalCrossentropy(alpha=alpha, gamma=gamma, from_logits=True)
    assert float(logits(IDS, np.log(P))) == pytest.approx(expected, rel=1e-5)


def test_it_is_kerass_own_without_one_hot_labels():
    theirs = keras.losses.CategoricalFocalCrossentropy(alpha=0.5, gamma=3)
    mine = SparseCategoricalFocalCrossentropy(alpha=0.5, gamma=3)
    assert float(mine(IDS, P)) == pytest.approx(float(theirs(np.eye(3)[IDS], P)), rel=1e-6)


def test_a_class_at_every_step_has_a_loss_at_every_step():
    y, outputs = np.array([[0, 1], [2, 2]]), np.full((2, 2, 3), 1 / 3, np.float32)
    assert SparseCategoricalFocalCrossentropy(reduction="none")(y, outputs).shape == (2, 2)


def test_a_model_is_saved_with_it_and_loads_again(tmp_path):
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(loss=SparseCategoricalFocalCrossentropy(alpha=[0.1, 0.2, 0.7], gamma=1))
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras").loss
    assert (loaded.alpha, loaded.gamma) == ([0.1, 0.2, 0.7], 1)


# By name


def test_a_name_stays_a_name_for_keras_and_tfopts_own_is_made():
    assert build_loss("mse") == "mse"
    assert build_loss(None) is None
    assert isinstance(build_loss("sparse_categorical_focal_crossentropy"), SparseCategoricalFocalCrossentropy)


def test_a_name_with_arguments():
    assert build_loss({"binary_focal_crossentropy": {"gamma": 0.5}}).gamma == 0.5
    assert build_loss({"sparse_categorical_focal_crossentropy": {"gamma": 1}}).gamma == 1
    assert build_loss({"sparse_categorical_crossentropy": {"from_logits": True}}).from_logits is True
    assert isinstance(build_loss({"mse": None}), keras.losses.MeanSquaredError)


def test_a_loss_for_each_output():
    built = build_loss({"digit": "mse", "age": {"binary_focal_crossentropy": {"gamma": 3}}})
    assert built["digit"] == "mse"
    assert built["age"].gamma == 3
    assert build_loss({"digit": "mse"}) == {"digit": "mse"}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("mean_squard_error", "Did you mean 'mean_squared_error'"),
        ("focal", "Keras has no loss 'focal'"),
        ({"huber": {"dleta": 1}}, "huber does not take this"),
        ({"digit": "msee"}, "Keras has no loss 'msee'"),
        ({"hubber": {"delta": 0.5}}, "Did you mean 'huber'"),
        ({"hubber": {}}, "Did you mean 'huber'"),
        ({"sparse_categorical_focal_crossentropy": {"gamma": -1}}, "gamma of the focal loss"),
        (3, "Received: 3"),
    ],
)
def test_what_is_no_loss_is_refused(spec, sentence):
    with pytest.raises(InputError, match=sentence):
        build_loss(spec)
