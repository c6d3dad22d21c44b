import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.targets.decoding.reference_decoder import decode
from tfopt.recipe.decode import CODINGS
from tfopt.targets.decoding.codings import huffman, look_up, zero_mask
from tfopt.targets.decoding.decoded_file import GRAPH_BYTES, kernel_bytes, least
from tfopt.targets.decoding.kernel import Kernel

rng = np.random.default_rng(0)
# Kernels at the ends of what a coding can hold.
ODD = {
    "one_weight": np.array([[5]]),
    "one_value": np.full((6, 7), -3),
    "all_zeros": np.zeros((5, 9)),
    "two_values": rng.choice([-128, 127], (3, 11)),
    "128_values": np.arange(-64, 64).reshape(8, 16).repeat(3, 1),
    "129_values": np.arange(-64, 65).reshape(3, 43),
    "256_values": np.arange(-128, 128).reshape(16, 16),
    "90_percent_zeros": rng.integers(-128, 128, (40, 50)) * (rng.random((40, 50)) < 0.1),
    "skewed": np.repeat(np.arange(13), 2 ** np.arange(13))[:8190].reshape(-1, 9),
}


@st.composite
def kernels(draw):
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    count = draw(st.integers(1, 30))
    dtype = draw(st.sampled_from([np.int8, np.float32]))
    seeded = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = seeded.choice(seeded.integers(-128, 128, count), shape) * (seeded.random(shape) < draw(st.floats(0, 1)))
    axis = draw(st.sampled_from([None, 0, len(shape) - 1]))
    return Kernel((values if dtype == np.int8 else values / 7).astype(dtype), axis)


def assert_decodes(encoded, kernel):
    values = kernel.values
    got = decode(encoded, values.shape, values.dtype, kernel.axis)
    assert got.tobytes() == np.ascontiguousarray(values).tobytes()


@settings(max_examples=60, deadline=None)
@given(kernels())
def test_every_coding_gives_the_kernel_back_in_every_bit(kernel):
    for coding in CODINGS.values():
        encoded = coding.encode(kernel)
        if encoded is None:
            assert coding.name == "huffman"  # of floats, and of a single value
            continue
        assert (encoded.coding, encoded.bytes) == (coding.name, len(encoded.data) + len(encoded.tables))
        assert_decodes(encoded, kernel)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_kernels_at_the_ends(name, axis):
    kernel = Kernel(ODD[name].astype(np.int8), axis)
    found = {coding.name: coding.encode(kernel) for coding in CODINGS.values()}
    for encoded in filter(None, found.values()):
        assert_decodes(encoded, kernel)
    values = len(np.unique(kernel.values))
    assert (found["huffman"] is None) == (values < 2)
    if axis is None:
        assert (found["look_up"] is None) == (values > 128)
    assert found["zero_mask"] is not None


def test_negative_zeros_and_nan_of_floats_keep_their_bits():
    kernel = Kernel(np.array([[0.0, -0.0, np.nan, 1.0], [-0.0, 0.0, 1.0, np.inf]], np.float32))
    for coding in (look_up, zero_mask):
        assert_decodes(coding.encode(kernel), kernel)


def test_sizes_are_those_of_the_format():
    kernel = Kernel((np.arange(4800) % 16).astype(np.int8).reshape(48, 100), None)
    assert look_up.encode(kernel).bytes == 4800 * 4 // 8 + 16 + 16
    by_channel = Kernel(kernel.values, 0)
    assert look_up.encode(by_channel).bytes == 4800 * 4 // 8 + 16 + 48 * 16
    assert zero_mask.encode(kernel).bytes == 4800 // 8 + 16 + 4500


def huffman_cost(counts):
    """Bits of Huffman's code, from the sums that his algorithm makes."""
    heap, total = [int(count) for count in counts], 0
    heapq.heapify(heap)
    while len(heap) > 1:
        pair = heapq.heappop(heap) + heapq.heappop(heap)
        total += pair
        heapq.heappush(heap, pair)
    return total


def cheapest(counts, longest):
    """The least bits of a prefix code of at most so many bits, by trying every multiset of lengths (Kraft)."""
    ascending = sorted(map(int, counts))

    def tried(place, room, shortest):
        if place < 0:
            return 0
        options = (
            ascending[place] * bits + tried(place - 1, room - 2 ** (longest - bits), bits)
            for bits in range(shortest, longest + 1)
            if room - 2 ** (longest - bits) >= place
        )
        return min(options, default=10**9)

    return tried(len(ascending) - 1, 2**longest, 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=7))
def test_code_lengths_are_optimal_within_their_limit(counts):
    counts = np.array(counts)
    assert huffman.code_lengths(counts, 15) @ counts == huffman_cost(counts)
    for longest in range((len(counts) - 1).bit_length(), 5):
        lengths = huffman.code_lengths(counts, longest)
        assert lengths.max() <= longest
        assert (2.0**-lengths).sum() <= 1
        assert lengths @ counts == cheapest(counts, longest)


def test_the_least_coding_is_taken_and_never_more_than_the_kernel():
    zeros = np.zeros((64, 64), np.int8)
    zeros[::7, ::5] = rng.integers(-127, 128, (10, 13))
    assert least(Kernel(zeros)).coding == min(CODINGS.values(), key=lambda c: c.encode(Kernel(zeros)).bytes).name
    assert least(Kernel(zeros), ["look_up"]).coding == "look_up"
    assert least(Kernel(np.arange(-128, 128, dtype=np.int8)), ["look_up"]) is None
    flat = rng.integers(-128, 128, (64, 64)).astype(np.int8)
    assert kernel_bytes(Kernel(flat)) == flat.nbytes
    assert kernel_bytes(Kernel(zeros)) == least(Kernel(zeros)).bytes + GRAPH_BYTES
