"""The data sets that a recipe knows by name: the built-in digits, `keras.datasets`, TensorFlow Datasets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tfopt.data.splits import CHUNK, Data, Split
from tfopt.errors import DataError
from tfopt.user_code import describe

KERAS = ("mnist", "fashion_mnist", "cifar10", "cifar100", "boston_housing", "california_housing")
# The part of a training split that stands for a validation split where there is none.
HELD_OUT = 0.1
# Samples in the shuffle buffer of a stream.
SHUFFLED = 10_000
SPLITS = ("train", "validation", "test")


def load(name: str) -> Any:
    """Loads a data set, in a form that `sources.as_data` reads.

    Args:
        name: `digits`, `keras:` and a name of `KERAS`, or `tfds:` and a name of TensorFlow Datasets.

    Raises:
        DataError: It does not load.
    """
    scheme, _, own = name.partition(":")
    return _digits() if name == "digits" else _from_tfds(own) if scheme == "tfds" else _from_keras(own)


def _digits() -> Data:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    y = labels.astype(np.int32)
    x_rest, x_test, y_rest, y_test = train_test_split(x, y, test_size=360, random_state=0, stratify=y)
    x_train, x_held, y_train, y_held = train_test_split(x_rest, y_rest, test_size=140, random_state=0, stratify=y_rest)
    return Data(Split(x_train, y_train), Split(x_held, y_held), Split(x_test, y_test))


def _from_keras(name: str) -> Any:
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
    return (x_train, y_train), (x_test, y_test)


def _from_tfds(name: str) -> Data:
    """A data set of TensorFlow Datasets as streams.

    Where it has no validation split, the last tenth of its training split stands for it.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise DataError("tfds: needs TensorFlow Datasets: pip install 'tfopt[tfds]'.", ("data",)) from None
    from tfopt.data.streams import Stream

    try:
        builder = tfds.builder(name)
        if builder.info.supervised_keys is None:
            raise DataError(
                f"tfds:{name} does not say what of it is the target. Write a function that gives (x, y).", ("data",)
            )
        builder.download_and_prepare()
        there = builder.info.splits
        if not {"train", "test"} <= set(there):
            raise DataError(f"tfds:{name} has no train and test, but {', '.join(there)}. Write a function.", ("data",))
        parts = {"train": "train", "validation": "validation", "test": "test"}
        if "validation" not in there:
            share = round(100 * (1 - HELD_OUT))
            parts |= {"train": f"train[:{share}%]", "validation": f"train[{share}%:]"}

        def read(split: str, shuffled: bool) -> Callable[..., Any]:
            def ordered() -> Any:
                return builder.as_dataset(split=split, as_supervised=True, shuffle_files=False).batch(CHUNK)

            def of_epoch(epoch: int) -> Any:
                order = tfds.ReadConfig(shuffle_seed=epoch)
                order.options.deterministic = True  # TFDS lets go of the order where it shuffles files
                rows = builder.as_dataset(split=split, as_supervised=True, shuffle_files=True, read_config=order)
                return rows.shuffle(SHUFFLED, seed=epoch).batch(CHUNK)

            return of_epoch if shuffled else ordered

        counts = {part: there[split].num_examples for part, split in parts.items()}
        train, validation, test = (Stream(read(parts[part], part == "train"), counts[part]) for part in SPLITS)
        return Data(train, validation, test)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"tfds:{name} does not load: {describe(error).rstrip('.')}. TFDS downloads it once, to "
            "~/tensorflow_datasets.",
            ("data",),
        ) from error
