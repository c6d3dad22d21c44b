"""Proximal SGD and Adam: exact zeros by L1, whole channels of zeros by group lasso."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt.errors import InputError, ModelError, did_you_mean
from tfopt.keras_private import adam_squares, variable_index
from tfopt.optimizers.registry import OptimizerEntry

__all__ = ["ProximalAdam", "ProximalSGD"]

NEWTON_STEPS = 6  # the equation of a group is nearly linear: exact at once where all its weights have one step length


def soft_threshold(weights: Any, threshold: Any) -> Any:
    """`sign(w) * max(|w| - threshold, 0)`: the proximal operator of `threshold * |w|`.

    Args:
        weights: Weights, any shape.
        threshold: Threshold, 0 or above: a number, or one per weight.

    References:
        Parikh and Boyd, Proximal algorithms, Foundations and Trends in Optimization 1 (2014), 6.5.2.
    """
    return weights - ops.clip(weights, -threshold, threshold)


def group_threshold(weights: Any, factor: Any, steps: Any, axis: int) -> Any:
    """The proximal operator of the sum over groups of `factor * ||w_group||`, each weight with a step of its own.

    It minimizes `factor * ||x|| + sum_i (x_i - w_i)^2 / (2 steps_i)` in each group: zero where
    `||w / steps|| <= factor`, and otherwise `w * r / (r + factor * steps)`, where r is the norm of the result. With one
    step for all that is `w * (1 - factor * step / ||w||)`; else r is found by Newton's method on the secular equation.

    Args:
        weights: Weights, any shape.
        factor: Factor of the norm, 0 or above.
        steps: Step lengths, above 0: a number, or one per weight.
        axis: The axis of the groups, such as that of the output channels.

    References:
        Yuan and Lin, Model selection and estimation in regression with grouped variables, J. R. Stat. Soc. B 68 (2006).
        Yun, Lozano and Yang, Adaptive proximal gradient methods for structured neural networks, NeurIPS 2021.
        Moré and Sorensen, Computing a trust region step, SIAM J. Sci. Stat. Comput. 4 (1983) (the secular equation).
    """
    others = [other for other in range(len(weights.shape)) if other != axis % len(weights.shape)]

    def total(values: Any) -> Any:
        return ops.sum(values, axis=others, keepdims=True)

    metric = 1 / steps + ops.zeros_like(weights)
    pull = metric * weights
    alive = ops.sqrt(total(ops.square(pull))) > factor
    # Where a group is dead the numbers below mean nothing; those of a living one are finite throughout.
    norm = ops.zeros_like(total(weights))
    for _ in range(NEWTON_STEPS):
        divisor = metric * norm + factor
        inside = ops.where(alive, total(ops.square(pull / divisor)), 1.0)
        slope = ops.where(alive, total(metric * ops.square(pull) / divisor**3), 1.0)
        norm = ops.where(alive, ops.relu(norm + (inside**1.5 - inside) / slope), 0.0)
    return ops.where(alive, weights * norm / (norm + factor * steps), 0.0)


class Proximal:
    """Mixin: after each step of a Keras optimizer, the proximal operator of the penalty in that step's own metric.

    `l1 * sum |w| + group_lasso * sum_c sqrt(n) ||w_c||` falls on every kernel, where `w_c` are the n weights of output
    channel c. Penalties of the loss only bring weights near zero; this sets them to zero.
    """

    def _take(
        self,
        l1: float,
        group_lasso: float,
        only: str | Sequence[str],
        skip: str | Sequence[str],
        axes: Mapping[str, int] | None,
    ) -> None:
        for value, argument in ((l1, "l1"), (group_lasso, "group_lasso")):
            if not 0 <= value < float("inf"):
                raise InputError(f"{argument} is 0 or above. Received: {value}.", (argument,))
        self.l1, self.group_lasso = float(l1), float(group_lasso)
        self.only = [only] if isinstance(only, str) else list(only)
        self.skip = [skip] if isinstance(skip, str) else list(skip)
        self.axes = dict(axes or {})

    def build(self, variables: Any) -> None:
        """Makes the optimizer's variables, and chooses the penalized ones."""
        if self.built:  # type: ignore[attr-defined]
            return
        super().build(variables)  # type: ignore[misc]
        self._chosen = choose([variable.path for variable in variables], self.only, self.skip)
        self._axis = [_axis(variable.path, self.axes) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The step of one variable, followed by the proximal operator."""
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]
        index = variable_index(self, variable)
        if not self._chosen[index] or not (self.l1 or self.group_lasso):
            return
        scale, divisor = self._steps(index, variable, ops.cast(learning_rate, variable.dtype))
        value = ops.convert_to_tensor(variable)
        if self.l1:
            value = soft_threshold(value, scale * self.l1 / divisor)
        if self.group_lasso:
            size = float(np.prod(variable.shape)) / variable.shape[self._axis[index]]
            value = group_threshold(value, self.group_lasso * size**0.5, scale / divisor, self._axis[index])
        self.assign(variable, value)  # type: ignore[attr-defined]

    def _steps(self, index: int, variable: Any, learning_rate: Any) -> tuple[Any, Any]:
        """The step length of each weight under a constant gradient of 1, as a number and its divisor."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        names = ("l1", "group_lasso", "only", "skip", "axes")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}  # type: ignore[misc]


@keras.saving.register_keras_serializable("tfopt")
class ProximalSGD(Proximal, keras.optimizers.SGD):
    """Gradient descent with soft thresholding after each step (ISTA, on batches).

        v = momentum * v - learning_rate * g
        w = prox(w + v),    threshold = learning_rate / (1 - momentum) * l1

    With momentum a constant gradient moves a weight by `learning_rate * g / (1 - momentum)` a step, and the threshold
    has to be of that length for the training to end where loss and penalty are in balance.

    Args:
        learning_rate: Step size, or a Keras `LearningRateSchedule`.
        momentum: Momentum, in [0, 1).
        nesterov: Whether to use Nesterov momentum.
        l1: Factor of the sum of absolute weights.
        group_lasso: Factor of the sum of the norms of each output channel's weights, times the root of their number.
        only: Patterns of the variables' paths (`dense/kernel`) or of the layers' names: what the penalty falls on; all
            whose name ends in `kernel` if not given.
        skip: Patterns to leave out.
        axes: The axis of the output channels by pattern, where it is not the last: -2 for depthwise and transposed
            convolutions.
        name: The optimizer's name.
        **kwargs: The arguments that every Keras optimizer has.

    Raises:
        InputError: A factor below 0.
        ModelError: When training begins: a pattern that matches no variable.

    References:
        Daubechies, Defrise and De Mol, An iterative thresholding algorithm for linear inverse problems with a sparsity
        constraint, Commun. Pure Appl. Math. 57 (2004).
        Parikh and Boyd, Proximal algorithms, Foundations and Trends in Optimization 1 (2014), 4.2.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        l1: float = 0.0,
        group_lasso: float = 0.0,
        only: str | Sequence[str] = (),
        skip: str | Sequence[str] = (),
        axes: Mapping[str, int] | None = None,
        name: str = "proximal_sgd",
        **kwargs: Any,
    ):
        if not 0 <= momentum < 1:
            raise InputError(f"momentum is in [0, 1). Received: {momentum}.", ("momentum",))
        super().__init__(learning_rate=learning_rate, momentum=momentum, nesterov=nesterov, name=name, **kwargs)
        self._take(l1, group_lasso, only, skip, axes)

    def _steps(self, index: int, variable: Any, learning_rate: Any) -> tuple[Any, Any]:
        return learning_rate, 1 - self.momentum


@keras.saving.register_keras_serializable("tfopt")
class ProximalAdam(Proximal, keras.optimizers.Adam):
    """Adam with soft thresholding after each step, in Adam's own metric.

        w = prox(w - learning_rate * m_hat / (sqrt(v_hat) + epsilon)),
        threshold = learning_rate * l1 / (sqrt(v_hat) + epsilon)

    `m_hat` and `v_hat` are Adam's, with their bias corrected. With one threshold for all weights, as for SGD, the
    training would end somewhere else than where loss and penalty are in balance. A weight that no sample has moved so
    far has no gradient to hold against the penalty and is zero at once.

    Args:
        learning_rate: Step size, or a Keras `LearningRateSchedule`.
        beta_1: Adam's decay of the mean of the gradients.
        beta_2: Adam's decay of the mean of their squares.
        epsilon: Added to the denominator.
        amsgrad: Whether to use the largest mean of squares so far.
        l1: Factor of the sum of absolute weights.
        group_lasso: Factor of the sum of the norms of each output channel's weights, times the root of their number.
        only: Patterns of the variables' paths (`dense/kernel`) or of the layers' names: what the penalty falls on; all
            whose name ends in `kernel` if not given.
        skip: Patterns to leave out.
        axes: The axis of the output channels by pattern, where it is not the last: -2 for depthwise and transposed
            convolutions.
        name: The optimizer's name.
        **kwargs: The arguments that every Keras optimizer has.

    Raises:
        InputError: A factor below 0.
        ModelError: When training begins: a pattern that matches no variable.

    References:
        Kingma and Ba, Adam: a method for stochastic optimization, arXiv:1412.6980.
        Yun, Lozano and Yang, Adaptive proximal gradient methods for structured neural networks, NeurIPS 2021.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        l1: float = 0.0,
        group_lasso: float = 0.0,
        only: str | Sequence[str] = (),
        skip: str | Sequence[str] = (),
        axes: Mapping[str, int] | None = None,
        name: str = "proximal_adam",
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate=learning_rate,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            amsgrad=amsgrad,
            name=name,
            **kwargs,
        )
        self._take(l1, group_lasso, only, skip, axes)

    def _steps(self, index: int, variable: Any, learning_rate: Any) -> tuple[Any, Any]:
        """Adam's step lengths, with epsilon as in Keras: added to the root without bias correction."""
        correction = 1 - ops.power(ops.cast(self.beta_2, variable.dtype), ops.cast(self.iterations + 1, variable.dtype))
        return learning_rate * ops.sqrt(correction), ops.sqrt(adam_squares(self, index)) + self.epsilon


PROXIMAL_SGD = OptimizerEntry("proximal_sgd", ProximalSGD)
PROXIMAL_ADAM = OptimizerEntry("proximal_adam", ProximalAdam)


def choose(paths: Sequence[str], only: Sequence[str], skip: Sequence[str]) -> list[bool]:
    """Chooses the variables that the penalty falls on: one bool per path.

    Args:
        paths: The variables' paths, such as `encoder/dense/kernel`.
        only: Patterns; empty means the kernels: what ends in `kernel`.
        skip: Patterns to leave out.

    Raises:
        ModelError: A pattern matches no path.
    """
    for argument, patterns in (("only", only), ("skip", skip)):
        for pattern in patterns:
            if not any(_matches(path, pattern) for path in paths):
                layers = {path.split("/")[-2] if "/" in path else path for path in paths}
                raise ModelError(
                    f"the pattern {pattern!r} of {argument!r} matches no variable. {did_you_mean(pattern, layers)}",
                    (argument,),
                )
    kernels = [path.endswith("kernel") for path in paths]
    chosen = [
        any(_matches(path, p) for p in only) and (kernel or any(fnmatchcase(path, p) for p in only)) if only else kernel
        for path, kernel in zip(paths, kernels, strict=True)
    ]
    return [
        yes and not any(_matches(path, pattern) for pattern in skip) for path, yes in zip(paths, chosen, strict=True)
    ]


def _axis(path: str, axes: Mapping[str, int]) -> int:
    return next((axis for pattern, axis in axes.items() if _matches(path, pattern)), -1)


def _matches(path: str, pattern: str) -> bool:
    """Whether a pattern chooses a variable: by its path, or by any run of the names in it."""
    parts = path.split("/")
    runs = ("/".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1))
    return any(fnmatchcase(run, pattern) for run in runs)
