import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.callbacks import ClosureStep, Distillation, MagnitudePruning
from tfopt.errors import InputError, ModelError, TfoptWarning
from tfopt.optimizers import SAM, AdaHessian, Closure, NewtonCG

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def net(dropout=0.0, normalized=True):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, kernel_regularizer="l2", name="conv"),
            keras.layers.BatchNormalization(name="norm") if normalized else keras.layers.Activation("silu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(dropout),
            keras.layers.ActivityRegularization(l2=1e-3),
            keras.layers.Dense(4, activation="tanh", name="head"),
        ]
    )


def closure(model, blobs, count=32):
    x, y = blobs
    model.compile("adam", LOSS)
    return Closure(model, keras.ops.convert_to_tensor(x[:count]), keras.ops.convert_to_tensor(y[:count]))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_loss_is_the_same_function_every_time_and_asking_for_it_changes_nothing(blobs, dropout):
    model = net(dropout)
    found = closure(model, blobs)
    before = [variable.numpy() for variable in model.variables]
    here = float(found.loss_at(found.weights))
    assert here == pytest.approx(float(found.loss), rel=1e-6)
    there = float(found.loss_at([weight + 0.1 for weight in found.weights]))
    assert abs(there - here) > 1e-3
    assert float(found.loss_at([weight + 0.1 for weight in found.weights])) == there
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_the_gradient_is_that_of_finite_differences_penalties_included(blobs):
    model = net()
    found = closure(model, blobs)
    direction = [np.random.default_rng(1).normal(size=w.shape).astype(np.float32) for w in found.weights]
    step = 1e-3
    ahead, behind = (
        float(found.loss_at([w + sign * step * d for w, d in zip(found.weights, direction, strict=True)]))
        for sign in (1, -1)
    )
    slope = sum(float(np.sum(g.numpy() * d)) for g, d in zip(found.gradients, direction, strict=True))
    assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=2e-2)
    for mine, other in zip(found.gradients, found.gradients_at(found.weights), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)


def test_the_hessian_product_is_the_difference_of_gradients(blobs):
    found = closure(net(normalized=False), blobs)
    direction = [np.random.default_rng(1).normal(size=w.shape).astype(np.float32) for w in found.weights]
    gradients, products = found.hessian_product(direction)
    step = 2e-4
    ahead, behind = (
        found.gradients_at([w + sign * step * d for w, d in zip(found.weights, direction, strict=True)])
        for sign in (1, -1)
    )
    expected = [(a - b).numpy() / (2 * step) for a, b in zip(ahead, behind, strict=True)]
    flat, wanted = (np.concatenate([np.ravel(part) for part in parts]) for parts in (products, expected))
    assert np.linalg.norm(flat - wanted) < 2e-3 * np.linalg.norm(wanted)
    for mine, other in zip(gradients, found.gradients, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("batch_size", "warned"), [(64, True), (256, False)])
def test_newtons_method_on_mini_batches_is_warned_of(blobs, batch_size, warned):
    x, y = blobs
    model = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    model.compile(NewtonCG(iterations=1), LOSS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, y, batch_size=batch_size, verbose=0, callbacks=[ClosureStep()])
    said = [str(one.message) for one in caught if one.category is TfoptWarning]
    assert len(said) == warned
    assert not warned or ("batch_size: full" in said[0] and "Received: 4 batches" in said[0])


def test_other_optimizers_take_batches_of_any_size():
    assert SAM("sgd").batches_warning(100) is None
    assert AdaHessian().batches_warning(100) is None
    assert NewtonCG().batches_warning(None) is None


@pytest.mark.slow
def test_hutchinsons_mean_is_the_diagonal_of_the_hessian():
    """A linear model with a squared loss, whose Hessian is x^T x / n with a window of one."""
    x = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
    y = x.sum(axis=1, keepdims=True)
    dense = keras.layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.layers.Input((5,)), dense])
    model.compile(AdaHessian(0.0 + 1e-9), lambda y, p: 0.5 * keras.ops.square(y - p)[:, 0])
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(model.optimizer._diagonals[0].numpy()[:, 0])
    )
    steps = tf.data.Dataset.from_tensors((x, y)).repeat(2000)
    model.fit(steps, verbose=0, callbacks=[ClosureStep(), look])
    exact = np.diag(x.T @ x / 64)
    assert np.std(seen, axis=0).min() > 0.01
    np.testing.assert_allclose(np.mean(seen, axis=0), exact, atol=0.05)


@pytest.fixture(scope="module")
def plain_and_closure_step(make_blobs):
    """What fit shows, and the moving mean: of plain steps, run eagerly as that is quicker, and of SAM's."""
    found = []
    for optimizer in (keras.optimizers.SGD(1e-9), SAM(keras.optimizers.SGD(1e-9), rho=5.0)):
        model = net()
        model.compile(optimizer, LOSS, metrics=["accuracy"], run_eagerly=not found)
        shown = model.fit(*make_blobs(), shuffle=False, verbose=0, callbacks=[ClosureStep()]).history
        found.append((shown, model.get_layer("norm").moving_mean.numpy()))
    return found


def test_the_loss_and_the_metrics_that_fit_shows_are_those_of_the_plain_step(plain_and_closure_step):
    plain, closed = (shown for shown, _ in plain_and_closure_step)
    assert plain.keys() == closed.keys()
    for name, values in plain.items():
        np.testing.assert_allclose(values, closed[name], rtol=1e-5)


def test_statistics_are_updated_once_a_step_at_the_models_own_weights(plain_and_closure_step):
    norms = [norm for _, norm in plain_and_closure_step]
    np.testing.assert_allclose(*norms, rtol=1e-5, atol=1e-7)


def test_the_model_is_its_own_again_after_fit(blobs):
    model = net(normalized=False)
    model.compile(SAM("sgd"), LOSS)
    with ClosureStep() as step:
        model.fit(*blobs, verbose=0, callbacks=[step])
        assert "train_step" not in vars(model)
    model.compile("sgd", LOSS, run_eagerly=True)
    model.fit(*blobs, verbose=0)


def test_a_plain_optimizer_is_left_alone(blobs):
    kernels = []
    for callbacks in ([], [ClosureStep()]):
        model = net()
        model.compile(keras.optimizers.SGD(0.1), LOSS, run_eagerly=True)
        model.fit(*blobs, shuffle=False, verbose=0, callbacks=callbacks)
        kernels.append(model.get_layer("head").kernel.numpy())
    np.testing.assert_array_equal(*kernels)


def test_several_inputs_and_sample_weights_reach_the_loss(blobs):
    x, y = blobs
    left, right = keras.Input((8, 8, 1), name="left"), keras.Input((8, 8, 1), name="right")
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(left), keras.layers.Flatten()(right)])
    model = keras.Model({"left": left, "right": right}, keras.layers.Dense(4)(joined))
    model.compile(SAM("sgd"), LOSS, run_eagerly=True)
    before = model.get_weights()
    data, weight = {"left": x, "right": x}, np.zeros(len(y))
    model.fit(data, y, sample_weight=weight, verbose=0, callbacks=[ClosureStep()])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.fit(data, y, sample_weight=weight + 1, verbose=0, callbacks=[ClosureStep()])
    assert not np.array_equal(before[0], model.get_weights()[0])


def test_it_works_beside_pruning_and_distillation(blobs):
    teacher, model = net(normalized=False), net(normalized=False)
    model.compile(SAM("sgd"), LOSS)
    pruning = MagnitudePruning(sparsity=0.75, frequency=4)
    callbacks = [ClosureStep(), pruning, Distillation(teacher)]
    losses = model.fit(*blobs, epochs=3, verbose=0, callbacks=callbacks).history["loss"]
    assert losses[-1] < losses[0]
    assert (model.get_layer("head").kernel.numpy() == 0).mean() == pytest.approx(0.75, abs=0.01)


def test_a_step_of_the_models_own_is_refused_with_the_way_out(blobs):
    class Own(keras.Sequential):
        def train_step(self, data):
            return {}

    model = Own([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    model.compile(SAM(), LOSS)
    with pytest.raises(ModelError, match=r"optimizer\.step\(tfopt\.optimizers\.Closure"):
        model.fit(*blobs, verbose=0, callbacks=[ClosureStep()])


def test_a_loop_of_ones_own_takes_steps(blobs):
    x, y = (keras.ops.convert_to_tensor(part[:64]) for part in blobs)
    model = net()
    model.compile(SAM(keras.optimizers.SGD(0.1)), LOSS)
    losses = []
    for _ in range(15):
        found = Closure(model, x, y)
        model.optimizer.step(found)
        losses.append(float(found.loss))
    assert losses[-1] < 0.8 * losses[0]
    with pytest.raises(InputError, match="more than the gradient"):
        model.optimizer.apply(found.gradients, model.trainable_variables)
