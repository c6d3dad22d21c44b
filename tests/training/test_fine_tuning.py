"""A finished model on new data: frozen layers stay, slow ones learn slowly, a new head learns other classes."""

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.data.labels import balanced_weights
from tfopt.data.splits import Data, Oversampled, Reading, Split
from tfopt.errors import DataError, InputError, ModelError, RecipeError
from tfopt.models.head import replace_head
from tfopt.training import trainer
from tfopt.training.fit_settings import FitSettings
from tfopt.training.layer_rates import factors_of


def net(classes=4, normalized=False, eagerly=False):
    keras.utils.set_random_seed(3)
    inputs = layers.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, name="conv_a")(inputs)
    x = layers.BatchNormalization(name="norm")(x) if normalized else x
    x = layers.Conv2D(4, 3, activation="relu", name="conv_b")(x)
    x = layers.Dense(8, activation="relu", name="wide")(layers.Flatten()(x))
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax", name="old_head")(x), name="net")
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eagerly)
    return model


def settings_of_a_step(**more):
    """A training of one step of all samples, which is quicker run eagerly than traced."""
    return FitSettings(**{"epochs": 1, "batch_size": 256, "optimizer": "sgd", **more})


@pytest.fixture
def data(blobs):
    split = Split(*blobs)
    return Data(split, split, split)


def weights(model):
    return {variable.path: variable.numpy() for variable in model.variables if "seed" not in variable.path}


def moved(model, before):
    return {path: np.abs(value - before[path]).max() for path, value in weights(model).items()}


# Freezing


def test_frozen_layers_stay_and_are_free_again_afterwards(data, tmp_path):
    model = net(normalized=True)
    before, trainable = weights(model), len(model.trainable_variables)
    trainer.fit(model, data, FitSettings(epochs=1, optimizer="sgd", freeze=("conv_a", "BatchNormalization")), tmp_path)
    change = moved(model, before)
    assert {path for path, by in change.items() if by == 0} == {p for p in before if "conv_a" in p or "norm" in p}
    assert len(model.trainable_variables) == trainable


def test_what_the_user_froze_stays_frozen(data, tmp_path):
    model = net(eagerly=True)
    model.get_layer("conv_b").trainable = False
    before = weights(model)
    trainer.fit(model, data, settings_of_a_step(freeze=("conv_a",)), tmp_path)
    assert moved(model, before)["conv_b/kernel"] == 0
    assert model.get_layer("conv_b").trainable is False
    assert model.get_layer("conv_a").trainable is True


def test_a_nested_model_is_frozen_as_one(data, tmp_path):
    keras.utils.set_random_seed(0)
    body = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(6, name="inner")], name="body")
    model = keras.Sequential([layers.Input((8, 8, 1)), body, layers.Dense(4, activation="softmax", name="head")])
    model.compile(loss="sparse_categorical_crossentropy", run_eagerly=True)
    before = weights(model)
    trainer.fit(model, data, settings_of_a_step(freeze=("body",)), tmp_path)
    change = moved(model, before)
    assert {path.split("/")[-2] for path, by in change.items() if by} == {"head"}


def test_a_frozen_training_goes_on_where_it_was_interrupted(data, interrupted, tmp_path):
    settings = settings_of_a_step(epochs=3, freeze=("conv*",), rates={"wide": 0.1}, optimizer="momentum")
    whole, broken, again = (net(eagerly=True) for _ in range(3))
    trainer.fit(whole, data, settings, tmp_path / "whole")
    interrupted(lambda stop: trainer.fit(broken, data, settings, tmp_path / "parts", [stop]))
    assert all(layer.trainable for layer in broken.layers)
    trainer.fit(again, data, settings, tmp_path / "parts")
    for path, value in weights(whole).items():
        np.testing.assert_array_equal(value, weights(again)[path])


# Rates


@pytest.mark.parametrize("optimizer", ["adam", "momentum", {"proximal_adam": {"l1": 0.0}}, "sam"])
@pytest.mark.sample(1)
def test_a_rate_multiplies_the_step_of_its_layers(optimizer, data, tmp_path):
    """In one step of all samples: the change of a layer is its share of what it is without rates."""
    changes = []
    for rates in ({}, {"conv*": 0.1, "conv_b": 0.5, "old_head": 0.0}):
        model = net(eagerly=not rates)  # the step that has rates is the one that is traced
        before = weights(model)
        settings = settings_of_a_step(optimizer=optimizer, rates=rates)
        trainer.fit(model, data, settings, tmp_path / str(len(rates)))
        changes.append({path: value - before[path] for path, value in weights(model).items()})
    plain, rated = changes
    for path, factor in {"conv_a/kernel": 0.1, "conv_b/kernel": 0.5, "wide/kernel": 1, "old_head/kernel": 0}.items():
        np.testing.assert_allclose(rated[path], factor * plain[path], rtol=1e-3, atol=2e-7)


def test_the_optimizer_is_its_own_again_afterwards(data, tmp_path):
    model = net(eagerly=True)
    trainer.fit(model, data, settings_of_a_step(rates={"conv*": 0.1}), tmp_path)
    assert "update_step" not in vars(model.optimizer)
    model.save(tmp_path / "m.keras")
    assert type(keras.models.load_model(tmp_path / "m.keras").optimizer) is type(model.optimizer)


@pytest.mark.parametrize("settings", [{"freeze": ("Exp",)}, {"rates": {"Exp": 0.1}}])
def test_a_pattern_that_names_an_operation_alone_says_that_it_has_no_weights(settings):
    x = layers.Input((4,))
    model = keras.Model(x, keras.ops.exp(layers.Dense(3, name="head")(x)))
    model.compile("sgd", "mse")
    with pytest.raises(ModelError, match="an operation between layers, which has no weights"):
        trainer.check_trainable(model, FitSettings(epochs=1, **settings))


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"freeze": ("cnv*",)}, ModelError, "the pattern 'cnv\\*' of 'freeze' matches no layer"),
        ({"freeze": ("*",)}, ModelError, "nothing is left to train"),
        ({"rates": {"cnv": 0.1}}, ModelError, "the pattern 'cnv' of 'rates' matches no layer"),
        ({"rates": {"wide": 0.1}, "optimizer": "newton_cg"}, InputError, "newton_cg searches for its own step"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused(settings, error, sentence):
    model = net()
    with pytest.raises(error, match=sentence):
        trainer.check_trainable(model, FitSettings(epochs=1, **settings))
    assert all(layer.trainable for layer in model.layers)


def test_a_negative_rate_is_no_factor():
    with pytest.raises(RecipeError, match="factors of the learning rate are 0 or above"):
        tfopt.Train(epochs=1, rates={"conv": -1.0})


# Heads


def test_the_head_is_replaced_and_the_rest_is_the_models_own():
    model = net()
    new = replace_head(model, 7, dropout=0.3)
    assert new.output_shape == (None, 7)
    assert [layer.name for layer in new.layers][-3:] == ["wide", "head_dropout", "head"]
    assert new.get_layer("conv_a") is model.get_layer("conv_a")
    assert (new.name, new.loss) == ("net", model.loss)
    assert new.layers[-1].kernel.shape == (8, 7)


@pytest.mark.parametrize("end", ["softmax", "dropout"])
def test_what_comes_after_the_last_dense_layer_goes_with_it(end):
    after = layers.Softmax() if end == "softmax" else layers.Dropout(0.5)
    model = keras.Sequential([layers.Input((4,)), layers.Dense(6, name="a"), layers.Dense(3, name="b"), after])
    new = replace_head(model, 2, "linear")
    assert [layer.name for layer in new.layers][1:] == ["a", "head"]


def test_a_head_is_replaced_again_and_layers_of_one_name_have_their_own_rates():
    again = replace_head(replace_head(net(), 7, dropout=0.3), 3, dropout=0.2)
    assert [layer.name for layer in again.layers][-3:] == ["wide", "head_dropout_2", "head_2"]
    subs = [keras.Sequential([layers.Input((3,)), layers.Dense(2, name="d")], name=name) for name in "ab"]
    inputs = layers.Input((3,))
    model = keras.Model(inputs, layers.Add()([sub(inputs) for sub in subs]))
    found = factors_of(model, {"a": 0.5})
    assert set(found) == {id(variable) for variable in subs[0].trainable_variables}


@pytest.mark.parametrize("shape", [(8, 8, 1), (16, 3)])
def test_feature_maps_are_averaged_first(shape):
    conv = layers.Conv2D if len(shape) == 3 else layers.Conv1D
    model = keras.Sequential([layers.Input(shape), conv(5, 3)])
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    new = replace_head(model, 2, "linear")
    maps = model(x).numpy()
    pooled = maps.mean(axis=tuple(range(1, maps.ndim - 1)))
    np.testing.assert_allclose(new(x), pooled @ new.layers[-1].kernel.numpy(), rtol=1e-4, atol=1e-5)


def test_a_head_may_go_anywhere():
    new = replace_head(net(), 3, at="conv_b")
    assert "wide" not in [layer.name for layer in new.layers]
    with pytest.raises(ModelError, match=r"no layer 'conv_c'. Layers: .*conv_b"):
        replace_head(net(), 3, at="conv_c")


def test_several_outputs_and_subclassed_models_have_no_one_head():
    inputs = layers.Input((3,))
    two = keras.Model(inputs, [layers.Dense(2, name="a")(inputs), layers.Dense(2, name="b")(inputs)])
    with pytest.raises(ModelError, match="this one has a, b"):
        replace_head(two, 3)

    class Own(keras.Model):
        pass

    with pytest.raises(ModelError, match="not in Own"):
        replace_head(Own(), 3)


RECIPE = """
name: r
model: {applications:MobileNetV2: {weights: null, input_shape: [32, 32, 3], alpha: 0.35, classes: 10}}
data: data.py:load
loss: sparse_categorical_crossentropy
stages:
  - replace_head: {units: 4, dropout: 0.1}
  - train: {epochs: 1, freeze: "block_*"}
  - train: {name: all, epochs: 1, rates: {"block_*": 0.1}}
"""
DATA = """
import numpy as np
def load():
    generator = np.random.default_rng(0)
    x, y = generator.random((40, 32, 32, 3)).astype(np.float32), np.arange(40) % 4
    return (x, y), (x[:8], y[:8])
"""


@pytest.mark.slow
def test_a_recipe_gives_a_network_by_name_other_classes(tmp_path):
    (tmp_path / "data.py").write_text(DATA)
    (tmp_path / "r.yaml").write_text(RECIPE.replace("applications:", "keras.applications:"))
    result = tfopt.run(tmp_path / "r.yaml", tmp_path / "out")
    models = {name: keras.models.load_model(a.path) for name, a in result.artifacts.items()}
    assert models["all"].output_shape == (None, 4)
    before, frozen, free = (
        {v.path: v.numpy() for v in models[name].variables} for name in ("replace_head", "train", "all")
    )
    kernels = [path for path in frozen if path.startswith("block_3_expand/kernel")]
    assert kernels
    for path in kernels:
        np.testing.assert_array_equal(before[path], frozen[path])
        assert not np.array_equal(frozen[path], free[path])
    assert not np.array_equal(before["head/kernel"], frozen["head/kernel"])


# Hard data

IDS = np.repeat([0, 1, 2], [90, 9, 1])


@pytest.mark.parametrize("labels", [IDS, IDS[:, None], np.eye(3)[IDS], IDS.astype(np.float32)])
def test_balanced_weights_make_every_class_count_the_same(labels):
    found = balanced_weights(labels)
    assert found == pytest.approx({0: 100 / 270, 1: 100 / 27, 2: 100 / 3})


def test_oversampling_shows_every_class_as_often_as_the_largest_and_each_sample_about_as_often():
    split = Oversampled(np.arange(100.0)[:, None], IDS)
    assert len(split) == 270
    read = list(split.training(Reading(32, 0, 0, 2)).as_numpy_iterator())
    assert len(read) == 2 * 9
    for epoch in (read[:9], read[9:]):
        assert np.bincount(np.concatenate([y for _, y in epoch])).tolist() == [90, 90, 90]
        times = np.bincount(np.concatenate([x for x, _ in epoch]).ravel().astype(int))
        assert times[:90].tolist() == [1] * 90
        assert set(times[90:99]) == {10}
    assert not np.array_equal(read[0][0], read[9][0])
    again = list(split.training(Reading(32, 0, 1, 2)).as_numpy_iterator())
    np.testing.assert_array_equal(again[0][0], read[9][0])


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({"a": IDS, "b": IDS}, "labels of one output, and these are of a, b"),
        (np.linspace(0, 1, 100), "class ids, one a sample"),
        (np.zeros((100, 3, 3)), "class ids, one a sample"),
    ],
)
def test_what_are_no_classes_is_not_weighed(labels, sentence):
    with pytest.raises(DataError, match=sentence):
        balanced_weights(labels)


def rare(y):
    """Which samples stay of blobs whose last class becomes rare."""
    return np.flatnonzero((y != 3) | (np.cumsum(y == 3) <= 3))


def test_class_weights_are_those_of_keras(data, tmp_path, blobs):
    x, y = blobs
    kept = rare(y)
    split = Split(x[kept], y[kept])
    found = {}
    for name, given in (("named", {0: 1.0, 1: 2.0, 2: 0.5, 3: 20.0}), ("balanced", "balanced")):
        settings = settings_of_a_step(class_weight=given, batch_size=len(kept))
        history = trainer.fit(net(eagerly=True), Data(split, data.validation, data.test), settings, tmp_path / name)
        table = given if isinstance(given, dict) else balanced_weights(y[kept])
        fresh = net()
        losses = keras.losses.sparse_categorical_crossentropy(y[kept], fresh(x[kept], training=True)).numpy()
        found[name] = history["loss"][0]
        assert found[name] == pytest.approx((losses * [table[label] for label in y[kept]]).mean(), rel=1e-4)


def stage(tmp_path, **settings):
    (tmp_path / "net.py").write_text(
        "import keras\nfrom keras import layers\n"
        "def build():\n    return keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), "
        "layers.Dense(4, activation='softmax')])\n"
    )
    return tfopt.Recipe(
        name="r",
        model=str(tmp_path / "net.py:build"),
        data=f"npz:{tmp_path}/d.npz",
        loss="sparse_categorical_crossentropy",
        metrics=["balanced_accuracy"],
        stages=[tfopt.Train(epochs=15, **settings)],
    )


@pytest.fixture
def imbalanced(tmp_path, blobs):
    x, y = blobs
    kept = rare(y[:192])
    np.savez(
        tmp_path / "d.npz",
        x_train=x[kept] + np.random.default_rng(0).normal(0, 1.5, x[kept].shape),
        y_train=y[kept],
        x_test=x[192:] + np.random.default_rng(1).normal(0, 1.5, x[192:].shape),
        y_test=y[192:],
    )
    return tmp_path


@pytest.mark.slow
def test_each_way_to_balance_finds_more_of_the_rare_class(imbalanced):
    found = {}
    for name, settings in (
        ("nothing", {}),
        ("class_weight", {"class_weight": "balanced"}),
        ("oversample", {"oversample": True}),
    ):
        result = tfopt.run(stage(imbalanced, **settings), imbalanced / name)
        found[name] = result.metrics["balanced_accuracy"]
    assert found["class_weight"] > found["nothing"]
    assert found["oversample"] > found["nothing"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"class_weight": {0: 1.0, 1: 2.0}}, "class_weight says nothing of class 2"),
        ({"class_weight": "balanced", "oversample": True}, "Leave one out"),
    ],
)
def test_what_cannot_be_balanced_is_refused(imbalanced, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        tfopt.validate(stage(imbalanced, **settings))


def test_a_word_for_class_weights_is_refused():
    with pytest.raises(RecipeError, match="class_weight"):
        tfopt.Train(epochs=1, class_weight="equal")
