"""Training: seeded, resumed to the same weights, stopped in words."""

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.callbacks import MagnitudePruning
from tfopt.data.splits import Data, Split
from tfopt.errors import DataError, InputError, ModelError, TrainingError
from tfopt.metrics import METRICS
from tfopt.models import seeding
from tfopt.recipe.artifact import BACKUP
from tfopt.training import trainer
from tfopt.training.fit_callbacks import Listener
from tfopt.training.label_checks import check_targets, loss_name
from tfopt.training.regularizers import Penalty
from tfopt.training.trainer import FitSettings


def build(loss="sparse_categorical_crossentropy"):
    with seeding.deterministic(3):
        model = keras.Sequential(
            [
                layers.Input((8, 8, 1)),
                layers.GaussianNoise(0.1),
                layers.Conv2D(4, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.Flatten(),
                layers.Dropout(0.4),
                layers.Dense(4, activation="softmax"),
            ]
        )
    model.compile("adam", loss, metrics=["accuracy"])
    return model


@pytest.fixture
def data(blobs):
    x, y = blobs
    return Data(Split(x[:160], y[:160]), Split(x[160:208], y[160:208]), Split(x[208:], y[208:]))


class Interrupted(Exception):
    pass


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2 and self.params.get("steps") and self.model.optimizer.iterations.numpy() // 5 == self.epoch:
            raise Interrupted


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(data, tmp_path):
    models = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        model = build()
        trainer.fit(model, data, FitSettings(epochs=2, seed=seed), tmp_path / name)
        models.append(model)
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])


OPTIMIZERS = [
    "adam",
    {"sgd": {"momentum": 0.9, "nesterov": True}},
    {"adam": {"learning_rate": {"cosine": {"initial_learning_rate": 0.01}}}},
]


@pytest.mark.parametrize(
    "optimizer",
    [pytest.param(OPTIMIZERS[0], id="adam"), *(pytest.param(o, marks=pytest.mark.slow) for o in OPTIMIZERS[1:])],
)
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(optimizer, data, tmp_path):
    settings = FitSettings(epochs=4, optimizer=optimizer, penalties=(Penalty(l2=1e-3),), seed=5)
    whole, cut = build(), build()
    history = trainer.fit(whole, data, settings, tmp_path / "whole")
    with pytest.raises(Interrupted):
        trainer.fit(cut, data, settings, tmp_path / "cut", [Interrupt(2)])
    resumed = build()
    assert trainer.fit(resumed, data, settings, tmp_path / "cut") == history
    assert equal(whole, resumed)
    assert len(history["val_loss"]) == 4


def test_an_interrupted_pruning_ends_with_the_weights_of_an_uninterrupted_one(data, tmp_path):
    settings = FitSettings(epochs=4, seed=5)

    def pruning():
        return MagnitudePruning(sparsity=0.8, begin=1, end=17, frequency=4)

    whole, cut, resumed, last = build(), build(), build(), pruning()
    trainer.fit(whole, data, settings, tmp_path / "whole", [pruning()])
    with pytest.raises(Interrupted):
        trainer.fit(cut, data, settings, tmp_path / "cut", [pruning(), Interrupt(2)])
    trainer.fit(resumed, data, settings, tmp_path / "cut", [last])
    assert equal(whole, resumed)
    assert last.step == 20


def test_early_stopping_goes_on_counting_where_it_was_interrupted(data, tmp_path):
    early = {"monitor": "val_loss", "patience": 2, "restore_best_weights": True}
    # A learning rate this high makes the validation loss rise after the first epochs.
    settings = FitSettings(epochs=12, optimizer={"adam": {"learning_rate": 0.3}}, early_stopping=early, seed=2)
    whole, cut, resumed = build(), build(), build()
    history = trainer.fit(whole, data, settings, tmp_path / "whole")
    stopped = len(history["loss"])
    assert stopped < 12
    with pytest.raises(Interrupted):
        trainer.fit(cut, data, settings, tmp_path / "cut", [Interrupt(stopped - 1)])
    assert trainer.fit(resumed, data, settings, tmp_path / "cut") == history
    assert equal(whole, resumed)


@pytest.mark.parametrize("early_stopping", [None, {"patience": 0, "restore_best_weights": True}])
def test_a_training_that_was_over_is_not_trained_again(early_stopping, data, tmp_path):
    settings = FitSettings(epochs=6, optimizer={"adam": {"learning_rate": 0.3}}, early_stopping=early_stopping, seed=2)
    first, second, told = build(), build(), []
    history = trainer.fit(first, data, settings, tmp_path)
    listener = Listener(epoch=lambda *news: told.append(news))
    assert trainer.fit(second, data, settings, tmp_path, listener=listener) == history
    assert told == []
    assert equal(first, second)


def test_a_backup_that_was_being_written_is_ignored(data, tmp_path):
    settings = FitSettings(epochs=2, seed=5)
    whole, resumed = build(), build()
    trainer.fit(whole, data, settings, tmp_path / "whole")
    unfinished = tmp_path / "cut" / BACKUP / "new"
    unfinished.mkdir(parents=True)
    (unfinished / "model.weights.h5").write_bytes(b"half")
    trainer.fit(resumed, data, settings, tmp_path / "cut")
    assert equal(whole, resumed)


def test_a_loss_that_is_not_a_number_stops_with_the_epoch_and_the_step(data, tmp_path):
    settings = FitSettings(epochs=3, optimizer={"sgd": {"learning_rate": 1e30}}, loss="mse")
    broken = Data(*(Split(s.x, np.eye(4, dtype=np.float32)[s.y]) for s in (data.train, data.validation, data.test)))
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(8), layers.Dense(4)])
    with pytest.raises(TrainingError, match=r"in epoch 1 at step \d"):
        trainer.fit(model, broken, settings, tmp_path)


def test_the_listener_hears_every_epoch(data, tmp_path):
    heard = []
    trainer.fit(build(), data, FitSettings(epochs=3), tmp_path, listener=Listener(lambda *news: heard.append(news)))
    assert [(epoch, epochs) for epoch, epochs, _ in heard] == [(1, 3), (2, 3), (3, 3)]
    assert all({"loss", "val_loss", "accuracy"} <= set(logs) for _, _, logs in heard)


def test_determinism_and_the_models_regularizers_end_with_the_training(data, tmp_path):
    from tensorflow.python.framework import config

    model = build()
    trainer.fit(model, data, FitSettings(epochs=1, penalties=(Penalty(l1=1e-3),)), tmp_path)
    assert not config.is_op_determinism_enabled()
    assert all(v.regularizer is None for v in model.trainable_variables)


def test_full_batch_gradient_descent_on_a_linear_model_is_the_closed_form_step(tmp_path):
    """One step of gradient descent on the mean squared error: w - rate * 2/n X^T (Xw - y)."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(20, 3)).astype(np.float32), generator.normal(size=(20, 1)).astype(np.float32)
    model = keras.Sequential([layers.Input((3,)), layers.Dense(1, use_bias=False)])
    before = model.get_weights()[0]
    settings = FitSettings(
        epochs=1, batch_size=20, optimizer={"sgd": {"learning_rate": 0.1}}, loss="mse", metrics=(METRICS["mse"],)
    )
    trainer.fit(model, Data(Split(x, y), Split(x, y), Split(x, y)), settings, tmp_path)
    expected = before - 0.1 * 2 / 20 * x.T @ (x @ before - y)
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-5, atol=1e-6)


def test_the_loss_and_metrics_of_the_recipe_come_before_the_models_own():
    model = build()
    own = trainer.compile_arguments(model, FitSettings(epochs=1), 1)
    other = trainer.compile_arguments(model, FitSettings(epochs=1, loss="mse", metrics=(METRICS["mae"],)), 1)
    assert (loss_name(own["loss"]), own["metrics"]) == ("sparse_categorical_crossentropy", ["accuracy"])
    assert (loss_name(other["loss"]), other["metrics"]) == ("mean_squared_error", ["mae"])


def test_a_model_without_a_loss_is_refused():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(1)])
    with pytest.raises(ModelError, match="loss:"):
        trainer.compile_arguments(model, FitSettings(epochs=1), 1)


def test_an_unknown_loss_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="'mean_squared_error'"):
        trainer.compile_arguments(build(), FitSettings(epochs=1, loss="mean_squard_error"), 1)


LABELS = {
    "one-hot for class ids": ("sparse_categorical_crossentropy", np.eye(4)[[0, 1]], "categorical_crossentropy"),
    "class id too high": ("sparse_categorical_crossentropy", np.array([0, 4]), "0 to 3.*there is 4"),
    "negative class id": ("sparse_categorical_crossentropy", np.array([0, -1]), "there is -1"),
    "fractions for class ids": ("sparse_categorical_crossentropy", np.array([0.5, 1.0]), "whole class ids"),
    "class ids for one-hot": ("categorical_crossentropy", np.array([0, 1]), "use sparse_categorical_crossentropy"),
    "binary out of range": ("binary_crossentropy", np.array([[0, 0, 0, 2]] * 2), "from 0 to 1"),
    "targets of another width": ("mse", np.zeros((2, 3)), "output shape"),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_that_do_not_fit_the_loss_are_refused(name, blobs):
    loss, y, words = LABELS[name]
    split = Split(blobs[0][:2], y)
    with pytest.raises(DataError, match=words):
        check_targets(build(loss), Data(split, split, split), None)


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("sparse_categorical_crossentropy", np.array([[0], [3]])),
        ("sparse_categorical_crossentropy", np.array([0.0, 3.0])),
        ("categorical_crossentropy", np.eye(4)[[0, 1]]),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), np.array([0, 3])),
        ("mse", np.zeros((2, 4))),
    ],
)
def test_labels_that_fit_the_loss_pass(loss, y, blobs):
    split = Split(blobs[0][:2], y)
    check_targets(build(loss), Data(split, split, split), None)
