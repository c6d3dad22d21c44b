"""`taylor`: the change of the loss when a group of channels is removed, to first order.

References:
    Molchanov et al., Importance estimation for neural network pruning, arXiv:1906.10771.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt.errors import InputError
from tfopt.sparsity.structured.importance import ChannelScore, batches, by_group, groups_of

if TYPE_CHECKING:
    from tfopt.sparsity.structured.dependency_graph import DependencyGraph


def taylor(structure: DependencyGraph, x: Any, y: Any, loss: Any = None) -> dict[int, float]:
    """The change of the loss without a group's weights, to first order: the mean over batches of `sum(g * w) ** 2`.

    The sum goes over the weights and biases that make the group's channels, `g` is the loss's gradient.

    Args:
        structure: The dependency graph of the model.
        x: Samples `(samples, ...)`, or a dict of such arrays by input name.
        y: Labels `(samples, ...)`.
        loss: A Keras loss, or its name; the one that the model is compiled with if not given.

    Raises:
        InputError: The model has several outputs, or there is no loss.
    """
    import keras
    import tensorflow as tf

    from tfopt.losses import build_loss

    model = structure.model
    loss = build_loss(loss) or getattr(model, "loss", None)
    if isinstance(loss, dict | list):
        raise InputError("the score taylor is for models of one output. Take another score.", ("score",))
    loss = keras.losses.get(loss)
    if loss is None:
        raise InputError("the score taylor needs a loss: compile the model, or hand it over.", ("score",))
    makes = [axis for _, axis in structure.axes if axis.role == "makes" and axis.variable.trainable]
    variables = list({id(axis.variable): axis.variable for axis in makes}.values())
    total, count = dict.fromkeys(groups_of(structure), 0.0), 0
    for part, labels in zip(batches(x), batches(y), strict=True):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(labels, model(part, training=False)))
        gradients = tape.gradient(value, [variable.value for variable in variables])
        by_variable = {id(v): _product(v, gradient) for v, gradient in zip(variables, gradients, strict=True)}
        change = np.zeros(len(structure.channels))
        for axis in makes:
            product = by_variable[id(axis.variable)]
            np.add.at(change, axis.ids, product.sum(axis=tuple(i for i in range(product.ndim) if i != axis.axis)))
        for group, moved in by_group(structure, change).items():
            total[group] += moved**2
        count += 1
    return {group: value / count for group, value in total.items()}


def _product(variable: Any, gradient: Any) -> np.ndarray:
    import tensorflow as tf

    weights = variable.numpy().astype(np.float64)
    if gradient is None:
        return np.zeros_like(weights)
    return weights * np.asarray(tf.convert_to_tensor(gradient), np.float64)


TAYLOR = ChannelScore(
    "taylor",
    "The change of the loss without it, to first order, on training samples.",
    lambda structure, inputs: taylor(structure, inputs.x, inputs.y, inputs.loss),
    needs_samples=True,
    needs_labels=True,
    rank=5,
)
