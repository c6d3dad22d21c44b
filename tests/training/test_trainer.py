"""Training: seeded, resumed to the same weights, stopped in words."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

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
from tfopt.training.fit_settings import FitSettings
from tfopt.training.label_checks import check_targets, loss_name
from tfopt.training.regularizers import Penalty


def build(loss="sparse_categorical_crossentropy", body=(), eagerly=False):
    with seeding.deterministic(3):
        model = keras.Sequential([layers.Input((8, 8, 1)), *body, layers.Flatten(), layers.Dense(4, "softmax")])
    model.compile("adam", loss, metrics=["accuracy"], run_eagerly=eagerly)
    return model


def random_net(*more, eagerly=False):
    """A network of random layers, each with a state of its own, and of statistics that no gradient changes."""
    statistics = layers.BatchNormalization(center=False, scale=False)
    return build(body=[layers.GaussianNoise(0.1), *more, statistics, layers.Dropout(0.4)], eagerly=eagerly)


def splits(x, y):
    return Data(Split(x[:160], y[:160]), Split(x[160:208], y[160:208]), Split(x[208:], y[208:]))


@pytest.fixture
def data(blobs):
    return splits(*blobs)


class Interrupted(Exception):
    pass


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2 and self.params.get("steps") and self.model.optimizer.iterations.numpy() // 5 == self.epoch:
            raise Interrupted


class Copies(keras.callbacks.Callback):
    """Copies the folder of a training in the middle of each epoch: what is left of one that is killed there."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.epoch = folder, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            shutil.copytree(self.folder, self.at(self.epoch))

    def at(self, epoch):
        return self.folder.with_name(f"{self.folder.name}_killed_in_{epoch}")


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


@dataclass(frozen=True)
class Training:
    """A training from beginning to end."""

    model: keras.Model
    history: dict
    settings: FitSettings
    folder: Path
    heard: list
    deterministic_afterwards: bool

    def copy(self, to):
        """The folder of this training, in another place."""
        return shutil.copytree(self.folder, to / "copy")


MOMENTUM = {"sgd": {"momentum": 0.9, "nesterov": True}}
SETTINGS = FitSettings(epochs=4, optimizer=MOMENTUM, penalties=(Penalty(l2=1e-3),), seed=5)


@pytest.fixture(scope="module")
def train(make_blobs, tmp_path_factory):
    from tensorflow.python.framework import config

    def run(model, settings, *callbacks):
        folder, heard = tmp_path_factory.mktemp("training") / "whole", []
        listener = Listener(lambda *news: heard.append(news))
        copies = [callback(folder) for callback in callbacks]
        history = trainer.fit(model, splits(*make_blobs()), settings, folder, copies, listener)
        return Training(model, history, settings, folder, heard, config.is_op_determinism_enabled()), *copies

    return run


@pytest.fixture(scope="module")
def whole(train):
    return train(random_net(), SETTINGS)[0]


@pytest.fixture(scope="module")
def stopped_early(train):
    """A training that early stopping ends, and what was left of it in the middle of each epoch."""
    early = {"monitor": "val_loss", "patience": 2, "restore_best_weights": True}
    # A learning rate this high makes the validation loss rise after the first epochs.
    settings = FitSettings(epochs=12, optimizer={"sgd": {"learning_rate": 30}}, early_stopping=early, seed=2)
    return train(build(), settings, Copies)


def test_the_same_seed_gives_the_same_weights_beside_a_backup_that_was_being_written(whole, data, tmp_path):
    again = random_net()
    unfinished = tmp_path / BACKUP / "new"
    unfinished.mkdir(parents=True)
    (unfinished / "model.weights.h5").write_bytes(b"half")
    trainer.fit(again, data, SETTINGS, tmp_path)
    assert equal(whole.model, again)


def test_another_seed_gives_other_weights(whole, data, tmp_path):
    other = random_net(eagerly=True)  # which is quicker, and differs by far less than what is looked for
    trainer.fit(other, data, replace(SETTINGS, seed=6), tmp_path)
    assert not np.allclose(whole.model.layers[-1].kernel, other.layers[-1].kernel, rtol=0, atol=1e-3)


def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(whole, data, tmp_path):
    resumed = random_net()
    with pytest.raises(Interrupted):
        trainer.fit(random_net(), data, SETTINGS, tmp_path, [Interrupt(2)])
    said = []
    listener = trainer.Listener(note=said.append)
    assert trainer.fit(resumed, data, SETTINGS, tmp_path, listener=listener) == whole.history
    assert equal(whole.model, resumed)
    assert [line.split(" of ")[0] for line in said] == ["goes on after epoch 2"]
    assert len(whole.history["val_loss"]) == 4


OPTIMIZERS = [
    "adam",
    MOMENTUM,
    {"adam": {"learning_rate": {"cosine": {"initial_learning_rate": 0.01}}}},
]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_interrupted_training_of_a_convolution_ends_with_the_weights_of_an_uninterrupted_one(
    optimizer, data, tmp_path
):
    settings = replace(SETTINGS, optimizer=optimizer)
    start = keras.initializers.GlorotUniform(seed=1)  # a layer draws its own before the net is seeded
    nets = (random_net(layers.Conv2D(4, 3, activation="relu", kernel_initializer=start)) for _ in range(3))
    whole, cut, resumed = nets
    history = trainer.fit(whole, data, settings, tmp_path / "whole")
    with pytest.raises(Interrupted):
        trainer.fit(cut, data, settings, tmp_path / "cut", [Interrupt(2)])
    assert trainer.fit(resumed, data, settings, tmp_path / "cut") == history
    assert equal(whole, resumed)


def test_an_interrupted_pruning_ends_with_the_weights_of_an_uninterrupted_one(data, tmp_path):
    settings = FitSettings(epochs=4, optimizer="sgd", seed=5)

    def pruning():
        return MagnitudePruning(sparsity=0.8, begin=1, end=17, frequency=4)

    whole, resumed, last, copies = build(), build(), pruning(), Copies(tmp_path / "whole")
    trainer.fit(whole, data, settings, tmp_path / "whole", [pruning(), copies])
    trainer.fit(resumed, data, settings, copies.at(2), [last])
    assert equal(whole, resumed)
    assert last.step == 20


def test_early_stopping_goes_on_counting_where_it_was_interrupted(stopped_early, data):
    (whole, copies), resumed = stopped_early, build()
    epochs = len(whole.history["loss"])
    assert epochs < 12
    assert trainer.fit(resumed, data, whole.settings, copies.at(epochs - 1)) == whole.history
    assert equal(whole.model, resumed)


@pytest.mark.parametrize("early", [False, True])
def test_a_training_that_was_over_is_not_trained_again(early, data, tmp_path, request):
    first = request.getfixturevalue("stopped_early")[0] if early else request.getfixturevalue("whole")
    second, told = build() if early else random_net(), []
    listener = Listener(epoch=lambda *news: told.append(news))
    assert trainer.fit(second, data, first.settings, first.copy(tmp_path), listener=listener) == first.history
    assert told == []
    assert equal(first.model, second)


def test_a_loss_that_is_not_a_number_stops_with_the_epoch_and_the_step(data, tmp_path):
    settings = FitSettings(epochs=3, optimizer={"sgd": {"learning_rate": 1e30}}, loss="mse")
    broken = Data(*(Split(s.x, np.eye(4, dtype=np.float32)[s.y]) for s in (data.train, data.validation, data.test)))
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(8), layers.Dense(4)])
    with pytest.raises(TrainingError, match=r"in epoch 1 at step \d"):
        trainer.fit(model, broken, settings, tmp_path)


def test_the_listener_hears_every_epoch(whole):
    assert [(epoch, epochs) for epoch, epochs, _ in whole.heard] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all({"loss", "val_loss", "accuracy"} <= set(logs) for _, _, logs in whole.heard)


def test_determinism_and_the_models_regularizers_end_with_the_training(whole):
    assert not whole.deterministic_afterwards
    assert all(v.regularizer is None for v in whole.model.trainable_variables)


def test_a_training_step_is_traced_once(data, tmp_path):
    traced = []

    class Counted(keras.Model):
        def train_step(self, batch):
            traced.append(self)
            return super().train_step(batch)

    outer = build()
    model = Counted(outer.inputs, outer.outputs)
    model.compile("adam", "sparse_categorical_crossentropy")
    trainer.fit(model, data, FitSettings(epochs=2), tmp_path)
    assert len(traced) == 1


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


def logits(*names):
    """A compiled model whose outputs are logits, one or several, and data for it."""
    x = layers.Input((3,))
    outputs = {name: layers.Dense(1, name=name)(x) for name in names}
    model = keras.Model(x, outputs if len(names) > 1 else outputs[names[0]])
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    y = np.array([[0], [1]] * 4)
    split = Split(5 * np.eye(8, 3, dtype=np.float32) - 2, dict.fromkeys(names, y) if len(names) > 1 else y)
    return model, Data(split, split, split)


@pytest.mark.parametrize("loss", ["binary_crossentropy", {"binary_crossentropy": {"label_smoothing": 0.1}}])
def test_where_the_recipes_loss_takes_logits_for_probabilities_the_way_out_is_the_recipes(loss, one_line):
    model, data = logits("spoken")
    check_targets(model, data, None)
    check_targets(model, data, {"binary_crossentropy": {"from_logits": True}})
    with pytest.raises(ModelError, match="the recipe's loss takes them for probabilities") as caught:
        check_targets(model, data, loss)
    assert one_line(caught).endswith("write loss: {binary_crossentropy: {from_logits: true}}.")
    assert caught.value.field == ("loss",)


def test_of_several_outputs_the_way_out_names_the_one():
    model, data = logits("spoken", "loud")
    with pytest.raises(ModelError, match=r"write loss: \{loud: \{binary_crossentropy: \{from_logits: true\}\}\}"):
        check_targets(model, data, {"loud": "binary_crossentropy"})


def test_where_the_models_own_loss_takes_logits_for_probabilities_the_way_out_is_to_compile_it():
    model, data = logits("spoken")
    model.compile(loss="binary_crossentropy")
    with pytest.raises(ModelError, match=r"the model's loss takes .* or compile it with from_logits=True") as caught:
        check_targets(model, data, None)
    assert caught.value.field == ("model",)


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


@pytest.mark.parametrize("named", [False, True])
def test_the_loss_of_one_of_several_outputs_keeps_its_weight(named, tmp_path):
    x = layers.Input((3,))
    first, second = layers.Dense(2, name="first")(x), layers.Dense(2, name="second")(x)
    model = keras.Model(x, {"first": first, "second": second} if named else [first, second])
    model.compile("sgd", {"second": "mse"}, loss_weights={"second": 0.25})
    split = Split(np.ones((4, 3), np.float32), {"second": np.ones((4, 2), np.float32)})
    untrained = model.get_layer("first").get_weights()
    whole = np.mean((np.asarray(model(split.x)["second"] if named else model(split.x)[1]) - 1) ** 2)
    history = trainer.fit(model, Data(split, split, split), FitSettings(epochs=1), tmp_path)
    assert history["loss"] == [pytest.approx(0.25 * whole, rel=1e-4)]
    assert all(np.array_equal(*pair) for pair in zip(untrained, model.get_layer("first").get_weights(), strict=True))
