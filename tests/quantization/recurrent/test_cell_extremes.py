"""The extremes of cell states against Keras, which gives the state after each step on request."""

import numpy as np
import pytest
from keras import layers

from tests.quantization.recurrent.recurrent_nets import STEPS, built, chain
from tfopt.quantization.preparation import prepare
from tfopt.recipe.export import Export


def states(model, x):
    """The cell state of a model's LSTM after each step, `(samples, steps, units)`."""
    cell = model.layers[0].cell
    carried, seen = [np.zeros((len(x), cell.units), np.float32)] * 2, []
    for step in range(x.shape[1]):
        carried = cell(x[:, step], carried)[1]
        seen.append(np.asarray(carried[1]))
    return np.stack(seen, axis=1)


@pytest.mark.parametrize("batch", [1, 4])
def test_the_extremes_of_each_run_are_those_of_keras(batch):
    model, samples = built(chain(layers.LSTM(4)), count=8)
    [x] = samples.values()
    extremes = prepare(model, Export(recurrent="fused", batch=batch), samples).extremes
    [place] = [i for i, name in enumerate(extremes.names) if name.endswith("cell_state")]
    seen = states(model, x).reshape(len(x) // batch, -1)
    assert np.allclose(extremes.low[:, place], np.minimum(seen.min(axis=1), 0), atol=1e-5)
    assert np.allclose(extremes.high[:, place], np.maximum(seen.max(axis=1), 0), atol=1e-5)


def test_of_a_stream_they_are_those_of_the_samples_in_a_row():
    model, samples = built(chain(layers.LSTM(4)), count=8)
    [x] = samples.values()
    extremes = prepare(model, Export(stateful=True), samples).extremes
    [place] = [i for i, name in enumerate(extremes.names) if name.endswith("cell_state")]
    seen = states(model, x.reshape(1, 8 * STEPS, -1))
    assert extremes.low[:, place].min() == pytest.approx(min(seen.min(), 0), abs=1e-5)
    assert extremes.high[:, place].max() == pytest.approx(max(seen.max(), 0), abs=1e-5)
    apart = prepare(model, Export(recurrent="fused"), samples).extremes
    assert extremes.high[:, place].max() > apart.high[:, place].max()
