"""The splits of a recipe's data: whether they fit the model, and the order in which training sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfopt.errors import DataError

Arrays = np.ndarray | dict[str, np.ndarray]
Augment = Callable[[Any, Any, Any], tuple[Any, Any]]


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
        augment: Changes each training batch: `augment(x, y, seed)` gives `(x, y)`, in TensorFlow ops. All that is
            random in it comes from the seed, two integers for `tf.random.stateless_uniform` and its siblings, which
            are new at each step and the same at each run.
    """

    train: Split
    validation: Split
    test: Split
    augment: Augment | None = None

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
                for key, array in named(arrays).items():
                    what = f"{part}_{name}{f'[{key!r}]' if key else ''}"
                    same_length(what, array, f"x_{name}", split)
                    if len(array) == 0:
                        raise DataError(f"{what} is empty. Give every split at least one sample.", ("data",))
                    if array.dtype.kind not in "biuf":
                        raise DataError(
                            f"{what} holds {array.dtype}, not numbers. Turn words into numbers first.", ("data",)
                        )
                    if array.dtype.kind == "f" and not np.isfinite(array).all():
                        bad = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
                        raise DataError(
                            f"{what} has a NaN or infinite value in sample {bad}. Clean the data first.", ("data",)
                        )

    def check_augment(self) -> None:
        """Tries `augment` on a few samples, as training would.

        Raises:
            DataError: It fails, or gives something else than samples and targets of the shapes that it took.
        """
        if self.augment is None:
            return
        few = np.arange(min(2, len(self.train)))
        split = Split(take(self.train.x, few), take(self.train.y, few))
        try:
            given = next(iter(training_batches(split, len(few), 0, 0, 1, self.augment)))
        except Exception as error:
            from tfopt.reference import describe

            raise DataError(f"augment(x, y, seed) fails on a batch: {describe(error)}", ("data",)) from error
        if not isinstance(given, tuple) or len(given) != 2:
            raise DataError("augment gives back (x, y), and gave something else.", ("data",))
        for what, before, after in zip(("x", "y"), (split.x, split.y), given, strict=True):
            shapes = [{name: tuple(a.shape) for name, a in named(arrays).items()} for arrays in (before, after)]
            if shapes[0] != shapes[1]:
                raise DataError(
                    f"augment keeps the shapes of a batch. {what} went in as {_words(shapes[0])} and came out as "
                    f"{_words(shapes[1])}.",
                    ("data",),
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
        train, validation, test = (replace(split, x=_fit(split.x, shapes)) for split in self.splits().values())
        return Data(train, validation, test, self.augment)

    def calibration(self, count: int, seed: int) -> Arrays:
        """A random choice of training inputs, `(count, ...)`: the representative dataset of quantization."""
        order = np.random.default_rng([seed, 0xCA11B]).permutation(len(self.train))[:count]
        return take(self.train.x, np.sort(order))


def _words(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}".strip() for name, shape in shapes.items())


def take(arrays: Arrays, index: Any) -> Arrays:
    """The samples at `index`, of an array or of each array of a dict."""
    return {k: v[index] for k, v in arrays.items()} if isinstance(arrays, dict) else arrays[index]


def same_length(what: str, array: np.ndarray, other: str, split: Split) -> None:
    """Raises a `DataError` where an array has another number of samples than a split."""
    if len(array) != len(split):
        raise DataError(f"{what} has {len(array)} samples and {other} has {len(split)}.", ("data",))


def named(arrays: Arrays) -> dict[str, np.ndarray]:
    """Arrays by name; one alone goes by the empty name."""
    return arrays if isinstance(arrays, dict) else {"": arrays}


def _fit(x: Arrays, shapes: Mapping[str, tuple[int | None, ...]]) -> Arrays:
    if isinstance(x, dict):
        missing = [name for name in shapes if name not in x]
        if missing:
            raise DataError(f"the model has an input {missing[0]!r}, and the data has only {', '.join(x)}.", ("data",))
        return {name: shaped(x[name], shape, f"the model's input {name!r}") for name, shape in shapes.items()}
    if len(shapes) > 1:
        raise DataError(f"the model has the inputs {', '.join(shapes)}: give x as a dict by these names.", ("data",))
    [(name, shape)] = shapes.items()
    return shaped(x, shape, f"the model's input {name!r}")


def shaped(x: np.ndarray, shape: Sequence[int | None], what: str) -> np.ndarray:
    """Samples as something takes them: a missing last axis of 1 is added.

    Args:
        x: `(samples, ...)`.
        shape: What it takes, without the batch; None or -1 for a dimension of any size.
        what: Its name, for the error.

    Raises:
        DataError: The samples have another shape.
    """
    want = tuple(None if size is None or size < 0 else int(size) for size in shape)
    given = x.shape[1:]
    if x.ndim == len(want) and want and want[-1] == 1:
        x = x[..., None]
    if x.ndim - 1 != len(want) or any(n not in (None, have) for n, have in zip(want, x.shape[1:], strict=True)):
        raise DataError(f"{what} takes samples of shape {want}, and the data's have {given}.", ("data",))
    return x


def training_batches(
    split: Split, batch_size: int, seed: int, first_epoch: int, epochs: int, augment: Augment | None = None
) -> Any:
    """The batches of epochs `first_epoch` to `epochs`, one epoch after the other.

    The order of an epoch is a shuffle that only the seed and the epoch's number decide, so a training that starts again
    at epoch k sees what it would have seen; so does `augment`, as `Data` has it.

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
        return tf.data.Dataset.range(steps).map(
            lambda step: (order[step * batch_size : (step + 1) * batch_size], epoch * steps + step)
        )

    def gather(index: Any, step: Any) -> Any:
        x, y = tf.nest.map_structure(lambda tensor: tf.gather(tensor, index), arrays)
        return augment(x, y, tf.stack([tf.cast(seed, tf.int64), step])) if augment else (x, y)

    return tf.data.Dataset.range(first_epoch, epochs).flat_map(indices).map(gather).prefetch(2)
