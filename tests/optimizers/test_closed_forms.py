"""Backpropagation and the optimizers against solutions that are known by other means."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import Lasso, Ridge

from tfopt.callbacks import ClosureStep
from tfopt.optimizers import NewtonCG, ProximalAdam, ProximalSGD, build_optimizer

SAMPLES, FEATURES = 400, 60


def task(seed=0):
    """A linear task in which few of the features count: x `(400, 60)`, y `(400, 1)`."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(SAMPLES, FEATURES))
    true = np.zeros(FEATURES)
    true[:8] = generator.normal(size=8) * 3
    y = x @ true + 0.5 * generator.normal(size=SAMPLES)
    return x.astype(np.float32), y.astype(np.float32)[:, None]


def linear(regularizer=None):
    dense = keras.layers.Dense(1, use_bias=False, kernel_regularizer=regularizer)
    return keras.Sequential([keras.layers.Input((FEATURES,)), dense])


def half_mse(y, predicted):
    """`mean (y - p)^2 / 2`, as scikit-learn's Lasso has it."""
    return 0.5 * keras.ops.mean(keras.ops.square(y - predicted), axis=-1)


def fitted(optimizer, epochs, batch_size=SAMPLES, regularizer=None):
    x, y = task()
    model = linear(regularizer)
    model.compile(optimizer, half_mse)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(SAMPLES, seed=0).batch(batch_size).repeat(epochs)
    model.fit(batches, shuffle=False, verbose=0, callbacks=[ClosureStep()])
    return model.layers[0].kernel.numpy()[:, 0]


def test_gradient_descent_on_the_whole_batch_reaches_the_solution_of_the_normal_equations():
    x, y = task()
    solution = np.linalg.solve((x.T @ x).astype(np.float64), (x.T @ y).astype(np.float64))[:, 0]
    found = fitted(build_optimizer({"gradient_descent": {"learning_rate": 0.5}}, 1), 200)
    np.testing.assert_allclose(found, solution, atol=2e-5)


@pytest.mark.parametrize(("tolerance", "steps"), [(1e-6, 1), (0.1, 4)])
def test_ridge_by_newton_takes_a_few_steps(tolerance, steps):
    x, y = task()
    alpha = 0.1
    # mean (y - p)^2 / 2 + alpha |w|^2 has the solution of scikit-learn's |y - p|^2 + a |w|^2 with a = 2 n alpha.
    solution = Ridge(alpha=2 * SAMPLES * alpha, fit_intercept=False, solver="cholesky").fit(x, y).coef_.ravel()
    found = fitted(NewtonCG(damping=0.0, tolerance=tolerance), steps, regularizer=keras.regularizers.L2(alpha))
    np.testing.assert_allclose(found, solution, atol=1e-4)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "epochs", "batch_size"),
    [
        (lambda: ProximalSGD(0.1, l1=0.1), 400, SAMPLES),
        slow(lambda: ProximalSGD(0.05, momentum=0.9, l1=0.1), 400, SAMPLES),
        slow(lambda: ProximalSGD(0.05, momentum=0.9, nesterov=True, l1=0.1), 400, SAMPLES),
        slow(lambda: ProximalAdam(0.05, l1=0.1), 1500, SAMPLES),
        slow(lambda: ProximalAdam(0.05, l1=0.1, amsgrad=True), 1500, SAMPLES),
    ],
    ids=["sgd", "momentum", "nesterov", "adam", "amsgrad"],
)
def test_the_zeros_are_those_of_scikit_learns_lasso(make, epochs, batch_size):
    x, y = task()
    lasso = Lasso(alpha=0.1, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(x, y).coef_
    found = fitted(make(), epochs, batch_size)
    np.testing.assert_array_equal(found != 0, lasso != 0)
    assert 40 < (found == 0).sum() < FEATURES
    np.testing.assert_allclose(found, lasso, atol=1e-3)


@pytest.mark.slow
def test_a_penalty_in_the_loss_leaves_no_zero_where_the_proximal_step_leaves_most():
    found = fitted(keras.optimizers.Adam(0.01), 400, regularizer=keras.regularizers.L1(0.1))
    assert (found == 0).sum() == 0
