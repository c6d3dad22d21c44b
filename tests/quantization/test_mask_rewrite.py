"""Huge constants that only select are brought near, and others are left alone."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.quantization.selecting_zoo import ZOO, lower, over_time
from tfopt.quantization.float_conversion import to_float
from tfopt.quantization.mask_rewrite import bring_near
from tfopt.quantization.preparation import prepare
from tfopt.recipe.export import Export
from tfopt.tflite.file import constants


def brought(model, x):
    samples = x if isinstance(x, dict) else {"x": x}
    source = to_float(model)
    rewritten, masks = bring_near(source, samples)
    return source, rewritten, masks


def largest(content):
    return max(float(np.abs(value).max()) for value in constants(content).values() if value.size)


@pytest.mark.parametrize("value", [-1e9, -1e4, -np.inf, float(np.finfo("float32").min)])
def test_a_masked_logit_lies_just_below_the_others(value):
    def attend(x, mask):
        return ops.softmax(ops.where(mask, ops.matmul(x, ops.transpose(x, (0, 2, 1))), value))

    model, x = over_time(attend, mask=lower("bool"))
    prepared = prepare(model, Export(mode="int8"), x)
    [(name, masked)] = prepared.masks.tensors.items()
    products = x["x"] @ x["x"].transpose(0, 2, 1)
    least = products[x["mask"]].min()
    ranges = prepared.extremes.ranges()[name]
    # exp(-7) for all six of a row together
    assert ranges["min"].item() == pytest.approx(least - 7 - np.log(6), rel=1e-4)
    assert ranges["max"].item() == pytest.approx(products[x["mask"]].max(), rel=1e-4)
    assert masked.sign == -1


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: layers.Dense(3)(x + 1500.0),
        lambda x: layers.Dense(3)(x * 2000.0),
        lambda x: layers.Dense(3)(ops.where(x > 0, x, -5000.0)),
    ],
    ids=["an offset", "a factor", "a value that is read"],
)
def test_a_constant_whose_size_matters_is_left_alone(compute):
    source, rewritten, masks = brought(*over_time(compute))
    assert rewritten is source
    assert not masks.tensors


def test_one_that_matters_does_not_spoil_it_for_the_others():
    def attend(x, mask):
        weights = ops.softmax(ops.where(mask, ops.matmul(x, ops.transpose(x, (0, 2, 1))), -1e9))
        return ops.matmul(weights, x) + 1500.0

    source, rewritten, masks = brought(*over_time(attend, mask=lower("bool")))
    assert largest(source.content) == 1e9
    assert largest(rewritten.content) == 1500.0
    assert len(masks.tensors) == 1


def test_where_only_the_order_counts_the_margin_is_a_share_of_the_range():
    def pool(x, mask):
        return ops.max(ops.where(mask[:, 0, :, None], x, -1e9), axis=1)

    model, x = over_time(pool, mask=lower("bool"))
    _, _, masks = brought(model, x)
    [masked] = masks.tensors.values()
    seen = x["x"][:, :1]  # the first row of the mask lets one step through
    assert masked.margin == pytest.approx(0.05 * np.ptp(seen), rel=1e-4)


def test_a_mask_handed_in_as_huge_values_is_clipped():
    model, x = ZOO["attention with a bias from outside"]()
    prepared = prepare(model, Export(mode="int8"), x)
    near = prepared.masks.inputs["bias"]
    assert 7 < near < 60
    clipped = prepared.masks.clipped(prepared.samples)
    assert set(np.unique(clipped["bias"])) == {np.float32(-near), 0}
    assert clipped["x"] is prepared.samples["x"]


def test_samples_of_one_more_row_move_the_end_of_the_range():
    model, x = ZOO["causal dot attention"]()
    prepared = prepare(model, Export(mode="int8"), x)
    wider = prepared.masks.on(prepared.unmasked, {"x": prepared.samples["x"] * 2})
    [name] = [name for name, masked in prepared.masks.tensors.items() if masked.margin is not None]
    assert wider.tensors[name].end < prepared.masks.tensors[name].end


def test_a_model_without_huge_constants_is_not_run():
    model = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(3)])
    source = to_float(model)
    assert bring_near(source, {"x": np.zeros((0, 4), np.float32)}) == (
        source,
        type(brought(model, np.ones((2, 4), "f"))[2])(),
    )


@pytest.mark.parametrize("first", [0, 5000])
def test_a_large_feature_of_later_samples_is_no_mask(first):
    model = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
    x[:100, 1], x[100:, 1] = first, 5000 - first
    source, rewritten, masks = brought(model, x)
    assert rewritten is source
    assert not masks.inputs
