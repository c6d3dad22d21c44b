"""The schedule of a clustering that counts coded bytes: when values are chosen anew, and for how many bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfopt.errors import InputError, ModelError
from tfopt.keras_private import second_moment
from tfopt.models.layers import Kernel
from tfopt.models.left_alone import listed
from tfopt.sparsity.coded_size import deflated_bytes
from tfopt.sparsity.drifting_values import DriftingValues
from tfopt.sparsity.entropy_clustering import LEAST, fit_bytes

# How often values are chosen, at most once a step: with few choices many weights change at once, which training then
# has to mend.
UPDATES = 200
# The importance of weights that the loss hardly depends on, as a share of the mean: their bits are not free.
LEAST_IMPORTANCE = 1e-3


class CodedUpdates:
    """Chooses the shared values of kernels anew while they train, for fewer bytes each time.

    The bytes fall from those of k-means to the ones asked for, fast at first, as the sparsity of polynomial pruning
    rises.

    Args:
        wanted: Bytes that deflate may make of all kernels in the end.
        end: Share of the training after which the choice stays, 0-1.

    Attributes:
        importance: What an error of each weight of each kernel counted when values were last chosen.

    Raises:
        InputError: Bytes or an end that are not positive, or an end above 1.

    References:
        Choi et al., Towards the limit of network quantization, arXiv:1612.01543, section 3.5: the square roots of
        Adam's second moments as importance.
    """

    def __init__(self, wanted: int, end: float):
        if not isinstance(wanted, int | np.integer) or wanted < 1 or not 0 < end <= 1:
            raise InputError(
                "coded_bytes is a number, at least 1, and end a share above 0 up to 1. "
                f"Received: coded_bytes={wanted!r}, end={end}"
            )
        self.wanted, self.end = wanted, end
        self.importance: list[np.ndarray] = []
        self._first = self._done = 0
        self._exponent = LEAST
        self._held: list[tuple[Kernel, DriftingValues]] = []

    def begin(self, held: Sequence[tuple[Kernel, DriftingValues]], state: Mapping[str, np.ndarray] | None) -> None:
        """Begins with kernels and their values, or goes on from a state of `get_state`."""
        self._held = list(held)
        self._first, self._done = deflated_bytes(values.coded().numbers for _, values in held), 0
        self._exponent = LEAST
        if state:
            self._first, self._done = int(state["first_bytes"]), int(state["updates"])
            self._exponent = float(state["price_exponent"])

    def get_state(self) -> dict[str, np.ndarray]:
        """The bytes at the beginning, how often values have been chosen since, and the exponent of the last price."""
        return {
            "first_bytes": np.asarray(self._first),
            "updates": np.asarray(self._done),
            "price_exponent": np.asarray(self._exponent),
        }

    @property
    def ended(self) -> bool:
        """Whether the last choice has been made, for the bytes asked for."""
        return self._done == UPDATES

    def due(self, params: Mapping[str, Any], epoch: int, batch: int) -> int | None:
        """The number of the choice that is to be made before a step; None where it has been made.

        Args:
            params: What Keras tells its callbacks of the training.
            epoch: The epoch, from 0.
            batch: The step in it, from 0.

        Raises:
            ModelError: The length of the training is not known.
        """
        steps = params.get("steps")
        if not steps:
            raise ModelError("coded_bytes needs a training of known length. Give fit steps_per_epoch.")
        last = max(int(steps * params["epochs"] * self.end) - 1, 1)
        number = min((epoch * steps + batch) * UPDATES // last, UPDATES)
        return number if number > self._done else None

    def choose(self, optimizer: Any, number: int) -> None:
        """Chooses the values and the zeros of all kernels together, and sets the weights to them.

        Args:
            optimizer: The optimizer, whose second moments say what matters.
            number: The number of the choice, 1 to `UPDATES`.
        """
        self._done = number
        if not self._held:
            return
        left = (1 - self._done / UPDATES) ** 3
        self.importance = _importance(optimizer, [kernel for kernel, _ in self._held])
        now = [values.coded(m) for (_, values), m in zip(self._held, self.importance, strict=True)]
        wanted = round(self.wanted + max(self._first - self.wanted, 0) * left)
        found = fit_bytes(now, wanted, self._exponent)
        self._exponent = found.exponent
        for (kernel, values), chosen in zip(self._held, found.kernels, strict=True):
            values.take(chosen)
            kernel.variable.assign(values.weights(kernel.variable.dtype))

    def remark(self) -> str:
        """What is to be known of the bytes once the last choice has been made; empty where they were reached."""
        now = [(kernel.path, values.coded()) for kernel, values in self._held]
        lost = [path for path, one in now if one.positions.size and not one.numbers.any()]
        reached = deflated_bytes(one.numbers for _, one in now)
        if not lost and reached <= self.wanted:
            return ""
        few = f"coded_bytes {self.wanted:,} is too few"
        takes = f"the kernels take {reached:,} bytes"
        if not lost:
            return f"{few}: {takes}. Raise it, or prune more before."
        return f"{few}: {takes}, and {listed(lost)} lost every weight. Raise it, or leave such layers out with skip."


def _importance(optimizer: Any, kernels: Sequence[Kernel]) -> list[np.ndarray]:
    """The roots of the second moments, and the mean of all for a kernel without; ones where no moment tells.

    Moments are all zero before the first step, such as while gradients are accumulated.
    """
    found = [second_moment(optimizer, kernel.variable) for kernel in kernels]
    roots = [None if moments is None else np.sqrt(np.asarray(moments, np.float64)) for moments in found]
    known = [root for root in roots if root is not None]
    mean = sum(float(root.sum()) for root in known) / max(sum(root.size for root in known), 1)
    if not mean:
        return [np.ones(kernel.variable.shape) for kernel in kernels]
    full = [np.full(k.variable.shape, mean) if root is None else root for k, root in zip(kernels, roots, strict=True)]
    return [root + LEAST_IMPORTANCE * mean for root in full]
