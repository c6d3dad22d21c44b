"""The least-squares problem of one layer: weights that, on changed inputs, come nearest to the outputs it had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfopt.quantization.rounding.problem import Moments, least_squares


@dataclass(frozen=True)
class LayerProblem:
    """What a layer's new weights V should minimize: tr((V - target)' hessian (V - target)).

    Args:
        weights: The layer's own weights, `(inputs, outputs)`.
        target: The weights that come nearest to the layer's outputs on its changed inputs, `(inputs, outputs)`.
        hessian: Damped second moments of the changed inputs, `(inputs, inputs)`.
        run: Inputs in a row of the kernel: the channels of a convolution, all inputs of a dense layer.
    """

    weights: np.ndarray
    target: np.ndarray
    hessian: np.ndarray
    run: int


class InputMoments:
    """The moments of a layer's inputs in two models, added up batch by batch.

    Args:
        inputs: Number of inputs.
    """

    def __init__(self, inputs: int):
        self.count = 0
        self._gram, self._cross = np.zeros((inputs, inputs)), np.zeros((inputs, inputs))
        self._sums = np.zeros(inputs), np.zeros(inputs)

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """Adds the inputs of the model as it was, and of the changed one, `(rows, inputs)`."""
        self._gram += after.T @ after
        self._cross += before.T @ after
        self._sums[0].__iadd__(before.sum(0, dtype=np.float64))
        self._sums[1].__iadd__(after.sum(0, dtype=np.float64))
        self.count += len(after)

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """The means of the inputs before and after, `(inputs,)`."""
        before, after = self._sums
        return before / self.count, after / self.count

    def problem(self, weights: np.ndarray, run: int, centred: bool) -> LayerProblem:
        """The problem of a layer: its target minimizes E|W'x - V'x̂|² + damping |V - W|², x̂ the changed inputs.

        Args:
            weights: The layer's own weights, `(inputs, outputs)`.
            run: Inputs in a row of the kernel.
            centred: Whether a bias takes the difference of the means, so that only what varies counts here.
        """
        gram, cross = self._gram / self.count, self._cross / self.count
        if centred:
            before, after = self.means()
            gram, cross = gram - np.outer(after, after), cross - np.outer(before, after)
        moments = Moments(gram[None], cross[None], *(mean[None] for mean in self.means()))
        [target], [hessian] = least_squares(weights.T[None], moments)
        return LayerProblem(weights, target.T, hessian, run)


def refitted(problem: LayerProblem, keep: np.ndarray) -> np.ndarray:
    """The weights `(inputs, outputs)` of least error among those that are zero outside of a mask.

    Args:
        problem: The layer's problem.
        keep: A boolean mask `(inputs, outputs)`; outputs of the same mask are solved together.
    """
    weights = np.zeros_like(problem.target)
    wanted = problem.hessian @ problem.target
    masks, of_output = np.unique(keep, axis=1, return_inverse=True)
    for number, rows in enumerate(masks.T):
        outputs = np.flatnonzero(of_output.ravel() == number)
        solved = np.linalg.solve(problem.hessian[np.ix_(rows, rows)], wanted[np.ix_(rows, outputs)])
        weights[np.ix_(rows, outputs)] = solved
    return weights
