"""Random small graphs: whatever is tied to what, the cut model gives what the masked original gives."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

from tests.sparsity.structured.reference import inputs_of, outputs, scrambled, silenced, some_groups
from tfopt.sparsity.structured.dead import remove_dead
from tfopt.sparsity.structured.dependency_graph import read
from tfopt.sparsity.structured.flops import costs
from tfopt.sparsity.structured.surgery import cut


def fitted(x, like):
    """A tensor of the shape of another, through a convolution where it has other channels."""
    return x if x.shape[-1] == like.shape[-1] else layers.Conv2D(like.shape[-1], 1)(x)


def bottleneck(x, other, width):
    inner = layers.Conv2D(width, 1, activation="relu")(x)
    inner = layers.DepthwiseConv2D(3, padding="same")(inner)
    return layers.Add()([x, layers.Conv2D(x.shape[-1], 1)(inner)])


def gated(x, other, width):
    gate = layers.Dense(width, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Multiply()([x, layers.Dense(x.shape[-1], activation="sigmoid")(gate)])


def shared(x, other, width):
    layer = layers.Conv2D(width, 3, padding="same")
    return layers.Maximum()([layer(x), layer(fitted(other, x))])


def nested(x, other, width):
    """A model within, called on two tensors."""
    a = layers.Input(x.shape[1:])
    inner = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(width, 1)(a)))
    part = keras.Model(a, layers.Concatenate()([layers.Conv2D(x.shape[-1], 1)(inner), inner]))
    return layers.Concatenate()([part(x), part(fitted(other, x))])


STEPS = {
    "convolution": lambda x, other, width: layers.Conv2D(width, 3, padding="same", activation="relu")(x),
    "grouped": lambda x, other, width: layers.Conv2D(2 * width, 1, groups=2)(layers.Conv2D(2 * width, 1)(x)),
    "transposed": lambda x, other, width: layers.Conv2DTranspose(width, 3, padding="same", use_bias=False)(x),
    "depthwise": lambda x, other, width: layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x),
    "separable": lambda x, other, width: layers.SeparableConv2D(width, 3, padding="same")(x),
    "normalization": lambda x, other, width: layers.BatchNormalization()(x),
    "activation": lambda x, other, width: layers.PReLU(shared_axes=[1, 2])(x),
    "pooling": lambda x, other, width: layers.MaxPooling2D(2, 1, padding="same")(x),
    "residual": lambda x, other, width: layers.Add()([x, fitted(other, x)]),
    "product": lambda x, other, width: layers.Multiply()([x, fitted(other, x)]),
    "concatenation": lambda x, other, width: layers.Concatenate()([x, other, x]),
    "difference": lambda x, other, width: x - fitted(other, x),
    "bottleneck": bottleneck,
    "gated": gated,
    "shared": shared,
    "nested": nested,
}
WIDEST = 24  # of a tensor that steps go on from

steps = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9), st.integers(1, 4)),
    min_size=2,
    max_size=7,
)


def model_of(program, flat, also_inside):
    """The model of a list of steps, each on two of the tensors made before; what nothing reads goes to the head."""
    inputs = layers.Input((4, 4, 3))
    made, unread = [layers.Conv2D(6, 3, padding="same")(inputs)], {0}
    for kind, one, other, width in program:
        first, second = (len(made) - 1 - place % min(len(made), 3) for place in (one, other))
        result = STEPS[kind](made[first], made[second], 2 * width)
        unread -= {first, second}
        if result.shape[-1] > WIDEST:
            result = layers.Conv2D(6, 1)(result)
        made.append(result)
        unread.add(len(made) - 1)
    ends = [made[place] for place in sorted(unread)]
    joined = layers.Concatenate()(ends) if len(ends) > 1 else ends[0]
    x = layers.Flatten()(joined) if flat else layers.GlobalAveragePooling2D()(joined)
    heads = [layers.Dense(3)(layers.Dense(5, activation="relu")(x))]
    return keras.Model(inputs, [*heads, made[len(made) // 2]] if also_inside else heads[0])


def assert_close(model, reference, x):
    for got, expected in zip(outputs(model, x), outputs(reference, x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * max(1.0, np.abs(expected).max()))


PROGRAMS = (steps, st.booleans(), st.booleans(), st.integers(0, 99), st.sampled_from([0.2, 0.5, 0.9]))
RULES = {
    "derandomize": True,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "database": None,
}


@pytest.mark.slow
@settings(max_examples=40, **RULES)
@given(*PROGRAMS)
def test_cut_graphs_give_what_the_masked_ones_give(program, flat, also_inside, seed, share):
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = scrambled(model_of(program, flat, also_inside), seed)
    structure, x = read(model), inputs_of(model, 3)
    assert structure.skipped == []
    drop = some_groups(structure, share, seed)
    smaller = cut(structure, drop)
    assert_close(smaller, silenced(model, drop), x)
    told = sum(cost.parameters for cost in costs(structure, structure.left(drop)))
    assert told == smaller.count_params()
    # What was silenced reads as dead: it can be removed without a change, to the same model or a smaller one.
    silent = silenced(model, drop)
    lossless = remove_dead(silent)
    assert_close(lossless.model, silent, x)
    assert lossless.model.count_params() <= smaller.count_params()
