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

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from tfopt.models.layers import walk
from tfopt.quantization.output_saturation import class_outputs, has_trained_bias, saturated, starved, suspicious
from tfopt.quantization.training_statistics import FAR, NEAR, distance, inner_rescaling

# Samples to look at, the fewest that tell something of classes, and those for a first look at these.
LOOKED_AT = 64
FEWEST = 32
FEW = 8
# Quotient of the reaches of two inputs that are of different scalings: 127.5 for images and their signed form.
APART = 30.0
# Fewer values than this in a sample are a row of a table and no image.
FEWEST_VALUES = 64

Samples = Mapping[str, np.ndarray]


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
    twice = inner_rescaling(model, taken, {n: x for n, x in floats.items() if _scaling(x) in (UNIT, SIGNED)})
    if twice is not None:
        return (
            _sentence({twice.input: floats[twice.input]}, f"the model divides its inputs itself, in {twice.layer}"),
        )
    others = _alternatives(floats)
    here = distance(model, taken)
    if here is not None:
        if here.value < FAR:
            return ()
        found = {words: distance(model, {**taken, **changed}) for words, changed in others.items()}
        near = {words: one.value for words, one in found.items() if one is not None and one.value < NEAR}
        if not near:
            return ()
        best = sorted(near, key=near.__getitem__)[:2]
        why = f"the statistics that {here.layer} keeps fit inputs of {' or of '.join(best)}"
        return (_sentence(_changed(floats, others[best[0]]), why),)
    return _by_outputs(model, taken, floats, others)


def _by_outputs(model: keras.Model, taken: Samples, floats: Samples, others: Mapping[str, Samples]) -> tuple[str, ...]:
    """The warning that outputs give rise to, for a model without a normalization that was trained."""
    images = {name: x for name, x in floats.items() if x[0].size >= FEWEST_VALUES and _scaling(x)}
    if not images or min(map(len, taken.values())) < FEWEST:
        return ()
    if not suspicious(class_outputs(model, {name: array[:FEW] for name, array in taken.items()})):
        return ()
    here, names = class_outputs(model, taken), [one.words for one in LARGE]
    large = any(_scaling(x) in LARGE for x in images.values())
    for words, changed in others.items():
        changed = {name: array for name, array in changed.items() if name in images}
        if not changed or large == (words in names) or not (large or has_trained_bias(model)):
            continue
        there = class_outputs(model, {**taken, **changed})
        if large and saturated(here, there, unit=words == UNIT.words):
            why = f"its outputs are saturated by them, and not by inputs of {words}"
        elif not large and starved(here, there):
            why = f"its outputs hardly depend on them, and do on inputs of {words}"
        else:
            continue
        return (_sentence(_changed(floats, changed), why),)
    return ()


def splits_warning(calibration: Mapping[str, np.ndarray], others: Mapping[str, Mapping[str, np.ndarray]]) -> str | None:
    """A warning where calibration samples have another scaling than other inputs of the same recipe or `fit`.

    Args:
        calibration: Inputs `(samples, ...)` by name.
        others: Such inputs, by the words for what they are, such as `the batches of training`.
    """
    for what, inputs in others.items():
        for name, array in calibration.items():
            here, there = _reach(array), _reach(inputs.get(name))
            if here and there and max(here / there, there / here) >= APART:
                return (
                    f"the calibration samples{f' of {name!r}' if name else ''} are of {_words(array)}, and {what} of "
                    f"{_words(inputs[name])}. A file is right for inputs scaled as those that calibrate it, and a "
                    "model for inputs scaled as those that train it: preprocess all alike."
                )
    return None


def _reach(array: np.ndarray | None) -> float:
    """The size of large values of an input in floats, whatever single ones stand out; 0 of an input that holds ids."""
    if array is None or not array.size:
        return 0.0
    return float(np.quantile(np.abs(np.asarray(array, np.float32)), 0.99))


def _scaling(array: np.ndarray) -> Scaling | None:
    low, high = float(array.min()), float(array.max())
    return next((scaling for scaling in SCALINGS if scaling.fits(low, high)), None)


def _alternatives(floats: Samples) -> dict[str, dict[str, np.ndarray]]:
    """The inputs in each other scaling, by its words; those that are of no known one stand only in the last."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, array in floats.items():
        own = _scaling(array)
        if own is None or array[0].size < FEWEST_VALUES:
            continue
        unit = own.to_unit(array)
        for other in SCALINGS:
            if other is not own:
                changed = found.setdefault(other.words, {})
                changed[name] = other.from_unit(unit).astype(array.dtype)
    standard = {name: _standardized(array) for name, array in floats.items()}
    return {**found, "mean 0 and deviation 1": standard}


def _standardized(array: np.ndarray) -> np.ndarray:
    """The samples with the mean 0 and the deviation 1 in each of the last axis."""
    axes = tuple(range(array.ndim - 1)) if array.ndim > 1 else (0,)
    return ((array - array.mean(axes)) / np.maximum(array.std(axes), 1e-7)).astype(array.dtype)


def _changed(floats: Samples, changed: Samples) -> Samples:
    return {name: floats[name] for name in changed}


def _words(array: np.ndarray) -> str:
    return f"{float(array.min()):.3g} to {float(array.max()):.3g}"


def _sentence(at_fault: Samples, why: str) -> str:
    received = ", ".join(f"{name!r} of {_words(array)}" for name, array in at_fault.items())
    return (
        f"the calibration samples seem to be scaled in another way than what the model was trained on: {why}. "
        f"Preprocess them as in training. Received: {received}."
    )
