"""Whether calibration samples are scaled as the inputs that a model was trained on.

A file that was calibrated on values of 0 to 255 for a model that was trained on 0 to 1 converts well and looks better
than the right one: saturated outputs are easy to agree with. Only the model can tell. Where it has a normalization, the
statistics that it keeps are those of its training; where it has none, outputs tell, of classes for which images of the
usual scalings are tried.

A warning that is wrong costs more than one that is missing, so it takes both: what the samples give is far from what
training gives, and the same samples in another scaling are near to it. The thresholds were set on small networks
(dense, convolutional, with and without normalization), trained on MNIST and CIFAR-10 in each of the scalings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import keras
import numpy as np

from tfopt.models.layers import walk
from tfopt.quantization.output_saturation import (
    SATURATED,
    STARVED,
    class_outputs,
    full,
    has_trained_bias,
    informed,
    saturated,
    starved,
)
from tfopt.quantization.training_statistics import FAR, NEAR, distance, inner_rescaling

# Samples to look at, the fewest that tell something of classes, and those for a first look at these.
LOOKED_AT = 64
FEWEST = 32
FEW = 8
# Samples to look at in another scaling, of inputs of so many values that few samples show a deviation.
FEW_LARGE, LARGE_VALUES = 16, 2**14
# Quotient of the reaches of two inputs that are of different scalings: 127.5 for images and their signed form.
APART = 30.0
# Distances (see `training_statistics.Distance`) that differ less than this do not tell two scalings apart.
ALIKE = 0.75
# Fewer values than this in a sample are a row of a table and no image.
FEWEST_VALUES = 64

Samples = Mapping[str, np.ndarray]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Scaling:
    """One of the usual scalings of images and sound.

    Args:
        words: Its range in words.
        fits: Whether values from a lowest to a highest may be of it.
        to_unit: To values of 0 to 1.
        from_unit: Back.
    """

    words: str
    fits: Callable[[float, float], bool]
    to_unit: Callable[[np.ndarray], np.ndarray]
    from_unit: Callable[[np.ndarray], np.ndarray]


def _channels(x: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    """ImageNet's numbers, one by channel where there are three."""
    three = x.ndim > 2 and x.shape[-1] == len(values)
    return np.asarray(values if three else np.mean(values), np.float32)


# torchvision's, of images of 0 to 1.
_MEANS, _DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

UNIT = Scaling("0 to 1", lambda low, high: low >= 0 and 0.1 < high <= 1, lambda x: x, lambda x: x)
PIXELS = Scaling("0 to 255", lambda low, high: low >= 0 and 32 < high <= 255, lambda x: x / 255, lambda x: x * 255)
SIGNED = Scaling("-1 to 1", lambda low, high: -1 <= low < 0 and high <= 1, lambda x: (x + 1) / 2, lambda x: x * 2 - 1)
IMAGENET = Scaling(
    "ImageNet's mean and deviation taken off",
    lambda low, high: -2.2 <= low < 0 and 1 < high <= 2.7,
    lambda x: x * _channels(x, _DEVIATIONS) + _channels(x, _MEANS),
    lambda x: (x - _channels(x, _MEANS)) / _channels(x, _DEVIATIONS),
)
SOUND = Scaling(
    "-32768 to 32767",
    lambda low, high: low < -255 and low >= -32768 and 255 < high <= 32767,
    lambda x: (x / 32768 + 1) / 2,
    lambda x: (x * 2 - 1) * 32768,
)
SCALINGS = (UNIT, PIXELS, SIGNED, IMAGENET, SOUND)
# Those whose values are large: a model that was trained on others saturates on them.
LARGE = (PIXELS, SOUND)


def input_range_warnings(model: keras.Model, samples: Samples) -> tuple[str, ...]:
    """A warning where samples are scaled in another way than what the model was trained on.

    Args:
        model: A built model; an untrained one gets no warning.
        samples: Inputs `(samples, ...)` by name.

    Returns:
        At most one sentence for each input at fault; none where nothing points to it.
    """
    taken = {name: np.asarray(array[:LOOKED_AT]) for name, array in samples.items()}
    ids = any(isinstance(place.layer, keras.layers.Embedding) for place in walk(model))
    floats = {
        name: array
        for name, array in taken.items()
        if array.dtype.kind == "f" and array.size and not (ids and np.array_equal(array, np.round(array)))
    }
    if not floats or any(not np.isfinite(array).all() for array in floats.values()):
        return ()
    small = {name: x for name, x in floats.items() if _scaling(x) in (UNIT, SIGNED)}
    twice = _tried(partial(inner_rescaling, small=small), model, taken)
    if twice is not None:
        return (
            _sentence({twice.input: floats[twice.input]}, f"the model divides its inputs itself, in {twice.layer}"),
        )
    here = _tried(distance, model, taken)
    if here is None:
        return _by_outputs(model, taken, floats)
    return () if here.value < FAR else _by_statistics(model, taken, floats, here.layer)


def _tried(
    measured: Callable[[keras.Model, Samples], Found | None], model: keras.Model, samples: Samples
) -> Found | None:
    """What is measured of a model on samples; None where it does not run on them."""
    try:
        return measured(model, samples)
    except Exception:  # a model need not take inputs that nobody gave, such as indices out of a table
        return None


def _by_statistics(model: keras.Model, taken: Samples, floats: Samples, layer: str) -> tuple[str, ...]:
    """The warning that a normalization gives rise to, from whose statistics the samples are far."""
    near: dict[str, tuple[float, Samples]] = {}
    count = FEW_LARGE if max(array[0].size for array in floats.values()) >= LARGE_VALUES else LOOKED_AT
    taken = {name: array[:count] for name, array in taken.items()}
    for words, changed in _alternatives({name: array[:count] for name, array in floats.items()}):
        there = _tried(distance, model, {**taken, **changed})
        if there is not None and there.value < NEAR:
            near[words] = there.value, {name: floats[name] for name in changed}
    if not near:
        return ()
    nearest, at_fault = min(near.values(), key=lambda found: found[0])
    fitting = ", or of ".join(words for words, (value, _) in near.items() if value < nearest + ALIKE)
    return (_sentence(at_fault, f"the statistics that {layer} keeps fit inputs of {fitting}"),)


def _by_outputs(model: keras.Model, taken: Samples, floats: Samples) -> tuple[str, ...]:
    """The warning that outputs give rise to, for a model without a normalization that was trained."""
    images = {name: x for name, x in floats.items() if x[0].size >= FEWEST_VALUES and _scaling(x)}
    if not images or min(map(len, taken.values())) < FEWEST:
        return ()
    large = any(_scaling(x) in LARGE for x in images.values())
    if not large and not has_trained_bias(model):
        return ()
    few = _tried(class_outputs, model, {name: array[:FEW] for name, array in taken.items()}) or ()
    if not (saturated(few, SATURATED / 2) if large else starved(few, 2 * STARVED)):
        return ()
    here = _tried(class_outputs, model, taken) or ()
    if not (saturated(here) if large else starved(here)):
        return ()
    for words, changed in _alternatives(images):
        if large == (words in [one.words for one in LARGE]):
            continue
        there = _tried(class_outputs, model, {**taken, **changed}) or ()
        if there and large and informed(there, unit=words == UNIT.words):
            why = f"its outputs are saturated by them, and not by inputs of {words}"
        elif there and not large and full(there):
            why = f"its outputs hardly depend on them, and do on inputs of {words}"
        else:
            continue
        return (_sentence({name: floats[name] for name in changed}, why),)
    return ()


def splits_warning(calibration: Mapping[str, np.ndarray], others: Mapping[str, Mapping[str, np.ndarray]]) -> str | None:
    """A warning where calibration samples have another scaling than other inputs of the same recipe or `fit`.

    Args:
        calibration: Inputs `(samples, ...)` by name.
        others: Such inputs, by the words for what they are, such as `the batches of training`.
    """
    seen = {name: array[:LOOKED_AT] for name, array in calibration.items()}
    reaches = {name: _reach(array) for name, array in seen.items()}
    for what, inputs in others.items():
        for name, array in seen.items():
            other = inputs.get(name)
            if other is None or not reaches[name]:
                continue
            other = other[:LOOKED_AT]
            there = _reach(other)
            if there and max(reaches[name] / there, there / reaches[name]) >= APART and not _ids(array, other):
                return (
                    f"the calibration samples{f' of {name!r}' if name else ''} are of {_words(array)}, and {what} of "
                    f"{_words(other)}. A file is right for inputs scaled as those that calibrate it, and a "
                    "model for inputs scaled as those that train it: preprocess all alike."
                )
    return None


def _reach(array: np.ndarray) -> float:
    """The size of large values of an input, whatever single ones stand out; 0 of integers, but for pixels of 8 bits."""
    pixels = array.dtype == np.uint8 and array.ndim > 2
    if not array.size or not (array.dtype.kind == "f" or pixels):
        return 0.0
    return float(np.quantile(np.abs(array.astype(np.float32, copy=False)), 0.99))


def _ids(*arrays: np.ndarray) -> bool:
    """Whether rows may hold ids in floats: whole numbers, one way and the other, which no scaling keeps."""
    return all(array.ndim < 3 and np.array_equal(array, np.round(array)) for array in arrays)


def _scaling(array: np.ndarray) -> Scaling | None:
    low, high = float(array.min()), float(array.max())
    return next((scaling for scaling in SCALINGS if scaling.fits(low, high)), None)


def _alternatives(floats: Samples) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The inputs in each other scaling, after its words; those that are of no known one stand only in the last."""
    scalings = {name: _scaling(array) for name, array in floats.items() if array[0].size >= FEWEST_VALUES}
    for other in SCALINGS:
        changed = {
            name: other.from_unit(own.to_unit(floats[name])).astype(floats[name].dtype)
            for name, own in scalings.items()
            if own is not None and own is not other
        }
        if changed:
            yield other.words, changed
    standard = {name: _standardized(array) for name, array in floats.items()}
    changed = {name: array for name, array in standard.items() if not np.array_equal(array, floats[name])}
    if changed:
        yield "mean 0 and deviation 1", changed


def _standardized(array: np.ndarray) -> np.ndarray:
    """The samples with the mean 0 and the deviation 1 in each of the last axis, but for what may be ids there."""
    axes = tuple(range(array.ndim - 1)) if array.ndim > 1 else (0,)
    quantities = True if array.ndim > 3 else (array != np.round(array)).any(axes)
    standard = (array - array.mean(axes)) / np.maximum(array.std(axes), 1e-7)
    return np.where(quantities, standard, array).astype(array.dtype)


def _words(array: np.ndarray) -> str:
    return f"{float(array.min()):.3g} to {float(array.max()):.3g}"


def _sentence(at_fault: Samples, why: str) -> str:
    received = ", ".join(f"{name!r} of {_words(array)}" for name, array in at_fault.items())
    return (
        f"the calibration samples seem to be scaled in another way than what the model was trained on: {why}. "
        f"Preprocess them as in training. Received: {received}."
    )
