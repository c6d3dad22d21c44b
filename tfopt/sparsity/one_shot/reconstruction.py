"""New weights for layers one after the other, each for the inputs that the changed layers before it give.

References:
    Frantar and Alistarh, SparseGPT, arXiv:2301.00774 (layer by layer, on few samples without labels).
    Li et al., GPTAQ: efficient finetuning-free quantization for asymmetric calibration, arXiv:2504.02692 (the target is
    what the layer gave for its inputs before any change).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from tfopt.data.arrays import Arrays
from tfopt.models.layers import Kernel
from tfopt.sparsity.least_squares import InputMoments, LayerProblem
from tfopt.sparsity.one_shot.linear_layers import LinearLayer, linear_layer
from tfopt.sparsity.one_shot.mean_shift import mean_shift
from tfopt.sparsity.one_shot.paired_forward import PairedForward, in_order

# Rows of inputs that a layer's moments are taken of: a convolution has thousands in a sample, and much the same ones.
MOST_ROWS = 20_000
NOT_RUN = "it does not run on these samples, or in a loop that does not show its inputs"

Solve = Callable[[Kernel, LayerProblem], np.ndarray]


def reconstruct(
    model: keras.Model, kernels: Sequence[Kernel], x: Arrays, solve: Solve, paired: PairedForward | None = None
) -> list[tuple[str, str]]:
    """Gives kernels new weights, and puts what that moves the means of their layers' outputs into biases.

    Args:
        model: A built model, which is changed.
        kernels: The kernels.
        x: Samples `(samples, ...)`, or a dict of such arrays by input name.
        solve: The new weights `(inputs, outputs)` of a kernel, from its least-squares problem.
        paired: The runs of the model before and after; new ones if not given.

    Returns:
        Layers that are left as they are, with the reason.
    """
    able: dict[str, LinearLayer] = {}
    skipped = []
    for kernel in kernels:
        seen = linear_layer(kernel)
        if isinstance(seen, LinearLayer):
            able[kernel.path] = seen
        else:
            skipped.append((kernel.place.path, seen))
    running = [kernel.path for kernel in in_order(model, [linear.kernel for linear in able.values()], x)]
    paired = paired or PairedForward(model, x)
    try:
        done = [path for path in running if _renew(model, able[path], solve, paired)]
    except BaseException:
        paired.restore()
        raise
    return [*skipped, *((able[path].kernel.place.path, NOT_RUN) for path in able if path not in done)]


def _renew(model: keras.Model, linear: LinearLayer, solve: Solve, paired: PairedForward) -> bool:
    """Gives one kernel its new weights; False where its layer has no inputs."""
    moments = InputMoments(linear.shape[0])
    for before, after in paired.inputs(linear.kernel):
        for one, other in zip(before, after, strict=True):
            _add(moments, linear, np.asarray(one), np.asarray(other), paired.samples * len(before))
    if not moments.count:
        return False
    shift = mean_shift(model, linear)
    weights = linear.matrix(paired.was(linear.kernel.variable))
    new = solve(linear.kernel, moments.problem(weights, linear.run, shift is not None))
    paired.assign(linear.kernel.variable, linear.restored(new))
    if shift is not None:
        before_mean, after_mean = moments.means()
        paired.assign(shift.variable, shift.moved(before_mean @ weights - after_mean @ new))
    return True


def _add(moments: InputMoments, linear: LinearLayer, before: np.ndarray, after: np.ndarray, calls: int) -> None:
    """Adds the rows of a batch of inputs, or a random choice of them where all `calls` samples have too many."""
    generator = np.random.default_rng(0)
    rows = int(np.prod(before.shape)) // linear.run // len(before)  # of a sample, as a stride or a border may change it
    share = MOST_ROWS / max(calls * rows, 1)
    for one, other in zip(linear.rows(before), linear.rows(after), strict=True):
        if share < 1:
            chosen = generator.random(len(one)) < share
            one, other = one[chosen], other[chosen]
        moments.add(one, other)
