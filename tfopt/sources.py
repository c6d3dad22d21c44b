"""Where a recipe's data comes from: the built-in digits, a file, `keras.datasets`, or a user's function."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.data import Arrays, Data, Split, named, same_length, take
from tfopt.errors import DataError, InputError
from tfopt.knobs import did_you_mean
from tfopt.reference import Ref, describe, digest_callable, find_file

KERAS = ("mnist", "fashion_mnist", "cifar10", "cifar100", "boston_housing", "california_housing")
HELD_OUT = 0.1


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
    data = load()
    if data.augment:  # and the code around it, which it may call
        made_by = source.digest() if isinstance(source, Ref) else digest_callable(source) if callable(source) else ""
        content.update((digest_callable(data.augment) + made_by).encode())
    for split in data.splits().values():
        for part in (split.x, split.y):
            for key, array in named(part).items():
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


def inputs(source: str, shapes: Mapping[str, tuple[int | None, ...]], count: int) -> Arrays:
    """Inputs alone, for a command that needs no targets.

    Args:
        source: A `.npy` file of one array, a `.npz` file of arrays by input name, or the words of a recipe's `data`, of
            which training samples are taken.
        shapes: The model's input shapes by name, without the batch; empty where it does not know them.
        count: How many samples to take; which ones is a seeded choice.

    Raises:
        DataError: The file is not there or not whole, or the samples do not fit the model.
    """
    path = Path(os.path.expandvars(source))
    if path.suffix not in (".npy", ".npz") or source.startswith("npz:"):
        return load(resolve(source, Path.cwd())).fitted(shapes).calibration(count, 0)
    try:
        loaded = np.load(find_file(str(path), Path.cwd()), allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not a whole {path.suffix} file: {describe(error)}", ("data",)) from error
    arrays: Arrays = loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    if isinstance(arrays, dict) and "x_train" in arrays:
        return as_data(arrays).fitted(shapes).calibration(count, 0)
    if isinstance(arrays, dict) and len(arrays) == 1:
        [arrays] = arrays.values()
    have = min(len(array) for array in named(arrays).values())
    return take(arrays, np.sort(np.random.default_rng(0).permutation(have)[:count]))


def as_data(value: Any) -> Data:
    """Reads what a data function may return: a `Data`, a dict of x_train, y_train, ..., or two or three (x, y) pairs.

    The dict may have `augment` too, as `Data` has it.

    Raises:
        DataError: It is none of these.
    """
    if isinstance(value, Data):
        return value
    augment = None
    if isinstance(value, Mapping):
        splits_there = [s for s in ("train", "validation", "test") if s != "validation" or "x_validation" in value]
        missing = [key for s in splits_there for key in (f"x_{s}", f"y_{s}") if key not in value]
        if missing:
            raise DataError(f"the data has no {missing[0]}. It has: {', '.join(map(str, value))}.", ("data",))
        augment = value.get("augment")
        if augment is not None and not callable(augment):
            raise DataError(f"augment is a function of x, y and a seed. Received: {augment!r}.", ("data",))
        known = [f"{part}_{s}" for s in ("train", "validation", "test") for part in "xy"]
        for key in value:
            if str(key).startswith(("x_", "y_")) and key not in known:
                raise DataError(
                    f"the data has a {key!r}, which is none of its splits. {did_you_mean(key, known)}", ("data",)
                )
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
        for key, array in named(split.y).items():
            same_length(f"y_{name}{f'[{key!r}]' if key else ''}", array, f"x_{name}", split)
    if len(splits) == 2:
        return Data(*_hold_out(splits[0]), splits[1], augment)
    train, validation, test = splits
    return Data(train, validation, test, augment)


def _arrays(value: Any) -> Arrays:
    refusal = f"the data is not an array of samples of one shape. Received: {type(value).__name__}."
    try:
        arrays = {k: np.asarray(v) for k, v in value.items()} if isinstance(value, Mapping) else np.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(refusal, ("data",)) from error
    if any(array.dtype == object or array.ndim == 0 for array in named(arrays).values()):
        raise DataError(refusal, ("data",))
    return arrays


def _hold_out(train: Split) -> tuple[Split, Split]:
    if len(train) == 1:
        raise DataError("x_train has one sample, and validation needs one too. Give x_validation, or more.", ("data",))
    order = np.random.default_rng(0).permutation(len(train))
    count = max(round(len(train) * HELD_OUT), 1) if len(train) else 0
    rest, held = np.sort(order[count:]), np.sort(order[:count])
    return Split(take(train.x, rest), take(train.y, rest)), Split(take(train.x, held), take(train.y, held))


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
