"""`tfopt.sparsity.remove`: a smaller ordinary model, and what became of each layer."""

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.errors import InputError, ModelError
from tfopt.quantization import convert
from tfopt.sparsity.structured.dependency_graph import read
from tfopt.sparsity.structured.removal import as_rows, reestimate


def network():
    stack = [layers.Conv2D(32, 3, use_bias=False, name="conv"), layers.BatchNormalization(name="norm"), layers.ReLU()]
    stack += [layers.Flatten(), layers.Dense(32, activation="relu", name="hidden"), layers.Dense(4, name="head")]
    model = keras.Sequential([layers.Input((8, 8, 1)), *stack], name="small")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"], run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def weights(make_blobs):
    """Those of the network, trained once."""
    keras.utils.set_random_seed(3)
    model = network()
    model.fit(*make_blobs(), batch_size=64, epochs=3, verbose=0)
    return model.get_weights()


@pytest.fixture
def trained(weights):
    """The trained network, each test's own."""
    model = network()
    model.set_weights(weights)
    return model


SCORES = ["l1", "l2", "activity", "batchnorm", "taylor", "random"]


@pytest.mark.parametrize("score", SCORES)
def test_half_of_a_trained_model(trained, blobs, score):
    x, y = blobs
    before = trained.get_weights()
    removal = tfopt.sparsity.remove(trained, score=score, x=x, y=y)
    smaller = removal.model
    dense = 32 if score == "batchnorm" else 16  # it says nothing of layers without a BatchNormalization
    assert {layer.name: layer.output.shape[-1] for layer in smaller.layers if layer.weights} == {
        "conv": 16,
        "norm": 16,
        "hidden": dense,
        "head": 4,
    }
    assert removal.total("parameters") == (trained.count_params(), smaller.count_params())
    assert (smaller.name, smaller.optimizer.learning_rate, smaller.loss) == ("small", 2e-3, trained.loss)
    for value, now in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.sample(1)
def test_half_of_a_trained_model_learns_on(trained, blobs, score):
    x, y = blobs
    smaller = tfopt.sparsity.remove(trained, score=score, x=x, y=y).model
    smaller.fit(x, y, epochs=2, verbose=0)
    assert smaller.evaluate(x, y, batch_size=256, verbose=0, return_dict=True)["accuracy"] > 0.9


def test_what_is_left_are_the_best_channels_and_nothing_else_changes(trained):
    removal = tfopt.sparsity.remove(trained, 0.25, score="l1", only="hidden")
    kernel, head = trained.get_layer("hidden").kernel.numpy(), trained.get_layer("head").kernel.numpy()
    best = np.sort(np.argsort(np.abs(kernel).sum(0) + np.abs(head).sum(1))[-8:])
    np.testing.assert_array_equal(removal.model.get_layer("hidden").kernel, kernel[:, best])
    np.testing.assert_array_equal(removal.model.get_layer("head").kernel, head[best])
    np.testing.assert_array_equal(removal.model.get_layer("conv").kernel, trained.get_layer("conv").kernel)
    assert ("conv", "left out by only/skip") in removal.skipped


def test_the_table_of_every_layer(trained):
    removal = tfopt.sparsity.remove(trained)
    assert as_rows(removal.layers)[0] == {
        "path": "conv",
        "kind": "Conv2D",
        "channels": [32, 16],
        "parameters": [32 * 9, 16 * 9],
        "flops": [2 * 36 * 32 * 9, 2 * 36 * 16 * 9],
    }
    assert [layer.path for layer in removal.layers] == ["conv", "norm", "hidden", "head"]
    lines = str(removal).splitlines()
    assert lines[1].split() == ["conv", "32", "→", "16", "288", "→", "144", "20,736", "→", "10,368"]
    assert lines[4].split()[:2] == ["head", "4"]
    assert lines[-1].startswith("all")
    assert len({len(line) for line in lines}) == 1


def test_a_budget_that_the_model_meets_removes_nothing_and_says_so(trained):
    with pytest.warns(tfopt.TfoptWarning, match="nothing was removed: the model has .* within the 1,000,000 asked for"):
        removal = tfopt.sparsity.remove(trained, 1e6, "parameters")
    assert removal.model.count_params() == trained.count_params()
    assert removal.skipped[-1] == ("all layers", str(removal.fit))


def test_the_table_ends_with_what_is_left_of_the_budget(trained):
    removal = tfopt.sparsity.remove(trained, 0.5, "flops")
    assert str(removal).splitlines()[-1] == str(removal.fit)
    before, after = removal.total("flops")
    assert (removal.fit.before, removal.fit.after, removal.fit.share) == (before, after, after / before)


def test_the_int8_file_is_smaller_and_runs(trained, blobs):
    x, y = blobs
    smaller = tfopt.sparsity.remove(trained, 0.5, "bytes", score="taylor", round_to=16, x=x, y=y).model
    files = [convert(model, "int8", x) for model in (trained, smaller)]
    assert len(files[1]) <= 0.5 * len(files[0])


def test_the_statistics_of_a_batch_normalization_are_the_mean_over_batches(trained, blobs):
    x, _ = blobs
    normalization = trained.get_layer("norm")
    conv = keras.Model(trained.inputs[0], trained.get_layer("conv").output)
    batches = [conv(x[start : start + 64]).numpy() for start in range(0, 256, 64)]
    momentum = normalization.momentum
    reestimate(trained, x)
    mean = np.mean([batch.mean((0, 1, 2)) for batch in batches], axis=0)
    variance = np.mean([batch.var((0, 1, 2)) for batch in batches], axis=0)
    np.testing.assert_allclose(normalization.moving_mean, mean, atol=1e-5)
    np.testing.assert_allclose(normalization.moving_variance, variance, rtol=1e-4)
    assert normalization.momentum == momentum


def test_few_samples_are_one_batch_and_no_batch_normalization_is_nothing(trained, blobs):
    reestimate(trained, blobs[0][:10])
    assert np.isfinite(trained.get_layer("norm").moving_variance).all()
    plain = keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    reestimate(plain, np.zeros((4, 3)))


def several():
    """Inputs and outputs by name, in mixed precision, with regularizers, constraints and a frozen layer."""
    policy = "mixed_bfloat16"
    one, other = layers.Input((6,), name="one"), layers.Input((5,), name="other")
    settings = {"kernel_regularizer": keras.regularizers.L2(0.01), "bias_constraint": keras.constraints.NonNeg()}
    a = layers.Dense(16, name="a", dtype=policy, **settings)(one)
    b = layers.Dense(16, name="b", dtype=policy, trainable=False)(other)
    joined = layers.Add(dtype=policy)([a, b])
    outputs = {
        "sum": layers.Dense(2, name="sum", dtype="float32")(joined),
        "gate": layers.Dense(1, name="gate", dtype="float32")(layers.Dense(8, name="inner")(a)),
    }
    return keras.Model({"one": one, "other": other}, outputs)


def test_names_precision_regularizers_and_frozen_layers_are_kept(tmp_path):
    model = several()
    model.compile("adam", {"sum": "mse", "gate": "mae"}, loss_weights={"sum": 2.0, "gate": 1.0}, run_eagerly=True)
    removal = tfopt.sparsity.remove(model, round_to=4)
    smaller = removal.model
    x = {"one": np.ones((3, 6), np.float32), "other": np.ones((3, 5), np.float32)}
    assert set(smaller(x)) == {"sum", "gate"}
    assert {name: smaller.get_layer(name).units for name in ("a", "b", "inner")} == {"a": 8, "b": 8, "inner": 4}
    a, b = smaller.get_layer("a"), smaller.get_layer("b")
    assert (a.dtype_policy.name, a.kernel_regularizer.l2, b.trainable) == ("mixed_bfloat16", 0.01, False)
    assert type(a.bias_constraint) is keras.constraints.NonNeg
    smaller.optimizer.build(smaller.trainable_variables)
    smaller.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again(x)["sum"], smaller(x)["sum"], atol=1e-6)
    smaller.fit(x, {"sum": np.ones((3, 2)), "gate": np.ones((3, 1))}, verbose=0)


def test_the_only_channel_of_a_layer_stays():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(1), layers.Dense(2)])
    structure = read(model)
    with pytest.warns(tfopt.TfoptWarning, match="1 of 1 channels are left"):
        removal = tfopt.sparsity.remove(model)
    assert removal.model.layers[0].units == 1
    assert len(structure.families) == 1


def test_a_cut_twice_is_a_cut(trained):
    once = tfopt.sparsity.remove(trained, 0.5).model
    twice = tfopt.sparsity.remove(once, 0.5).model
    assert [layer.output.shape[-1] for layer in twice.layers if layer.weights] == [8, 8, 8, 4]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"score": "best"}, InputError, "best"),
        ({"keep": 0}, InputError, "above 0 and below 1"),
        ({"keep": 1.0}, InputError, "of channels a share alone"),
        ({"unit": "neurons"}, InputError, "neurons"),
        ({"score": "activity"}, InputError, "samples"),
        ({"score": "taylor", "x": np.zeros((4, 8, 8, 1), np.float32)}, InputError, "labels"),
        ({"only": "convolution"}, ModelError, "matches no layer"),
        ({"round_to": 0}, InputError, "round_to"),
    ],
)
def test_what_is_refused(trained, settings, error, message):
    with pytest.raises(error, match=message):
        tfopt.sparsity.remove(trained, **settings)


def test_random_scores_follow_the_seed(trained):
    kernels = [
        tfopt.sparsity.remove(trained, score="random", seed=seed).model.get_layer("conv").kernel.numpy()
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
