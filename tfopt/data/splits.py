"""The splits of a recipe's data: whether they fit the model, and the order in which training sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt.data.arrays import Arrays, Shapes, by_name, check_values, shape_inputs, take
from tfopt.data.batches import batches_of, is_small, rows_of, untuned
from tfopt.data.labels import label_ids, with_every_class
from tfopt.data.preview import Show, previews
from tfopt.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

Augment = Callable[[Any, Any, Any], tuple[Any, Any]]
# Batch size of inference.
CHUNK = 256


@dataclass(frozen=True)
class Reading:
    """How training reads a split.

    Args:
        batch_size: Samples of a training step.
        seed: Seed of the order, together with the epoch's number.
        first_epoch: The first epoch to read, from 0.
        epochs: The epoch at which reading ends, not included.
        augment: Augmentation of each batch, as `Data` has it; None for none.
    """

    batch_size: int
    seed: int
    first_epoch: int
    epochs: int
    augment: Augment | None = None


class Samples(ABC):
    """Samples and their targets: `Split` has them in memory, `Stream` reads them batch by batch."""

    y: Any
    """The targets of all samples: `(samples, ...)`, or a dict of such arrays by the model's output names."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def few(self, count: int) -> Split:
        """The first samples, `count` of them or as many as there are."""

    @abstractmethod
    def choose(self, count: int, *seed: int) -> Split:
        """A random choice of samples that only the seed decides, `count` of them or as many as there are."""

    def choose_of_all(self, count: int, *seed: int) -> Split:
        """`choose`, with a sample of every class at least where the classes are known and no more than `count`."""
        return self.choose(count, *seed)

    @abstractmethod
    def inputs(self) -> Any:
        """The inputs in their order, as `keras.Model.predict` takes them."""

    @abstractmethod
    def chunks(self) -> Iterator[Arrays]:
        """The inputs in their order, a batch at a time."""

    @abstractmethod
    def batches(self, size: int) -> tf.data.Dataset:
        """The batches `(x, y)` in their order."""

    @abstractmethod
    def training(self, reading: Reading) -> tf.data.Dataset:
        """The batches `(x, y)` of the epochs, one after the other; an epoch has `ceil(samples / batch_size)`."""

    @abstractmethod
    def fitted(self, shapes: Shapes) -> Samples:
        """The samples with their inputs shaped as a model takes them."""

    @abstractmethod
    def check(self, name: str) -> None:
        """Checks the samples.

        Raises:
            DataError: No samples, inputs and targets of different lengths, or values that are not finite.
        """


@dataclass(frozen=True)
class Split(Samples):
    """Samples and their targets, in memory.

    Args:
        x: `(samples, ...)`, or a dict of such arrays by the model's input names.
        y: `(samples, ...)`, or a dict of such arrays by the model's output names.
    """

    x: Arrays
    y: Arrays

    def __len__(self) -> int:
        return len(next(iter(self.x.values())) if isinstance(self.x, dict) else self.x)

    def few(self, count: int) -> Split:
        """The first samples."""
        return self.take(slice(0, count))

    def take(self, index: Any) -> Split:
        """The samples at `index`."""
        return Split(take(self.x, index), take(self.y, index))

    def choose(self, count: int, *seed: int) -> Split:
        """A random choice, in the order of the split."""
        return self.take(np.sort(np.random.default_rng(list(seed)).permutation(len(self))[:count]))

    def choose_of_all(self, count: int, *seed: int) -> Split:
        """A random choice, in the order of the split, that leaves out no class."""
        order = np.random.default_rng(list(seed)).permutation(len(self))
        return self.take(np.sort(with_every_class(self.y, order, count)))

    def inputs(self) -> Arrays:
        """The arrays of the inputs."""
        return self.x

    def chunks(self) -> Iterator[Arrays]:
        """All inputs at once: they are in memory."""
        yield self.x

    def batches(self, size: int) -> tf.data.Dataset:
        """The batches in the order of the split."""
        return batches_of((self.x, self.y), size)

    def training(self, reading: Reading) -> tf.data.Dataset:
        """Batches in an order that only the seed and the epoch's number decide.

        They decide what `augment` does as well: a training that resumes at epoch k sees what it would have seen.
        """
        import tensorflow as tf

        arrays = (self.x, self.y)
        tensors = tf.nest.map_structure(tf.convert_to_tensor, arrays) if is_small(arrays) else None
        rows = tf.convert_to_tensor(self._rows())
        seed, size, augment = reading.seed, reading.batch_size, reading.augment
        steps = -(-len(self) // size)

        def indices(epoch: Any) -> Any:
            order = tf.random.experimental.stateless_shuffle(rows, seed=tf.stack([tf.cast(seed, tf.int64), epoch]))
            return tf.data.Dataset.range(steps).map(
                lambda step: (order[step * size : (step + 1) * size], epoch * steps + step)
            )

        def gather(index: Any, step: Any) -> Any:
            if tensors is None:
                x, y = rows_of(arrays, index, lambda array, rows: array[rows])
            else:
                x, y = tf.nest.map_structure(lambda tensor: tf.gather(tensor, index), tensors)
            return augment(x, y, tf.stack([tf.cast(seed, tf.int64), step])) if augment else (x, y)

        epochs = tf.data.Dataset.range(reading.first_epoch, reading.epochs)
        return untuned(epochs.flat_map(indices).map(gather).prefetch(2))

    def _rows(self) -> np.ndarray:
        """Indices of the samples that an epoch sees, `(n,)` int32."""
        return np.arange(len(self), dtype=np.int32)

    def fitted(self, shapes: Shapes) -> Split:
        """The samples with a missing channel axis of 1 added to their inputs.

        Raises:
            DataError: An input is missing, or its samples have another shape.
        """
        return replace(self, x=shape_inputs(self.x, shapes)) if shapes else self

    def check(self, name: str) -> None:
        """Checks every value."""
        for part, arrays in (("x", self.x), ("y", self.y)):
            for key, array in by_name(arrays).items():
                what = f"{part}_{name}{f'[{key!r}]' if key else ''}"
                same_length(what, array, f"x_{name}", self)
                check_values(what, array)


@dataclass(frozen=True)
class Oversampled(Split):
    """A split whose every class is seen equally often in training.

    Samples of the largest class are seen once an epoch, those of the others again and again until they are as many.

    Args:
        x: `(samples, ...)`, or a dict of such arrays by the model's input names.
        y: Class ids `(samples,)` or `(samples, 1)`, or one-hot labels `(samples, classes)`.
    """

    rows: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = label_ids(self.y)
        members = [np.flatnonzero(ids == label) for label in np.unique(ids)]
        largest = max(map(len, members))
        rows = np.concatenate([np.resize(of_class, largest) for of_class in members])
        object.__setattr__(self, "rows", rows.astype(np.int32))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Any) -> Split:
        """The samples at `index` of what an epoch sees."""
        return Split(take(self.x, self.rows[index]), take(self.y, self.rows[index]))

    def _rows(self) -> np.ndarray:
        return self.rows


@dataclass(frozen=True)
class Data:
    """The three splits of a recipe's data.

    Args:
        train: Samples to train on.
        validation: Samples for early stopping and the training log; never the test split.
        test: Samples on which every reported accuracy is measured.
        augment: Changes each training batch: `augment(x, y, seed)` gives `(x, y)`, in TensorFlow ops. All that is
            random in it comes from the seed, two integers for `tf.random.stateless_uniform` and its siblings, which
            are new at each step and the same at each run.
        show: Shows a sample to people: `show(x)` takes the input of one sample, or its inputs by name, and gives text,
            an image `(height, width)` or `(height, width, channels)`, or a dict of these by caption. Without it inputs
            that are images are shown as such, and of all others their first numbers. Results do not depend on it.
        note: What has to be known of the scores on these samples, in a sentence; `verify` and the report say it.
    """

    train: Samples
    validation: Samples
    test: Samples
    augment: Augment | None = None
    show: Show | None = None
    note: str = ""

    def splits(self) -> dict[str, Samples]:
        """The splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def check(self) -> None:
        """Checks the samples of every split.

        Raises:
            DataError: An empty split, inputs and targets of different lengths, or values that are not finite.
        """
        for name, split in self.splits().items():
            split.check(name)

    def check_augment(self) -> None:
        """Tries `augment` on a few samples, as training would.

        Raises:
            DataError: `augment` fails, or does not return samples and targets of the shapes that it took.
        """
        if self.augment is None:
            return
        split = self.train.few(2)
        try:
            given = next(iter(split.training(Reading(len(split), 0, 0, 1, self.augment))))
        except Exception as error:
            from tfopt.user_code import describe

            raise DataError(f"augment(x, y, seed) fails on a batch: {describe(error)}", ("data",)) from error
        if not isinstance(given, tuple) or len(given) != 2:
            raise DataError("augment gives back (x, y), and gave something else.", ("data",))
        for what, before, after in zip(("x", "y"), (split.x, split.y), given, strict=True):
            shapes = [{name: tuple(a.shape) for name, a in by_name(arrays).items()} for arrays in (before, after)]
            if shapes[0] != shapes[1]:
                raise DataError(
                    f"augment keeps the shapes of a batch. {what} went in as {_words(shapes[0])} and came out as "
                    f"{_words(shapes[1])}.",
                    ("data",),
                )

    def check_show(self) -> None:
        """Tries `show` on a sample of the test split.

        Raises:
            DataError: `show` fails, or gives neither text nor images.
        """
        if self.show is not None:
            previews(self.test.few(1).x, self.show)

    def fitted(self, shapes: Shapes) -> Data:
        """The data with its inputs shaped as a model takes them: a missing channel axis of 1 is added.

        Args:
            shapes: The model's input shapes by name, without the batch.

        Raises:
            DataError: An input is missing, or its samples have another shape.
        """
        if not shapes:
            return self
        train, validation, test = (split.fitted(shapes) for split in self.splits().values())
        return Data(train, validation, test, self.augment, self.show, self.note)

    def calibration(self, count: int, seed: int) -> Arrays:
        """A random choice of training inputs, `(count, ...)`, of every class: the representative dataset."""
        return self.train.choose_of_all(count, seed, 0xCA11B).x


def _words(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}".strip() for name, shape in shapes.items())


def same_length(what: str, array: np.ndarray, other: str, split: Samples) -> None:
    """Raises a `DataError` where an array has another number of samples than a split."""
    if len(array) != len(split):
        raise DataError(f"{what} has {len(array)} samples and {other} has {len(split)}.", ("data",))
