"""What a cut model is held against: the original with the same channels silenced where they are read."""

import keras
import numpy as np

from tfopt.models.graph import graph_of
from tfopt.sparsity.structured.dependency_graph import read


def outputs(model, x):
    x = dict(zip(model.input_names, x, strict=True)) if isinstance(graph_of(model)._inputs_struct, dict) else x
    return [np.asarray(out) for out in keras.tree.flatten(model(x))]


def assert_same(smaller, reference, x, atol=1e-5):
    for got, expected in zip(outputs(smaller, x), outputs(reference, x), strict=True):
        np.testing.assert_allclose(got, expected, atol=atol)


def silenced(model, drop):
    """A copy of a model whose layers read nothing of the channels of some groups: the function of the cut model."""
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    return silence(copy, drop)


def silence(model, drop):
    """The same in place, for models that no config makes again."""
    structure = read(model)
    left = structure.left(drop)
    for _, axis in structure.axes:
        if axis.role == "takes":
            values = axis.variable.numpy()
            np.moveaxis(values, axis.axis, 0)[~left[axis.ids]] = 0
            axis.variable.assign(values)
    return model


def scrambled(model, seed=0):
    """Random values for all that a new model has at 0 or 1, so that nothing is hidden."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        if len(variable.shape) < 2 or "bias" in variable.name:
            positive = "variance" in variable.path or "gamma" in variable.path
            low, high = (0.5, 1.5) if positive else (-0.5, 0.5)
            variable.assign(generator.uniform(low, high, variable.shape))
    return model


def inputs_of(model, count=4, seed=1):
    generator = np.random.default_rng(seed)
    arrays = []
    for tensor in model.inputs:
        shape = (count, *(n or 5 for n in tensor.shape[1:]))
        whole = np.issubdtype(tensor.dtype, np.integer) if tensor.dtype != "bool" else False
        arrays.append(generator.integers(0, 4, shape) if whole else generator.normal(size=shape).astype(np.float32))
    return arrays if len(arrays) > 1 else arrays[0]


def some_groups(structure, share=0.4, seed=2):
    """A random share of each family's groups, at least one of each, and never all of a layer."""
    generator = np.random.default_rng(seed)
    drop = set()
    for family in structure.families:
        count = min(max(1, round(share * len(family.groups))), len(family.groups) - 1)
        drop.update(generator.choice(family.groups, count, replace=False).tolist() if count > 0 else [])
    return structure.spared(drop, dict.fromkeys(drop, 0.0))
