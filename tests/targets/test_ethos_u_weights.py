"""The estimate of encoded weights against the codec that Vela calls, which takes integers and gives the stream."""

import itertools

import numpy as np
import pytest

from tfopt.sparsity.clustering import cluster
from tfopt.targets.ethos_u_weights import ALIGNMENT, encoded_bytes

CASES = list(itertools.product((2_000, 20_000), (1.0, 0.5, 0.2, 0.05), (0, 8, 32)))


def kernel(size, density, clusters, heavy=False):
    """Random integers: those of a normal distribution or of one with more outliers, pruned and clustered."""
    generator = np.random.default_rng(size)
    weights = generator.standard_t(4, size) if heavy else generator.normal(size=size)
    weights[np.argsort(np.abs(weights))[: size - round(density * size)]] = 0
    if clusters:
        weights = cluster(weights.astype(np.float32).reshape(-1, 4), clusters).weights.ravel()
    return np.rint(weights / np.abs(weights).max() * 127).astype(np.int8)


@pytest.mark.parametrize("heavy", [False, True])
def test_it_is_near_what_the_codec_of_vela_makes(heavy):
    codec = pytest.importorskip("ethosu.mlw_codec", reason="ethos-u-vela is not installed (tfopt[ethos-u])")
    said, made = [], []
    for case in CASES:
        codes = kernel(*case, heavy)
        said.append(encoded_bytes(codes))
        made.append(len(codec.encode(codes.astype(int).tolist())))
    ratios = np.array(said) / made
    assert ratios.min() > 0.88
    assert ratios.max() < 1.15
    assert 0.97 < np.median(ratios) < 1.03
    assert np.corrcoef(np.log(said), np.log(made))[0, 1] > 0.998


def test_zeros_and_shared_values_make_it_smaller():
    dense, thin, shared, both = (
        encoded_bytes(kernel(65_536, *form)) for form in ((1, 0), (0.2, 0), (1, 16), (0.2, 16))
    )
    assert both < thin < shared < dense < 65_536


def test_a_kernel_of_one_value_takes_about_a_bit_a_weight_and_an_empty_one_nothing():
    assert encoded_bytes(np.full((100, 100), 7, np.int8)) == pytest.approx(10_000 / 8, rel=0.05)
    assert encoded_bytes(np.zeros((64, 64), np.int8)) < 64 * 64 / 8
    assert encoded_bytes(np.zeros(0, np.int8)) == 0


def test_it_is_whole_words_whatever_the_shape():
    codes = kernel(4096, 0.3, 0)
    assert encoded_bytes(codes) == encoded_bytes(codes.reshape(8, 8, 64))
    assert encoded_bytes(codes) % ALIGNMENT == 0
