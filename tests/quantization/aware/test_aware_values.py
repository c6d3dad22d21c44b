"""That training and file mean the same value, where values are alike, move, or are always 0."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.quantization.aware.aware_nets import masked
from tfopt.quantization import quantize_aware


def test_a_bias_that_a_file_has_twice_is_rounded_both_times(blobs):
    """An LSTM's first step has it as a bias of 32 bits, which would keep what training rounded away."""
    model = keras.Sequential([keras.layers.Input((2, 8)), keras.layers.LSTM(4)])
    cell = model.layers[0].cell
    cell.bias.assign(np.random.default_rng(0).normal(size=cell.bias.shape))
    trained = np.asarray(cell.bias)
    aware = quantize_aware(model, "int8", blobs[0][:64, :2, :, 0])
    content = aware.convert().content
    np.testing.assert_array_equal(np.asarray(cell.bias), trained)
    interpreter = Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    scales = {t["index"]: t["quantization_parameters"]["scales"] for t in interpreter.get_tensor_details()}
    biases = [interpreter.get_tensor(i) * scales[i] for i in scales if _is(interpreter, i, np.int32, trained.shape)]
    assert biases
    step = (max(trained.max(), 0) - min(trained.min(), 0)) / 255
    for bias in biases:
        assert np.abs(bias / step - np.round(bias / step)).max() < 0.02
        assert np.abs(bias - trained).max() <= 0.51 * step


def _is(interpreter, index, dtype, shape):
    [detail] = [t for t in interpreter.get_tensor_details() if t["index"] == index]
    return detail["dtype"] == dtype and tuple(detail["shape"]) == shape and len(detail["quantization"]) > 0


def test_a_table_of_embeddings_may_grow_while_it_is_trained(blobs):
    """What is looked up is on the grid of the table as it is, not as it was when the file was planned."""
    x, _ = blobs
    words = np.clip(x[:, :2, 0, 0] * 4 + 4, 1, 15).astype(np.int32)
    model = masked(keras.layers.LSTM(4), 2)
    aware = quantize_aware(model, "int8", words[:64])
    table = model.layers[1].embeddings
    table.assign(table * 4)
    assert aware.likeness(aware.convert().content, words).agreement >= 0.99


def test_a_sum_that_is_always_zero_does_not_end_the_process(blobs):
    """LiteRT aborts where the inputs of an addition have steps 2**19 times those of its output."""
    x, _ = blobs
    inputs = keras.layers.Input((8, 8, 1))
    h = keras.layers.Flatten()(inputs)
    pair = keras.layers.Dense(8, trainable=False), keras.layers.Dense(8, trainable=False)
    nothing = keras.layers.Add()([layer(h) for layer in pair])
    pair[1].kernel.assign(-pair[0].kernel)
    model = keras.Model(inputs, keras.layers.Dense(4)(h) + keras.layers.Dense(4)(nothing))
    aware = quantize_aware(model, "int8", x[:64])
    assert aware.likeness(aware.convert().content, x).steps <= 2.01


def test_columns_keep_what_is_theirs_where_steps_are_looked_for(blobs):
    """Indices of two tables of embeddings, and a logarithm that has no value at 0."""
    generator = np.random.default_rng(0)
    ids = np.stack([generator.integers(0, 1000, 64), generator.integers(0, 10, 64)], axis=1).astype(np.int32)
    columns, rows = keras.layers.Input((2,), dtype="int32", name="ids"), keras.layers.Input((6, 4), name="rows")
    tables = keras.layers.Embedding(1000, 4), keras.layers.Embedding(10, 4)
    first, second = (table(columns[:, i]) for i, table in enumerate(tables))
    chosen = keras.ops.where(first > 0, first, second)
    h = keras.layers.Dense(4, activation="relu")(keras.layers.Flatten()(keras.ops.log(rows)))
    model = keras.Model([columns, rows], keras.layers.Dense(4)(keras.layers.Concatenate()([chosen, h])))
    samples = {"ids": ids, "rows": generator.uniform(0.1, 1, (64, 6, 4)).astype(np.float32)}
    aware = quantize_aware(model, "int8", samples)
    parts = {point.part for point in aware.scheme.points}
    aware.strip()
    assert len(parts) >= 4
    assert any("dense" in grid.name for grid in aware.scheme.grids)


@pytest.mark.parametrize("texts", [150, None])
@pytest.mark.sample(1)
def test_every_step_of_a_masked_layer_is_told_from_the_next(texts, blobs):
    """Of texts that nearly all end early, or all, and so do not tell."""
    x, _ = blobs
    words = np.clip(x[:, :3, 0, 0] * 4 + 4, 1, 15).astype(np.int32)
    words[:texts, 1:] = 0
    aware = quantize_aware(masked(keras.layers.LSTM(4), 3), "int8", words)
    assert not aware.scheme.unseen
    aware.strip()
