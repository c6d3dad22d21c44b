"""Whether calibration samples show what a model will see: several classes, and more than copies of a few samples.

Ranges and integers are chosen for what the samples show. The first 200 samples of a sorted data set are of one class,
and neighbouring frames of a video one picture. A warning that is wrong costs more than one that is missing: both checks
want a clear case.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from tfopt.models.layers import walk
from tfopt.quantization.output_saturation import class_outputs, has_trained_bias, of_one_class

# Samples to look at, spread over all, and the fewest that tell something.
LOOKED_AT, FEWEST = 64, 24
# Fewer values than this in a sample are a row of a table, of which many may be alike.
FEWEST_VALUES = 64
# Distance of two samples, as a share of the size of their values around the mean, below which one is a copy.
COPY = 0.05
# The share of different samples below which a set is one of copies.
DIFFERENT = 0.25

Samples = Mapping[str, np.ndarray]


def variety_warnings(model: keras.Model, samples: Samples) -> tuple[str, ...]:
    """Warnings where calibration samples are of one class, or near-copies of few.

    Args:
        model: A built model; of one that was not trained no classes are looked at.
        samples: Inputs `(samples, ...)` by name.

    Returns:
        At most one sentence.
    """
    count = len(next(iter(samples.values())))
    chosen = np.linspace(0, count - 1, min(count, LOOKED_AT)).astype(int)
    if len(chosen) < FEWEST:
        return ()
    taken = {name: array[chosen] for name, array in samples.items()}
    different = _different(taken, any(isinstance(place.layer, keras.layers.Embedding) for place in walk(model)))
    if different < DIFFERENT * len(chosen):
        return (
            f"the calibration samples are near-copies: of {len(chosen)} that were looked at {different} "
            f"{'is' if different == 1 else 'are'} different. Take samples from all over the training data.",
        )
    try:
        one = of_one_class(class_outputs(model, taken)) if has_trained_bias(model) else None
    except Exception:  # a model need not take inputs that nobody gave
        return ()
    if one is None:
        return ()
    return (
        f"the calibration samples seem to be of one class: the model gives class {one.main} to {one.share:.0%} of "
        f"{len(chosen)} that were looked at. Take samples of every class, such as a random choice of the training "
        "data.",
    )


def _different(samples: Samples, ids: bool) -> int:
    """How many of the samples are no near-copies of others; all, where it cannot be told.

    Args:
        samples: Some inputs by name.
        ids: Whether inputs may be ids in floats.
    """
    count = len(next(iter(samples.values())))
    far = np.zeros((count, count), bool)
    for array in samples.values():
        rows = array.reshape(count, -1)
        whole = array.dtype.kind != "f" or (ids and np.array_equal(array, np.round(array)))
        if rows.shape[1] < FEWEST_VALUES or (whole and array.ndim < 3) or not np.isfinite(array).all():
            return count
        far |= _distances(array) > COPY
    kept: list[int] = []
    for number in range(count):
        if far[number, kept].all():
            kept.append(number)
    return len(kept)


def _distances(array: np.ndarray) -> np.ndarray:
    """Root mean square differences of all pairs of samples, `(samples, samples)`, in deviations of their channels.

    The deviation of a channel is taken over samples and positions, so that an offset does not count; where that does
    not vary, samples differ by nothing.
    """
    values = array.astype(np.float32)
    channels = values.reshape(-1, values.shape[-1]) if values.ndim > 2 else values
    deviation = channels.std(axis=0, dtype=np.float64)
    varies = deviation > 1e-6 * np.abs(channels).max(initial=0)
    scaled = (values - channels.mean(axis=0)) / np.where(varies, deviation, np.inf)
    rows = scaled.reshape(len(values), -1).astype(np.float64)
    squares = np.square(rows).sum(1)
    apart = np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0)
    return np.sqrt(apart / rows.shape[1])
