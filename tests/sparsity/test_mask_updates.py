"""Masks made on the host and inside a compiled step are the same, for every pattern and allocation."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfopt.sparsity import constant_sparsity
from tfopt.sparsity.mask_updates import MaskUpdater
from tfopt.sparsity.patterns import Blocks, NOfM, Unstructured
from tfopt.sparsity.pruning_plan import allocate
from tfopt.sparsity.selection import choose_kernels

PATTERNS = {
    "single weights": Unstructured(),
    "blocks by mean": Blocks(4, 4),
    "blocks by maximum": Blocks(1, 8, "max"),
    "two of four": NOfM(2, 4),
}


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(8, 3),
            layers.Flatten(),
            layers.Dense(20),
            layers.Dense(4),
        ]
    )


def masking_of(model, pattern, allocation, rules=None):
    kernels, _ = choose_kernels(model)
    shares = allocate(kernels, 0.8, allocation, rules)
    return MaskUpdater(kernels, pattern, shares, 0.8, tf.distribute.get_strategy(), allocation)


@pytest.mark.parametrize("rules", [None, {"Dense": 0.9}], ids=["no rules", "a rule"])
@pytest.mark.parametrize("allocation", ["uniform", "global", "lamp", "erk"])
@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.sample(3)
def test_a_compiled_step_makes_the_masks_of_the_host(model, name, allocation, rules):
    before = model.get_weights()
    host = masking_of(model, PATTERNS[name], allocation, rules)
    host.renew(0.6)
    expected = [mask.numpy() for mask in host.masks]
    zeros = model.get_weights()
    model.set_weights(before)
    compiled = masking_of(model, PATTERNS[name], allocation, rules)
    step = tf.Variable(3, dtype=tf.int64)
    tf.function(compiled.update_in_graph(step, constant_sparsity(0.6, 3)))()
    for mask, want in zip(compiled.masks, expected, strict=True):
        np.testing.assert_array_equal(mask.numpy(), want)
    for found, want in zip(model.get_weights(), zeros, strict=True):
        np.testing.assert_array_equal(found, want)
    assert not all(mask.all() for mask in expected)


@pytest.mark.parametrize("allocation", ["global", "lamp"])
def test_together_the_kernels_are_as_sparse_as_asked_for(model, allocation):
    masking = masking_of(model, Unstructured(), allocation)
    masking.renew(0.8)
    sizes = [mask.numpy().size for mask in masking.masks]
    zeros = sum(mask.numpy().size - mask.numpy().sum() for mask in masking.masks)
    assert zeros == pytest.approx(0.8 * sum(sizes), abs=1)
    assert len({round(share, 3) for share in masking.sparsity().values()}) > 1


def test_a_kernel_is_as_far_on_its_way_as_the_schedule(model):
    masking = masking_of(model, Unstructured(), "uniform", {"Dense": 0.4})
    masking.renew(0.4)  # half of 0.8
    shares = list(masking.sparsity().values())
    assert shares[-2:] == [pytest.approx(0.2, abs=0.01)] * 2
    assert shares[0] == pytest.approx(0.4, abs=0.01)


def test_masks_are_taken_from_the_zeros_that_are_there(model):
    kernel = model.layers[-1].kernel
    kernel.assign(np.where(np.arange(80).reshape(20, 4) % 2, kernel.numpy(), 0))
    masking = masking_of(model, Unstructured(), "uniform")
    masking.from_zeros()
    np.testing.assert_array_equal(masking.masks[-1].numpy(), kernel.numpy() != 0)
