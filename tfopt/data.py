"""Data for a recipe: where it comes from, whether it fits, and the order in which training sees it."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.errors import DataError, InputError
from tfopt.knobs import did_you_mean
from tfopt.reference import Ref, describe, find_file

Arrays = np.ndarray | dict[str, np.ndarray]

KERAS = ("mnist", "fashion_mnist", "cifar10", "cifar100", "boston_housing", "california_housing")
HELD_OUT = 0.1


@dataclass(frozen=True)
class Split:
    """Samples and their targets.

    Args:
        x: `(samples, ...)`, or a dict of such arrays by the model's input names.
        y: `(samples, ...)`, or a dict of such arrays by the model's output names.
    """

    x: Arrays
    y: Arrays

    def __len__(self) -> int:
        return len(next(iter(self.x.values())) if isinstance(self.x, dict) else self.x)


@dataclass(frozen=True)
class Data:
    """The three splits of a recipe's data.

    Args:
        train: What training sees.
        validation: What early stopping and the training log look at; never the test split.
        test: What every reported accuracy was measured on.
    """

    train: Split
    validation: Split
    test: Split

    def splits(self) -> dict[str, Split]:
        """The splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def check(self) -> None:
        """Looks for what no training survives.

        Raises:
            DataError: An empty split, inputs and targets of different lengths, or values that are not finite.
        """
        for name, split in self.splits().items():
            for part, arrays in (("x", split.x), ("y", split.y)):
                for key, array in _named(arrays).items():
                    what = f"{part}_{name}{f'[{key!r}]' if key else ''}"
                    _same_length(what, array, f"x_{name}", split)
                    if len(array) == 0:
                        raise DataError(f"{what} is empty. Give every split at least one sample.", ("data",))
                    if array.dtype.kind == "f" and not np.isfinite(array).all():
                        bad = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
                        raise DataError(
                            f"{what} has a NaN or infinite value in sample {bad}. Clean the data first.", ("data",)
                        )

    def fitted(self, shapes: Mapping[str, tuple[int | None, ...]]) -> Data:
        """The data with its inputs shaped as a model takes them: a missing channel axis of 1 is added.

        Args:
            shapes: The model's input shapes by name, without the batch.

        Raises:
            DataError: An input is missing, or its samples have another shape.
        """
        if not shapes:
            return self
        splits = {name: replace(split, x=_fit(split.x, shapes)) for name, split in self.splits().items()}
        return Data(**splits)

    def calibration(self, count: int, seed: int) -> Arrays:
        """A random choice of training inputs, `(count, ...)`: the representative dataset of quantization."""
        order = np.random.default_rng([seed, 0xCA11B]).permutation(len(self.train))[:count]
        return take(self.train.x, np.sort(order))


def take(arrays: Arrays, index: Any) -> Arrays:
    """The samples at `index`, of an array or of each array of a dict."""
    return {k: v[index] for k, v in arrays.items()} if isinstance(arrays, dict) else arrays[index]


def resolve(source: Any, folder: Path) -> Any:
    """What a recipe's `data` stands for, without loading it.

    Raises:
        InputError: Words that name no data, or a file that is not there.
    """
    if not isinstance(source, str):
        return source
    scheme, _, rest = source.partition(":")
    if source == "digits":
        return source
    if scheme == "npz" and rest:
        path = find_file(os.path.expandvars(rest), folder)
        if not path.is_file():
            raise DataError(f"{path} is a folder. Name the .npz file in it.", ("data",))
        return path
    if scheme == "keras":
        if rest not in KERAS:
            raise DataError(f"keras.datasets has no {rest!r}. {did_you_mean(rest, KERAS)}", ("data",))
        return source
    if ":" not in source:
        raise DataError(
            f"data is digits, npz:file.npz, keras:mnist or file.py:function. {did_you_mean(source, ['digits'])} "
            f"Received: {source!r}.",
            ("data",),
        )
    return Ref.parse(source, folder)


def fingerprint(source: Any, load: Callable[[], Data]) -> str:
    """sha256 that changes with the data: of the file, of the fixed set's name, else of the arrays themselves."""
    if isinstance(source, str):
        return hashlib.sha256(f"{source} v1".encode()).hexdigest()
    if isinstance(source, Path):
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    content = hashlib.sha256()
    for split in load().splits().values():
        for part in (split.x, split.y):
            for key, array in _named(part).items():
                content.update(f"{key} {array.dtype} {array.shape}".encode())
                content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


def load(source: Any) -> Data:
    """Loads a resolved source.

    A source without a validation split gives the last tenth of a seeded shuffle of its training split to it.

    Raises:
        DataError: It cannot be read, or is not in a form that tfopt knows.
    """
    if isinstance(source, Data):
        return source
    if isinstance(source, Path):
        return _from_npz(source)
    if isinstance(source, str):
        return _digits() if source == "digits" else _from_keras(source.partition(":")[2])
    try:
        value = source.call() if isinstance(source, Ref) else source() if callable(source) else source
    except InputError as error:
        raise DataError(str(error), ("data",)) from error
    except Exception as error:
        raise DataError(f"the data function failed: {describe(error)}", ("data",)) from error
    return as_data(value)


def as_data(value: Any) -> Data:
    """Reads what a data function may return: a `Data`, a dict of x_train, y_train, ..., or two or three (x, y) pairs.

    Raises:
        DataError: It is none of these.
    """
    if isinstance(value, Data):
        return value
    if isinstance(value, Mapping):
        splits_there = [s for s in ("train", "validation", "test") if s != "validation" or "x_validation" in value]
        missing = [key for s in splits_there for key in (f"x_{s}", f"y_{s}") if key not in value]
        if missing:
            raise DataError(f"the data has no {missing[0]}. It has: {', '.join(map(str, value))}.", ("data",))
        pairs = [(value[f"x_{s}"], value[f"y_{s}"]) for s in splits_there]
    elif (
        isinstance(value, tuple | list)
        and len(value) in (2, 3)
        and all(isinstance(p, tuple | list) and len(p) == 2 for p in value)
    ):
        pairs = [tuple(pair) for pair in value]
    else:
        raise DataError(
            "data is a tfopt.Data, a dict of x_train, y_train, x_test and y_test arrays, or (x, y) pairs for train and "
            f"test. Received: {type(value).__name__}.",
            ("data",),
        )
    splits = [Split(_arrays(x), _arrays(y)) for x, y in pairs]
    for split, name in zip(
        splits, ("train", "validation", "test") if len(splits) == 3 else ("train", "test"), strict=True
    ):
        for key, array in _named(split.y).items():
            _same_length(f"y_{name}{f'[{key!r}]' if key else ''}", array, f"x_{name}", split)
    if len(splits) == 2:
        return Data(*_hold_out(splits[0]), splits[1])
    return Data(*splits)


def _arrays(value: Any) -> Arrays:
    refusal = f"the data is not an array of samples of one shape. Received: {type(value).__name__}."
    try:
        arrays = {k: np.asarray(v) for k, v in value.items()} if isinstance(value, Mapping) else np.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(refusal, ("data",)) from error
    if any(array.dtype == object or array.ndim == 0 for array in _named(arrays).values()):
        raise DataError(refusal, ("data",))
    return arrays


def _same_length(what: str, array: np.ndarray, other: str, split: Split) -> None:
    if len(array) != len(split):
        raise DataError(f"{what} has {len(array)} samples and {other} has {len(split)}.", ("data",))


def _hold_out(train: Split) -> tuple[Split, Split]:
    order = np.random.default_rng(0).permutation(len(train))
    count = max(round(len(train) * HELD_OUT), 1) if len(train) else 0
    rest, held = np.sort(order[count:]), np.sort(order[:count])
    return Split(take(train.x, rest), take(train.y, rest)), Split(take(train.x, held), take(train.y, held))


def _named(arrays: Arrays) -> dict[str, np.ndarray]:
    return arrays if isinstance(arrays, dict) else {"": arrays}


def _fit(x: Arrays, shapes: Mapping[str, tuple[int | None, ...]]) -> Arrays:
    if isinstance(x, dict):
        missing = [name for name in shapes if name not in x]
        if missing:
            raise DataError(f"the model has an input {missing[0]!r}, and the data has only {', '.join(x)}.", ("data",))
        return {name: _fit_one(x[name], shape, name) for name, shape in shapes.items()}
    if len(shapes) > 1:
        raise DataError(f"the model has the inputs {', '.join(shapes)}: give x as a dict by these names.", ("data",))
    [(name, shape)] = shapes.items()
    return _fit_one(x, shape, name)


def _fit_one(x: np.ndarray, shape: tuple[int | None, ...], name: str) -> np.ndarray:
    given = x.shape[1:]
    if x.ndim == len(shape) and shape[-1] == 1:
        x = x[..., None]
    if x.ndim - 1 != len(shape) or any(
        want is not None and want != have for want, have in zip(shape, x.shape[1:], strict=True)
    ):
        raise DataError(
            f"the model's input {name!r} takes samples of shape {shape}, and the data's have {given}.", ("data",)
        )
    return x


def training_batches(split: Split, batch_size: int, seed: int, first_epoch: int, epochs: int) -> Any:
    """The batches of epochs `first_epoch` to `epochs`, one epoch after the other.

    The order of an epoch is a shuffle that only the seed and the epoch's number decide, so a training that starts again
    at epoch k sees what it would have seen.

    Returns:
        A `tf.data.Dataset` of `(x, y)`; `ceil(samples / batch_size)` batches to an epoch, the last one smaller.
    """
    import tensorflow as tf

    arrays = tf.nest.map_structure(tf.convert_to_tensor, (split.x, split.y))
    count = len(split)
    steps = -(-count // batch_size)

    def indices(epoch: Any) -> Any:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count), seed=tf.stack([tf.cast(seed, tf.int64), epoch])
        )
        return tf.data.Dataset.range(steps).map(lambda step: order[step * batch_size : (step + 1) * batch_size])

    def gather(index: Any) -> Any:
        return tf.nest.map_structure(lambda tensor: tf.gather(tensor, index), arrays)

    return tf.data.Dataset.range(first_epoch, epochs).flat_map(indices).map(gather).prefetch(2)


def _digits() -> Data:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    y = labels.astype(np.int32)
    x_rest, x_test, y_rest, y_test = train_test_split(x, y, test_size=360, random_state=0, stratify=y)
    x_train, x_held, y_train, y_held = train_test_split(x_rest, y_rest, test_size=140, random_state=0, stratify=y_rest)
    return Data(Split(x_train, y_train), Split(x_held, y_held), Split(x_test, y_test))


def _from_npz(path: Path) -> Data:
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise DataError(
                f"{path} is one array. Write the four with np.savez: x_train, y_train, x_test, y_test.", ("data",)
            )
        with file:
            return as_data(dict(file))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not a whole .npz file: {describe(error)}", ("data",)) from error


def _from_keras(name: str) -> Data:
    import keras

    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:
        raise DataError(
            f"keras.datasets.{name} does not load: {describe(error)}. Keras downloads it once, to ~/.keras/datasets.",
            ("data",),
        ) from error
    if name.startswith("cifar"):
        y_train, y_test = y_train[:, 0], y_test[:, 0]
    return as_data(((x_train, y_train), (x_test, y_test)))
