"""One-shot pruning of a model: its kernels, one after the other, by a pruning method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfopt.data.arrays import by_name
from tfopt.errors import InputError
from tfopt.models.layers import Kernel, Rules, as_rules
from tfopt.models.left_alone import warn_of
from tfopt.models.requirements import check_weights
from tfopt.recipe.settings import either
from tfopt.sparsity.allocations import ALLOCATIONS
from tfopt.sparsity.least_squares import LayerProblem
from tfopt.sparsity.magnitude import shared_thresholds, sparsity_of
from tfopt.sparsity.mask_updates import MaskUpdater
from tfopt.sparsity.methods import METHODS
from tfopt.sparsity.one_shot.reconstruction import reconstruct
from tfopt.sparsity.patterns import NOfM
from tfopt.sparsity.pruning_config import PruningConfig
from tfopt.sparsity.pruning_plan import PruningPlan, plan_pruning
from tfopt.sparsity.selection import FEW_WEIGHTS, KEPT_DENSE, LEFT_OUT


@dataclass(frozen=True)
class OneShot:
    """The record of a one-shot pruning.

    Args:
        sparsity: The fraction of zeros of each kernel that was to be pruned, 0-1, by its path, such as `conv2d/kernel`.
        skipped: Layers that are left as they were, with the reason.
    """

    sparsity: dict[str, float]
    skipped: tuple[tuple[str, str], ...]


def prune_once(
    model: keras.Model,
    sparsity: float | None = None,
    x: Any = None,
    *,
    method: str = "sparsegpt",
    rules: Rules[float] | None = None,
    prunable: Mapping[str, Sequence[str]] | None = None,
    **settings: Any,
) -> OneShot:
    """Prunes a trained model at once, without any training and without labels; the model itself is changed.

    Layer by layer, `sparsegpt` takes the weights that matter least to the layer's outputs on samples, and lets those
    that stay, and the bias, make up for them and for what the pruned layers before it have changed. It prunes Dense,
    Conv1D, Conv2D and EinsumDense layers; `skipped` of the result names the others.

    Args:
        model: A built model. Nothing is changed where an error is raised.
        sparsity: The fraction of zeros to reach, 0-1; left out with `keep`.
        x: Samples `(samples, ...)`, or a dict of such arrays by input name: some hundreds, of all classes.
        method: `sparsegpt`, or `magnitude`, which needs no samples, or another entry of
            `tfopt.sparsity.methods.METHODS`.
        rules: Sparsities by layer pattern, such as `{"head": 0.5}`; 0 keeps a layer dense.
        prunable: Names of the weights to prune by layer pattern, for layers of your own.
        **settings: `allocation`, `block`, `block_pooling`, `keep`, `only` and `skip` of `PruningConfig`.

    Returns:
        What was reached, and what was left alone.

    Warns:
        TfoptWarning: Layers with a kernel that nobody asked to leave alone are left as they were.

    Raises:
        InputError: Settings that contradict each other, an unknown method, or samples are missing.
        ModelError: A pattern matches no layer, or nothing is left to prune.

    References:
        Frantar and Alistarh, SparseGPT: massive language models can be accurately pruned in one-shot, arXiv:2301.00774.

    Example:
        ```python
        tfopt.sparsity.prune_once(model, 0.6, x[:500])
        blob = tfopt.convert(model, "int8", calibration=x[:200])
        ```
    """
    pairs = [{"layers": patterns, "sparsity": value} for patterns, value in as_rules(rules)]
    settings |= {"sparsity": sparsity, "rules": pairs, "prunable": prunable or {}, "schedule": "one_shot"}
    result = prune_by(PruningConfig(**settings), model, method, x)
    warn_of("prune_once", [(path, why) for path, why in result.skipped if not _is_asked(why)])
    return result


def _is_asked(why: str) -> bool:
    """Whether a layer is left alone for a reason that was asked for, or that a default explains."""
    return why in (LEFT_OUT, FEW_WEIGHTS) or why.startswith(KEPT_DENSE)


def prune_by(config: PruningConfig, model: keras.Model, method: str, x: Any) -> OneShot:
    """`prune_once` by the settings of a pruning, whose schedule is ignored."""
    check_weights(model, ", so there is nothing to prune. Call model.build or the model first.")
    if method not in METHODS:
        raise InputError(f"method is {either(map(repr, METHODS))}. Received: method={method!r}.", ("method",))
    way, plan = METHODS[method], plan_pruning(config, model, 1)
    if way.weights is None:
        masking = MaskUpdater(
            plan.kernels, plan.pattern, plan.shares, plan.final, model.distribute_strategy, config.allocation
        )
        masking.renew(plan.final)
        return OneShot(masking.sparsity(), plan.skipped)
    if x is None or not min(map(len, by_name(x).values()), default=0):
        raise InputError(f"{method} prunes on samples. Give x, some hundreds, or write method='magnitude'.", ("x",))
    shares, weights = _shares(plan, config.allocation), way.weights

    def pruned(kernel: Kernel, problem: LayerProblem) -> np.ndarray:
        return weights(problem, plan.pattern, shares[kernel.path])

    skipped = [*plan.skipped, *reconstruct(model, plan.kernels, x, pruned)]
    found = {kernel.path: sparsity_of(np.asarray(kernel.variable)) for kernel in plan.kernels}
    return OneShot(found, tuple(skipped))


def _shares(plan: PruningPlan, allocation: str) -> dict[str, float]:
    """The sparsity of each kernel, 0-1; that of kernels which share a threshold is told by their magnitudes."""
    shares = {k.path: share for k, share in zip(plan.kernels, plan.shares, strict=True) if share is not None}
    together, pattern = [kernel for kernel in plan.kernels if kernel.path not in shares], plan.pattern
    if isinstance(pattern, NOfM):
        return shares | {kernel.path: pattern.sparsity for kernel in together}
    scores = [np.asarray(pattern.scores(kernel.variable.value)) for kernel in together]
    least = shared_thresholds(scores, plan.final, ALLOCATIONS[allocation]) if together else []
    below = (float(np.mean(array < threshold)) for array, threshold in zip(scores, least, strict=True))
    return shares | dict(zip((kernel.path for kernel in together), below, strict=True))
