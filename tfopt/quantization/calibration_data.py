"""Representative datasets in all accepted forms, turned into the arrays that a file takes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfopt.data.arrays import add_channel_axis
from tfopt.data.batches import untuned
from tfopt.errors import DataError
from tfopt.models.keras2.random_inputs import MOST_NUMBERS, SIZES
from tfopt.models.layers import walk

# Largest number of samples taken of a data set, which may have no end.
MOST = 200
# Number of random samples where none are given, and the size of an open dimension that no sample shows.
RANDOM = 8
OPEN = 32


def collect_samples(calibration: Any, model: keras.Model) -> Any:
    """Calibration samples as arrays.

    Args:
        calibration: An array `(samples, ...)`, a list of arrays, one for each input, or of single samples of the only
            one, a dict of arrays by input name, or a `tf.data.Dataset` of samples or batches, with or without targets,
            of which the first 200 are taken.
        model: The model that takes the samples.

    Returns:
        An array, a list or a dict of arrays; None where there are no samples.

    Raises:
        DataError: The inputs have different numbers of samples, or single samples different shapes.
    """
    if hasattr(calibration, "element_spec"):
        calibration = _of_dataset(calibration, model)
    if calibration is None:
        return None
    parts = list(calibration.values()) if isinstance(calibration, Mapping) else calibration
    parts = list(parts) if isinstance(parts, list | tuple) else [parts]
    if any(not hasattr(part, "__len__") for part in parts):
        raise DataError(
            "calibration samples are an array, a list or a dict of arrays, or a tf.data.Dataset. "
            f"Received: {calibration!r:.80}."
        )
    takes = [len(tensor.shape) for tensor in getattr(model, "inputs", None) or ()]
    if isinstance(calibration, list | tuple) and parts and len(takes) == 1 and np.ndim(parts[0]) < takes[0]:
        calibration, parts = _stacked(parts), [parts]
    counts = {len(part) for part in parts}
    if len(counts) > 1:
        raise DataError(f"every input needs the same number of samples. Received: {', '.join(map(str, counts))}.")
    return calibration if counts and counts != {0} else None


def _stacked(samples: list[Any]) -> np.ndarray:
    """A list of single samples as an array."""
    shapes = dict.fromkeys(np.shape(sample) for sample in samples)
    if len(shapes) > 1:
        raise DataError(f"calibration samples are all of one shape. Received: {', '.join(map(str, shapes))}.")
    return np.stack(samples)


def _of_dataset(dataset: Any, model: keras.Model) -> Any:
    """The first samples of a tf.data.Dataset."""
    spec = dataset.element_spec
    takes = [len(tensor.shape) for tensor in getattr(model, "inputs", None) or ()]
    with_targets = isinstance(spec, tuple) and len(spec) in (2, 3)
    inputs = spec[0] if with_targets else spec
    ranks = [len(part.shape) for part in keras.tree.flatten(inputs)]
    if takes and ranks == [rank - 1 for rank in takes]:
        dataset = dataset.batch(MOST)
    batches, count = [], 0
    for batch in itertools.islice(untuned(dataset).as_numpy_iterator(), MOST):
        batches.append(batch[0] if with_targets else batch)
        count += len(keras.tree.flatten(batches[-1])[0])
        if count >= MOST:
            break
    if not batches:
        return None
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts)[:MOST], *batches)


def random_samples(model: keras.Model, count: int = RANDOM) -> dict[str, np.ndarray] | None:
    """Random inputs by name: values of 0 to 1, or integers within the model's embeddings.

    Returns:
        Arrays `(count, ...)`, or None where the model does not know its inputs.
    """
    generator, open_size = np.random.default_rng(0), _open_size(model)
    known = [size for place in walk(model) if (size := getattr(place.layer, "input_dim", None))]
    found = {}
    for tensor in getattr(model, "inputs", None) or ():
        shape = (count, *(open_size if size is None else size for size in tensor.shape[1:]))
        whole = "int" in tensor.dtype or tensor.dtype == "bool"
        values = generator.integers(0, min(known, default=2), shape) if whole else generator.random(shape)
        found[tensor.name] = values.astype("float32" if "float" in tensor.dtype else tensor.dtype)
    return found or None


def _open_size(model: keras.Model) -> int:
    """The first size of open dimensions that the model's layers take; `OPEN` where it has none, or they do not tell."""
    tensors = getattr(model, "inputs", None) or ()
    if all(None not in tensor.shape[1:] for tensor in tensors):
        return OPEN
    for size in (OPEN, *(size for size in SIZES if size > OPEN)):
        shapes = [(1, *(n or size for n in tensor.shape[1:])) for tensor in tensors]
        if size > OPEN and max(map(math.prod, shapes)) > MOST_NUMBERS:
            break
        specs = [keras.KerasTensor(shape, tensor.dtype) for shape, tensor in zip(shapes, tensors, strict=True)]
        try:
            model.compute_output_spec(keras.tree.pack_sequence_as(model.input, specs))
            return size
        except Exception:  # a layer may be the user's own
            continue
    return OPEN


def match_inputs(calibration: Any, names: list[str], details: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Samples by the file's input names, in the file's dtypes.

    Args:
        calibration: The result of `collect_samples`.
        names: The model's input names, in its own order.
        details: `shape`, `shape_signature` (-1 where it is open) and `dtype` of each input of the file.

    Raises:
        DataError: An input has no samples, samples of another shape, or values that are not finite.
    """
    if isinstance(calibration, Mapping):
        arrays = dict(calibration)
    else:
        parts = list(calibration) if isinstance(calibration, list | tuple) else [calibration]
        if len(parts) != len(names):
            raise DataError(f"the model has the inputs {', '.join(names)}, and there are samples for {len(parts)}.")
        arrays = dict(zip(names, parts, strict=True))
    if missing := [name for name in details if name not in arrays]:
        raise DataError(f"the model has an input {missing[0]!r}, and the samples have only {', '.join(arrays)}.")
    return {name: _checked(name, arrays[name], detail) for name, detail in details.items()}


def _checked(name: str, samples: Any, detail: Mapping[str, Any]) -> np.ndarray:
    """One input's samples, in the shape and dtype of the file."""
    array = np.asarray(samples)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
        raise DataError(
            f"input {name!r} has a NaN or infinite value in calibration sample {bad}. Clean the data first."
        )
    return add_channel_axis(array, detail["shape_signature"][1:], f"input {name!r}").astype(detail["dtype"], copy=False)
