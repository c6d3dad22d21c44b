"""Where a recipe's data comes from: the built-in digits, a file, `keras.datasets`, TFDS, or a user's function."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.data import named_sets
from tfopt.data.array_files import read_arrays
from tfopt.data.arrays import Arrays, by_name, take
from tfopt.data.named_sets import HELD_OUT, KERAS, SPLITS
from tfopt.data.splits import CHUNK, Data, Samples, Split, same_length
from tfopt.errors import DataError, InputError, did_you_mean
from tfopt.input_limits import refuse_device
from tfopt.user_code import Ref, describe, digest_callable, find_file


def resolve(source: Any, folder: Path) -> Any:
    """Resolves a recipe's `data` without loading it: a name, the path of a file, a reference, or the object itself.

    Raises:
        InputError: The text names no data, or the file does not exist.
    """
    if isinstance(source, Mapping) and len(source) == 1 and ":" in str(next(iter(source))):
        return Ref.parse(source, folder)
    if not isinstance(source, str):
        return source
    scheme, _, rest = source.partition(":")
    if not rest and Path(source).suffix == ".npz":
        scheme, rest = "npz", source
    if not rest and Path(source).suffix == ".npy":
        raise DataError(
            f"{source} is one array, and a run takes labelled samples. Write x_train, y_train, x_test and y_test into "
            "an .npz file with np.savez.",
            ("data",),
        )
    if source == "digits":
        return source
    if scheme == "npz" and rest:
        path = find_file(os.path.expandvars(rest), folder)
        refuse_device(path, "the arrays", DataError, ("data",))
        if not path.is_file():
            raise DataError(f"{path} is a folder. Name the .npz file in it.", ("data",))
        return path
    if scheme == "keras":
        if rest not in KERAS:
            raise DataError(f"keras.datasets has no {rest!r}. {did_you_mean(rest, KERAS)}", ("data",))
        return source
    if scheme == "tfds" and rest:
        return source
    suffix = Path(source).suffix
    if not rest and suffix and suffix != ".py":
        raise DataError(
            f"tfopt does not read {suffix} files. Write the arrays x_train, y_train, x_test and y_test into an .npz "
            "file with np.savez, or name a function that reads the file, as in file.py:function. "
            f"Received: {source!r}.",
            ("data",),
        )
    if ":" not in source:
        raise DataError(
            "data is digits, file.npz, keras:mnist, tfds:mnist or file.py:function. "
            f"{did_you_mean(source, ['digits'])} Received: {source!r}.",
            ("data",),
        )
    return Ref.parse(source, folder)


def is_plain(source: Any) -> bool:
    """Whether a resolved source is read without TensorFlow, whose import takes seconds: a file, or the digits."""
    return isinstance(source, Path) or source == "digits"


def fingerprint(source: Any, load: Callable[[], Data]) -> str:
    """sha256 that changes with the data: of the file, of the fixed set's name, else of the arrays themselves.

    Of a stream it covers the code around it and its first samples.
    """
    if isinstance(source, str):
        return hashlib.sha256(f"{source} v1".encode()).hexdigest()
    if isinstance(source, Path):
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    content = hashlib.sha256()
    data = load()
    streamed = [split for split in data.splits().values() if not isinstance(split, Split)]
    if data.augment or streamed:  # and the code around it, which it may call
        made_by = source.digest() if isinstance(source, Ref) else digest_callable(source) if callable(source) else ""
        content.update(((digest_callable(data.augment) if data.augment else "") + made_by).encode())
    for split in data.splits().values():
        arrays = split if isinstance(split, Split) else split.few(CHUNK)
        if not isinstance(split, Split):
            content.update(f"{len(split)} {_code_of(getattr(split, 'source', None))}".encode())
        for part in (arrays.x, arrays.y):
            for key, array in by_name(part).items():
                content.update(f"{key} {array.dtype} {array.shape}".encode())
                content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


def _code_of(source: Any) -> str:
    """The digest of the code of a stream's source; empty for a `tf.data.Dataset`, whose code is not known."""
    if callable(source):
        return digest_callable(source)
    return digest_callable(type(source)) if _keras_dataset(source) else ""


def load(source: Any) -> Data:
    """Loads a resolved source.

    Without a validation split a tenth of the training split, a seeded choice, becomes it.

    Raises:
        DataError: The data cannot be read, or is not in a form that tfopt knows.
    """
    if isinstance(source, Path):
        return _from_npz(source)
    if isinstance(source, str):
        return as_data(named_sets.load(source))
    try:
        if isinstance(source, Ref) or callable(source):
            import tensorflow as tf

            tf.random.set_seed(0)  # the shuffles of a tf.data pipeline are the same at every run
        value = source.call() if isinstance(source, Ref) else source() if callable(source) else source
    except InputError as error:
        raise DataError(str(error), ("data",)) from error
    except Exception as error:
        raise DataError(f"the data function failed: {describe(error)}", ("data",)) from error
    return as_data(value)


def as_data(value: Any) -> Data:
    """Reads what a data function may return: a `Data`, a dict, or the train and the test split in a row.

    A split is a pair (x, y) of arrays, or whatever `tfopt.Stream` takes. The dict has `train`, `test` and, if wanted,
    `validation`, or `x_train`, `y_train` and so on; and `augment`, `show` and `note`, as `Data` has them. Without a
    validation split the training arrays give a tenth to it.

    Raises:
        DataError: `value` is none of these.
    """
    if isinstance(value, Data) and all(isinstance(split, Samples) for split in value.splits().values()):
        return value
    augment = _function(value, "augment", "x, y and a seed")
    show = _function(value, "show", "the inputs of one sample")
    note = value.note if isinstance(value, Data) else value.get("note") if isinstance(value, Mapping) else None
    note = "" if note is None or isinstance(note, np.ndarray) else note  # a file of arrays may have one of that name
    if not isinstance(note, str):
        raise DataError(f"note is a sentence on the samples. Received: {note!r:.80}.", ("data",))
    if isinstance(value, Data):
        given: dict[str, Any] = dict(value.splits())
    elif isinstance(value, Mapping):
        given = _by_name(value)
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        given = _by_name(value._asdict())
    elif isinstance(value, tuple | list) and len(value) == 2 and all(map(_is_split, value)):
        given = dict(zip(("train", "test"), value, strict=True))
    elif isinstance(value, tuple | list) and len(value) == 3 and all(map(_is_split, value)):
        raise DataError(
            "three splits in a row do not say which of them is the test split. Name them: {'train': ..., 'validation': "
            f"..., 'test': ...}}. Received: {type(value).__name__} of 3.",
            ("data",),
        )
    else:
        raise DataError(
            "data is a tfopt.Data, a dict of x_train, y_train, x_test and y_test arrays, or (x, y) pairs for train and "
            f"test. Received: {type(value).__name__}.",
            ("data",),
        )
    splits = {name: _samples(name, split) for name, split in given.items()}
    if "validation" not in splits:
        if not isinstance(splits["train"], Split):
            raise DataError("a training split that is streamed needs a validation split beside it.", ("data",))
        splits["train"], splits["validation"] = _hold_out(splits["train"])
    return Data(splits["train"], splits["validation"], splits["test"], augment, show, note)


def _function(value: Any, name: str, takes: str) -> Any:
    """A function that data may have beside its splits; None where it has none."""
    found = getattr(value, name) if isinstance(value, Data) else value.get(name) if isinstance(value, Mapping) else None
    if found is not None and not callable(found):
        raise DataError(f"{name} is a function of {takes}. Received: {found!r}.", ("data",))
    return found


def _by_name(value: Mapping[str, Any]) -> dict[str, Any]:
    """The splits of a dict, by the names of splits or of their arrays."""
    if "train" in value:
        if wrong := [key for key in value if key not in (*SPLITS, "augment", "show", "note")]:
            raise DataError(
                f"the data has a {wrong[0]!r}, which is none of its splits. {did_you_mean(wrong[0], SPLITS)}", ("data",)
            )
        if "test" not in value:
            raise DataError(f"the data has no test. It has: {', '.join(map(str, value))}.", ("data",))
        return {name: value[name] for name in SPLITS if name in value}
    there = [name for name in SPLITS if name != "validation" or "x_validation" in value]
    known = [f"{part}_{name}" for name in SPLITS for part in "xy"]
    if missing := [key for name in there for key in (f"x_{name}", f"y_{name}") if key not in value]:
        near = difflib.get_close_matches(missing[0], [str(key) for key in value if key not in known], n=1)
        way = f"Did you mean {near[0]!r} by it? Rename that. " if near else ""
        raise DataError(f"the data has no {missing[0]}. {way}It has: {', '.join(map(str, value))}.", ("data",))
    for key in value:
        if str(key).startswith(("x_", "y_")) and key not in known:
            raise DataError(
                f"the data has a {key!r}, which is none of its splits. {did_you_mean(key, known)}", ("data",)
            )
    return {name: (value[f"x_{name}"], value[f"y_{name}"]) for name in there}


def _is_split(part: Any) -> bool:
    pair = isinstance(part, tuple | list) and len(part) == 2
    return pair or isinstance(part, Samples) or callable(part) or hasattr(part, "element_spec") or _keras_dataset(part)


def _keras_dataset(part: Any) -> bool:
    return hasattr(part, "on_epoch_end") and hasattr(part, "__getitem__")


def _samples(name: str, split: Any) -> Samples:
    if isinstance(split, Samples):
        return split
    if isinstance(split, tuple | list) and len(split) == 2:
        made = Split(_arrays(split[0]), _arrays(split[1]))
        for key, array in by_name(made.y).items():
            same_length(f"y_{name}{f'[{key!r}]' if key else ''}", array, f"x_{name}", made)
        return made
    if hasattr(split, "__next__"):
        raise DataError(
            f"the {name} split is a generator, which can be read once. Give the function that makes it.", ("data",)
        )
    if not _is_split(split):
        raise DataError(
            f"the {name} split is a pair (x, y) of arrays, a tf.data.Dataset, a keras.utils.PyDataset or a function "
            f"that gives batches. Received: {type(split).__name__}.",
            ("data",),
        )
    from tfopt.data.streams import Stream

    return Stream(split)


def _arrays(value: Any) -> Arrays:
    refusal = f"the data is not an array of samples of one shape. Received: {type(value).__name__}."
    try:
        arrays = {k: np.asarray(v) for k, v in value.items()} if isinstance(value, Mapping) else np.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(refusal, ("data",)) from error
    if any(array.dtype == object or array.ndim == 0 for array in by_name(arrays).values()):
        raise DataError(refusal, ("data",))
    return arrays


def _hold_out(train: Split) -> tuple[Split, Split]:
    if len(train) == 1:
        raise DataError("x_train has one sample, and validation needs one too. Give x_validation, or more.", ("data",))
    train.check("train")  # rows are told as the user counts them, before some are taken out
    order = np.random.default_rng(0).permutation(len(train))
    count = max(round(len(train) * HELD_OUT), 1) if len(train) else 0
    rest, held = np.sort(order[count:]), np.sort(order[:count])
    return Split(take(train.x, rest), take(train.y, rest)), Split(take(train.x, held), take(train.y, held))


def _from_npz(path: Path) -> Data:
    arrays = read_arrays(path)
    if isinstance(arrays, np.ndarray):
        raise DataError(
            f"{path} is one array. Write the four with np.savez: x_train, y_train, x_test, y_test.", ("data",)
        )
    return as_data(arrays)
