"""What the normalizations of a model remember of the inputs it was trained on."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tfopt.models import signature
from tfopt.models.layers import call_replaced, walk

# Distance (see `Distance`) from which samples are not of the training, and up to which they may be. Of the right
# scaling it was 0.03 to 0.9, after an epoch up to 1.5, as weights move faster than averages; of 0-255 for 0-1 and back
# 4.0 to 6.6. That of 0-1 for ImageNet's or -1 to 1 is 1.3 to 2.3, which is no clear sign.
FAR, NEAR = 2.5, 1.5
# Fewer samples than this show no deviation.
FEWEST = 8
# Samples to run at once, and the values of inputs at most; a model keeps many times that while it runs.
BATCH, BATCH_VALUES = 16, 2**20
# A moving average begins at mean 0 and variance 1 and takes hundreds of steps to forget that; after a short training
# the statistics of its inputs have only such a share in it.
SHARES = (1.0, 0.9, 0.75, 0.5, 0.35, 0.2, 0.1)
# A channel that varies less than this is dead; a trained variance differs from its first value by more than this.
DEAD = 1e-6
# Factors of a Rescaling that are meant for pixels: 1/255, 1/127.5 and their likes.
PIXEL_FACTORS = (1 / 300, 1 / 100)


@dataclass(frozen=True)
class Distance:
    """How far the inputs of a normalization are from what it was trained on.

    Args:
        layer: Path of the normalization.
        value: Median over its channels of |log(deviation / trained deviation)| + |mean - trained mean| / deviation,
            with the larger deviation of the two; 0 for inputs of the same mean and deviation.
    """

    layer: str
    value: float


@dataclass(frozen=True)
class Divided:
    """An input that a Rescaling of the model divides, as is meant for pixels."""

    input: str
    layer: str


class _Reached(BaseException):
    """Ends a run of the model once the layer that matters was reached; no `except Exception` of Keras catches it."""


def distance(model: keras.Model, samples: Mapping[str, np.ndarray]) -> Distance | None:
    """How far samples are from the training, by the first normalization in the model that was trained.

    Only the layers before it are run.

    Args:
        model: A built model.
        samples: Inputs `(samples, ...)` by name.

    Returns:
        The distance; None where no normalization has the statistics of a training, or there are too few samples.
    """
    if min(map(len, samples.values())) < FEWEST:
        return None
    trained = {id(place.layer): (place, *known) for place in walk(model) if (known := _statistics(place.layer))}
    seen: dict[int, _Moments] = {}

    def reached(layer: Any, value: Any) -> None:
        seen.setdefault(id(layer), _Moments()).add(value, layer.axis)
        raise _Reached

    _run(model, batches(model, samples), [place.layer for place, _, _ in trained.values()], reached)
    if not seen:
        return None
    first, moments = next(iter(seen.items()))
    place, mean, variance = trained[first]
    return Distance(place.path, _gaussians(moments, place.layer, mean, variance))


def inner_rescaling(
    model: keras.Model, samples: Mapping[str, np.ndarray], small: Mapping[str, np.ndarray]
) -> Divided | None:
    """The first of the small inputs, of rank 3 or more, that goes into a Rescaling which is meant for pixels.

    Args:
        model: A built model.
        samples: All inputs `(samples, ...)` by name.
        small: Those whose values are of 0 to 1 or -1 to 1.
    """
    rescalings = {
        id(place.layer): place
        for place in walk(model)
        if isinstance(place.layer, keras.layers.Rescaling)
        and np.ndim(place.layer.scale) == 0
        and PIXEL_FACTORS[0] <= float(place.layer.scale) <= PIXEL_FACTORS[1]
    }
    found: list[Divided] = []

    def reached(layer: Any, value: Any) -> None:
        given = keras.ops.convert_to_numpy(value)
        for name, array in small.items():
            if (
                array.ndim > 2
                and given.shape == array[: len(given)].shape
                and np.array_equal(given, array[: len(given)])
            ):
                found.append(Divided(name, rescalings[id(layer)].path))
                raise _Reached

    if small:
        first = itertools.islice(batches(model, samples), 1)
        _run(model, first, [place.layer for place in rescalings.values()], reached)
    return found[0] if found else None


def _run(
    model: keras.Model,
    inputs: Iterable[Mapping[str, np.ndarray]],
    layers: list[Any],
    reached: Callable[[Any, Any], None],
) -> None:
    """Runs the model on batches of inputs, and tells of what goes into each of the layers."""
    if not layers:
        return
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(call_replaced(layer, _telling(layer, reached)))
        for batch in inputs:
            with contextlib.suppress(_Reached):
                signature.call(model, batch)


def _telling(layer: Any, reached: Callable[[Any, Any], None]) -> Callable[..., Any]:
    own = layer.call

    def call(*arguments: Any, **named: Any) -> Any:
        reached(layer, arguments[0] if arguments else named["inputs"])
        return own(*arguments, **named)

    return call


def batches(model: keras.Model, samples: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The samples in batches of the size that the model takes, or where it is open of a few, the fewer the larger."""
    count = len(next(iter(samples.values())))
    fixed = [tensor.shape[0] for tensor in getattr(model, "inputs", None) or () if tensor.shape[0]]
    values = sum(array[:1].size for array in samples.values())
    step = fixed[0] if fixed else max(1, min(count, BATCH, BATCH_VALUES // max(values, 1)))
    for start in range(0, count if not fixed else count - step + 1, step):
        yield {name: array[start : start + step] for name, array in samples.items()}


def _statistics(layer: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """The mean and variance that a normalization was trained or adapted to, by channel; None where it was not."""
    if isinstance(layer, keras.layers.BatchNormalization):
        found = layer.moving_mean, layer.moving_variance
    elif (
        isinstance(layer, keras.layers.Normalization) and not layer.invert and getattr(layer, "mean", None) is not None
    ):
        found = layer.mean, layer.variance
    else:
        return None
    mean, variance = (np.asarray(keras.ops.convert_to_numpy(value), np.float64).ravel() for value in found)
    fresh = not mean.any() and (variance == 1).all()
    return None if fresh or not mean.size else (mean, variance)


@dataclass
class _Moments:
    """The mean and variance of values by channel, added up batch by batch; no values are kept.

    Args:
        count: Values of a channel so far.
        mean: Their mean `(channels,)`.
        squares: Sum of the squares of their distances from the mean `(channels,)`.

    References:
        Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
    """

    count: int = 0
    mean: np.ndarray = field(default_factory=lambda: np.zeros(1))
    squares: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def add(self, values: Any, axis: int | Sequence[int] | None) -> None:
        """Adds a batch, whose channels are on the axes that a normalization keeps."""
        kept = {a % len(values.shape) for a in ((axis,) if isinstance(axis, int) else axis or ())}
        axes = [a for a in range(len(values.shape)) if a not in kept]
        count = int(np.prod([values.shape[a] for a in axes]))
        mean, variance = (
            np.asarray(keras.ops.convert_to_numpy(one), np.float64).ravel()
            for one in keras.ops.moments(keras.ops.cast(values, "float32"), axes)
        )
        whole, shift = self.count + count, mean - self.mean
        self.squares = self.squares + variance * count + shift**2 * (self.count * count / whole)
        self.mean = self.mean + shift * (count / whole)
        self.count = whole


def _gaussians(moments: _Moments, layer: Any, mean: np.ndarray, variance: np.ndarray) -> float:
    """The distance of values from a normalization's mean and variance, see `Distance`."""
    here, spread = moments.mean, np.sqrt(moments.squares / moments.count)
    averaged = isinstance(layer, keras.layers.BatchNormalization)
    return min(
        _apart(here, spread, mean / share, (variance - (1 - share)) / share)
        for share in (SHARES if averaged else (1.0,))
    )


def _apart(here: np.ndarray, spread: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> float:
    trained = np.sqrt(np.maximum(variance, 0))
    alive = np.maximum(spread, trained) > DEAD
    if not alive.any():
        return 0.0
    ratio = np.abs(np.log(np.maximum(spread, DEAD) / np.maximum(trained, DEAD)))
    shift = np.abs(here - mean) / np.maximum(np.maximum(spread, trained), DEAD)
    return float(np.median((ratio + shift)[alive]))
