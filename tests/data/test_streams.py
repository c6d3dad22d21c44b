"""Data that is read batch by batch: the same samples, in bounded pieces, as often as they are needed."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.data import sources
from tfopt.data.splits import Data, Reading, Split
from tfopt.data.streams import Stream
from tfopt.errors import DataError
from tfopt.training import trainer
from tfopt.training.fit_settings import FitSettings
from tfopt.user_code import Ref

try:
    import tensorflow_datasets as tfds
except ImportError:
    tfds = None

X = np.arange(21, dtype=np.float32)[:, None]
Y = np.arange(21)


class Sequence(keras.utils.PyDataset):
    def __init__(self, size=4, **kwargs):
        super().__init__(**kwargs)
        self.size, self.ended = size, 0

    def __len__(self):
        return -(-len(X) // self.size)

    def __getitem__(self, index):
        part = slice(index * self.size, (index + 1) * self.size)
        return X[part], Y[part]

    def on_epoch_end(self):
        self.ended += 1


def batches(size=4):
    for start in range(0, 21, size):
        yield X[start : start + size], Y[start : start + size]


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)


STREAMS = {
    "tf.data": lambda: Stream(dataset()),
    "PyDataset": lambda: Stream(Sequence()),
    "PyDataset with threads": lambda: Stream(Sequence(workers=3)),
    "generator": lambda: Stream(batches, 21),
    "generator of pairs in lists": lambda: Stream(lambda: ([x, y] for x, y in batches()), 21),
    "function of the epoch": lambda: Stream(lambda epoch: batches(), 21),
    "function that gives tf.data": lambda: Stream(dataset),
    "function that gives a PyDataset": lambda: Stream(lambda: Sequence()),
    "a list of batches": lambda: Stream(lambda: list(batches()), 21),
}


@pytest.fixture(params=STREAMS)
def stream(request):
    return STREAMS[request.param]()


def targets(dataset):
    return [y.tolist() for _, y in dataset.as_numpy_iterator()]


# In order


def test_its_samples_are_those_of_the_source_in_batches_of_any_size(stream):
    assert len(stream) == 21
    read = targets(stream.batches(8))
    assert [len(y) for y in read] == [8, 8, 5]
    assert list(itertools.chain(*read)) == list(range(21))
    np.testing.assert_array_equal(np.concatenate(list(stream.chunks())), X)


@pytest.mark.sample(3)
def test_targets_are_gathered_and_the_first_samples_are_a_split(stream):
    np.testing.assert_array_equal(stream.y, Y)
    few = stream.few(6)
    np.testing.assert_array_equal(few.x, X[:6])
    np.testing.assert_array_equal(few.y, Y[:6])
    assert len(stream.few(1000)) == 21


@pytest.mark.sample(3)
def test_a_random_choice_is_the_same_for_the_same_seed(stream):
    first, again, other = stream.choose(5, 0, 1), stream.choose(5, 0, 1), stream.choose(5, 1, 1)
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.array_equal(first.y, other.y)
    np.testing.assert_array_equal(first.x[:, 0], first.y)


# Epochs


@pytest.mark.sample(5)
def test_every_epoch_has_every_sample_in_as_many_steps(stream):
    read = targets(stream.training(Reading(8, 0, 0, 3)))
    assert [len(y) for y in read] == [8, 8, 5] * 3
    for epoch in range(3):
        assert sorted(itertools.chain(*read[3 * epoch : 3 * epoch + 3])) == list(range(21))


@pytest.mark.sample(3)
def test_a_training_that_starts_again_sees_what_it_would_have_seen(stream):
    whole = targets(stream.training(Reading(8, 3, 0, 4)))
    assert targets(stream.training(Reading(8, 3, 2, 4))) == whole[6:]
    assert targets(stream.training(Reading(8, 3, 4, 4))) == []


def test_batches_of_a_pydataset_come_in_another_order_each_epoch_that_the_seed_decides():
    first, second = (targets(Stream(Sequence()).training(Reading(4, seed, 0, 2))) for seed in (0, 1))
    assert first[:6] != first[6:]
    assert first != second
    source = Sequence()
    list(Stream(source).training(Reading(4, 0, 0, 3)))
    assert source.ended == 2  # after the last epoch nobody reads on


def test_a_shuffled_dataset_goes_on_where_it_was_interrupted():
    def shuffled():
        tf.random.set_seed(0)
        return Stream(tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(21).batch(4))

    whole = targets(shuffled().training(Reading(8, 0, 0, 3)))
    assert whole[:3] != whole[3:6]
    assert targets(shuffled().training(Reading(8, 0, 1, 3))) == whole[3:]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.sample(4)
def test_an_epoch_is_as_long_as_it_says(name):
    stream = Stream(STREAMS[name]().source, 10)
    assert (len(stream), len(stream.y), len(stream.few(100))) == (10, 10, 10)
    assert [len(y) for y in targets(stream.batches(4))] == [4, 4, 2]
    assert len(targets(stream.training(Reading(4, 0, 0, 2)))) == 6


def test_many_epochs_are_made_when_their_turn_comes():
    called = []

    def of_epoch(epoch):
        called.append(epoch)
        return batches()

    read = iter(Stream(of_epoch, 21).training(Reading(8, 0, 0, 500)))
    next(read)
    assert max(called) <= 2


def test_a_random_choice_keeps_no_more_than_it_chose():
    stream = Stream(lambda: ((np.full((50, 4), i), np.full(50, i)) for i in range(100)), 5000)
    chosen = stream.choose(30, 0)
    assert len(chosen) == 30
    assert chosen.y.max() < 600 / 50
    again = Stream(lambda: ((np.full((7, 4), i * 7 // 50), np.full(7, 0)) for i in range(900)), 5000).choose(30, 0)
    assert len(again) == 30


def test_an_endless_source_has_the_epochs_that_it_is_given():
    def endless():
        while True:
            yield from batches()

    read = targets(Stream(endless, 30).training(Reading(8, 0, 0, 2)))
    assert len(read) == 8
    stream = Stream(dataset().repeat(), 30)
    assert [len(y) for y in targets(stream.batches(8))] == [8, 8, 8, 6]
    assert len(stream.y) == 30


def test_augmentation_knows_the_step():
    def augment(x, y, seed):
        return x + tf.cast(seed[1], tf.float32), y

    for name in ("tf.data", "generator"):
        read = list(STREAMS[name]().training(Reading(8, 5, 1, 2, augment)).as_numpy_iterator())
        assert [float(x[0, 0]) - y[0] for x, y in read] == [3, 4, 5]


# Names


def test_inputs_and_targets_go_by_name():
    def named():
        for x, y in batches():
            yield {"b": x, "a": 2 * x}, {"out": y}

    stream = Stream(named, 21).fitted({"a": (1,), "b": (1,)})
    x, _ = next(stream.batches(8).as_numpy_iterator())
    np.testing.assert_array_equal(x["a"], 2 * x["b"])
    np.testing.assert_array_equal(stream.y["out"], Y)
    with pytest.raises(DataError, match="input 'c'"):
        Stream(named, 21).fitted({"c": (1,)})


def test_a_missing_channel_axis_is_added():
    images = tf.data.Dataset.from_tensor_slices((np.zeros((6, 8, 8), np.float32), np.zeros(6))).batch(4)
    stream = Stream(images).fitted({"x": (8, 8, 1)})
    assert stream.few(2).x.shape == (2, 8, 8, 1)
    with pytest.raises(DataError, match=r"shape \(9, 9, 1\)"):
        Stream(images).fitted({"x": (9, 9, 1)})


# What cannot work


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (lambda: iter([]), "no batch"),
        (lambda: iter([X]), "gives batches"),
        (lambda: iter([(X, Y, Y)]), "gives batches"),
        (lambda: None, "Received: NoneType"),
        (lambda: iter([(3, 4)]), "batches of samples"),
        (lambda: tf.data.Dataset.from_tensor_slices(X).batch(4), "gives batches"),
    ],
)
def test_what_is_no_stream_of_batches_is_refused(source, sentence):
    with pytest.raises(DataError, match=sentence):
        Stream(source, 21).check("train")


def test_a_source_that_raises_is_told_with_its_line():
    def broken():
        raise RuntimeError("no disk")
        yield

    with pytest.raises(DataError, match="no first batch: RuntimeError: no disk"):
        Stream(broken, 21).check("train")


def test_a_function_that_raises_before_its_first_batch_is_told_with_its_line():
    def broken():
        raise RuntimeError("no disk")

    with pytest.raises(DataError, match=r"function of a stream failed: RuntimeError: no disk .*test_streams.py"):
        Stream(broken, 21).check("train")


def test_a_batch_of_another_shape_than_the_first_is_told():
    uneven = [(np.ones((4, 3)), np.ones(4)), (np.ones((4, 5)), np.ones(4))]
    with pytest.raises(DataError, match=r"the train split cannot be read: .*shape"):
        Stream(lambda: iter(uneven), 8).check("train")


@pytest.mark.parametrize("source", [batches, dataset().repeat()])
def test_without_an_end_it_has_to_say_what_an_epoch_is(source):
    with pytest.raises(DataError, match="samples="):
        len(Stream(source))


def test_a_test_split_that_is_shuffled_is_refused():
    shuffled = Stream(tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(21).batch(4))
    shuffled.check("train")
    with pytest.raises(DataError, match="test split comes in another order"):
        shuffled.check("test")


def test_values_that_are_not_finite_are_found_in_the_first_samples():
    with pytest.raises(DataError, match="x_validation has a NaN or infinite value in sample 2"):
        Stream(lambda: iter([(np.float32([[0], [1], [np.nan]]), np.zeros(3))]), 3).check("validation")


def test_no_more_is_read_than_is_needed_and_a_little_ahead():
    made = []

    def endless():
        while True:
            made.append(len(made))
            yield X[:4], Y[:4]

    stream = Stream(endless, 4000)
    stream.few(8)
    assert len(made) <= 8
    made.clear()
    for step, _ in enumerate(stream.training(Reading(4, 0, 0, 1)), start=1):
        assert len(made) - step <= 4
        if step == 100:
            break


# From a recipe


@pytest.mark.parametrize("form", ["dict", "data"])
def test_a_data_function_may_give_streams_in_any_form(form):
    three = (dataset(), Sequence(), Stream(batches, 21))
    value = {
        "dict": dict(zip(("train", "validation", "test"), three, strict=True)),
        "data": Data(*three),
    }[form]
    for split in sources.as_data(value).splits().values():
        assert isinstance(split, Stream)
        np.testing.assert_array_equal(split.y, Y)


def test_arrays_and_streams_go_together():
    data = sources.as_data({"train": dataset(), "validation": (X, Y), "test": (X, Y)})
    assert isinstance(data.train, Stream)
    assert isinstance(data.test, Split)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ((dataset(), (X, Y)), "needs a validation split"),
        (({}, (X, Y)), "Received: tuple"),
        ({"train": batches(), "test": (X, Y)}, "can be read once"),
        ({"train": 3, "validation": (X, Y), "test": (X, Y)}, "Received: int"),
        ({"train": dataset(), "tset": (X, Y)}, "Did you mean 'test'"),
        ({"train": dataset(), "validation": dataset()}, "has no test"),
    ],
)
def test_what_is_no_data_is_refused(value, sentence):
    with pytest.raises(DataError, match=sentence):
        sources.as_data(value)


CODE = """
import numpy as np
import tensorflow as tf
SHIFT = {shift}
def load():
    def read():
        for start in range(0, 64, 16):
            x = np.arange(start, start + 16, dtype=np.float32)[:, None] + SHIFT
            yield x, x[:, 0] > 30
    import tfopt
    return {{name: tfopt.Stream(read, 64) for name in ("train", "validation", "test")}}
"""


def test_a_stream_is_known_by_its_code_and_its_first_samples(tmp_path):
    def digest(shift, extra=""):
        (tmp_path / "d.py").write_text(CODE.format(shift=shift) + extra)
        ref = Ref(tmp_path / "d.py", "load")
        return sources.fingerprint(ref, lambda: sources.load(ref))

    first = digest(0)
    assert digest(0) == first
    assert digest(1) != first
    assert digest(0, "# later samples may differ too\n") != first


class Shapes(tfds.core.GeneratorBasedBuilder if tfds else object):
    """A data set as TFDS has them, with nothing to download."""

    VERSION = tfds.core.Version("1.0.0") if tfds else None
    pkg_dir_path = Path(__file__).parent  # TFDS would look for a package

    def _info(self):
        features = {"image": tfds.features.Image(shape=(8, 8, 1)), "label": tfds.features.ClassLabel(num_classes=4)}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
        )

    def _split_generators(self, manager):
        return {"train": self._generate_examples(0, 200), "test": self._generate_examples(200, 40)}

    def _generate_examples(self, start, count):
        for index in range(start, start + count):
            yield index, {"image": np.full((8, 8, 1), index % 256, np.uint8), "label": index % 4}


@pytest.mark.skipif(tfds is None, reason="TensorFlow Datasets is not installed")
def test_a_set_of_tfds_is_three_streams(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    source = sources.resolve("tfds:shapes", tmp_path)
    data = sources.load(source)
    data.check()
    assert {name: len(split) for name, split in data.splits().items()} == {"train": 180, "validation": 20, "test": 40}
    first, again = (targets(data.train.training(Reading(32, 0, 0, 2))) for _ in range(2))
    assert first == again
    assert sorted(itertools.chain(*first[:6])) == sorted(itertools.chain(*first[6:]))
    assert first[:6] != first[6:]
    assert targets(data.test.batches(40)) == targets(data.test.batches(40))
    with pytest.raises(DataError, match="tfds:shaped does not load"):
        sources.load("tfds:shaped")


# Training


def test_a_stream_trains_to_the_weights_of_its_arrays(tmp_path):
    """In the order of the source, which arrays have in batches of all."""
    x = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    y = x.sum(axis=1)
    kinds = {
        "arrays": Split(x, y),
        "stream": Stream(tf.data.Dataset.from_tensor_slices((x, y)).batch(5)),
        "generator": Stream(lambda: ((x[i : i + 7], y[i : i + 7]) for i in range(0, 24, 7)), 24),
    }
    weights = {}
    for name, split in kinds.items():
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
        model.compile(loss="mse", run_eagerly=True)
        settings = FitSettings(epochs=3, batch_size=24, optimizer="sgd")
        history = trainer.fit(model, Data(split, split, split), settings, tmp_path / name)
        weights[name] = model.get_weights()
        assert len(history["val_loss"]) == 3
    for name in ("stream", "generator"):
        for a, b in zip(weights["arrays"], weights[name], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
