"""The first steps of every optimizer, to the digits of a NumPy reference written from the papers."""

import keras
import numpy as np
import pytest

from tfopt.callbacks import ClosureStep
from tfopt.optimizers import SAM, AdaHessian, NewtonCG, build_optimizer

CURVATURE, BOTTOM, START = np.array([1.0, 10.0, 0.1]), np.array([1.0, -2.0, 0.0]), np.array([4.0, 3.0, -1.0])
STEPS = 6


def gradient(w):
    return CURVATURE * (w - BOTTOM)


def loss(_, place):
    return 0.5 * keras.ops.sum(CURVATURE.astype(np.float32) * (place - BOTTOM.astype(np.float32)) ** 2, axis=-1)


class Point(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.kernel = self.add_weight(shape=(3,), initializer=keras.initializers.Zeros(), name="kernel")
        self.kernel.assign(START)

    def call(self, inputs):
        return inputs * 0 + self.kernel


def path(optimizer):
    """Where the weights are after each step."""
    point = Point()
    model = keras.Sequential([keras.layers.Input((3,)), point])
    model.compile(optimizer, loss, run_eagerly=True)
    seen = []
    look = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(point.kernel.numpy()))
    zeros = np.zeros((STEPS, 3), np.float32)
    model.fit(zeros, zeros, batch_size=1, verbose=0, callbacks=[ClosureStep(), look])
    return np.array(seen)


def descent(rate=0.05):
    w = START.copy()
    for _ in range(STEPS):
        w = w - rate * gradient(w)
        yield w


def momentum(rate=0.05, beta=0.9, nesterov=False):
    w, v = START.copy(), np.zeros(3)
    for _ in range(STEPS):
        g = gradient(w)
        v = beta * v - rate * g
        w = w + (beta * v - rate * g if nesterov else v)
        yield w


def adam(rate=0.05, beta_1=0.9, beta_2=0.999, gradient=gradient):
    """Kingma and Ba, algorithm 1, with the bias corrected."""
    w, m, v = START.copy(), np.zeros(3), np.zeros(3)
    for t in range(1, STEPS + 1):
        g = gradient(w)
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        w = w - rate * m / (1 - beta_1**t) / (np.sqrt(v / (1 - beta_2**t)) + 1e-7)
        yield w


def soft(w, threshold):
    return np.sign(w) * np.maximum(np.abs(w) - threshold, 0)


def proximal_sgd(rate=0.05, beta=0.9, l1=0.3):
    w, v = START.copy(), np.zeros(3)
    for _ in range(STEPS):
        v = beta * v - rate * gradient(w)
        w = soft(w + v, rate / (1 - beta) * l1)
        yield w


def proximal_adam(rate=0.05, beta_1=0.9, beta_2=0.999, l1=0.3):
    w, m, v = START.copy(), np.zeros(3), np.zeros(3)
    for t in range(1, STEPS + 1):
        g = gradient(w)
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        step = rate / (np.sqrt(v / (1 - beta_2**t)) + 1e-7)
        w = soft(w - step * m / (1 - beta_1**t), step * l1)
        yield w


def perturbed(w, rho=0.5):
    g = gradient(w)
    return gradient(w + rho * g / np.linalg.norm(g))


def adaptively_perturbed(w, rho=0.5):
    g = gradient(w)
    return gradient(w + rho * w**2 * g / np.linalg.norm(np.abs(w) * g))


def adahessian(rate=0.1, beta_1=0.9, beta_2=0.999):
    """The Hessian of the loss is diagonal, so that the estimate of its diagonal is exact."""
    w, m, v = START.copy(), np.zeros(3), np.zeros(3)
    for t in range(1, STEPS + 1):
        m, v = beta_1 * m + (1 - beta_1) * gradient(w), beta_2 * v + (1 - beta_2) * CURVATURE**2
        w = w - rate * m / (1 - beta_1**t) / (np.sqrt(v / (1 - beta_2**t)) + 1e-4)
        yield w


GOLDEN = {
    "gradient descent": (lambda: build_optimizer({"gradient_descent": {"learning_rate": 0.05}}, 9), descent),
    "momentum": (lambda: build_optimizer({"momentum": {"learning_rate": 0.05}}, 9), momentum),
    "nesterov": (
        lambda: build_optimizer({"nesterov": {"learning_rate": 0.05}}, 9),
        lambda: momentum(nesterov=True),
    ),
    "adam": (lambda: build_optimizer({"adam": {"learning_rate": 0.05}}, 9), adam),
    "proximal sgd": (
        lambda: build_optimizer({"proximal_sgd": {"learning_rate": 0.05, "momentum": 0.9, "l1": 0.3}}, 9),
        proximal_sgd,
    ),
    "proximal adam": (
        lambda: build_optimizer({"proximal_adam": {"learning_rate": 0.05, "l1": 0.3}}, 9),
        proximal_adam,
    ),
    "sam": (lambda: SAM(keras.optimizers.Adam(0.05), rho=0.5), lambda: adam(gradient=perturbed)),
    "asam": (
        lambda: SAM(keras.optimizers.Adam(0.05), rho=0.5, adaptive=True),
        lambda: adam(gradient=adaptively_perturbed),
    ),
    "adahessian": (lambda: AdaHessian(0.1), adahessian),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_first_steps_are_those_of_the_textbook(name):
    optimizer, reference = GOLDEN[name]
    expected = np.array(list(reference()))
    np.testing.assert_allclose(path(optimizer()), expected, rtol=1e-4, atol=5e-5)
    assert not np.allclose(expected[0], expected[-1])


@pytest.mark.slow
def test_adam_without_the_correction_of_its_bias_would_be_somewhere_else():
    """The uncorrected form takes a first step of rate * 0.1 / sqrt(0.001), and not of the rate."""
    first = np.array(list(adam()))[0]
    np.testing.assert_allclose(np.abs(first - START), 0.05, rtol=1e-4)
    uncorrected = 0.05 * 0.1 / np.sqrt(0.001)
    assert np.abs(path(keras.optimizers.Adam(0.05))[0] - START).max() < 0.051 < uncorrected


def test_newton_solves_a_quadratic_of_three_weights_in_three_conjugate_gradients_at_most():
    found = path(NewtonCG(damping=0.0))
    np.testing.assert_allclose(found[2], BOTTOM, atol=1e-4)
