"""`SparsityLog`: the zeros that are there, in the logs, in the history and in TensorBoard's files."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.core.util import event_pb2

from tests.sparsity.pair import trained_pair
from tfopt.callbacks import MagnitudePruning, SparsityLog
from tfopt.errors import InputError, ModelError
from tfopt.sparsity import constant_sparsity


def build(**options):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.DepthwiseConv2D(3, name="deep"),
            layers.Flatten(),
            layers.Dense(4, name="head"),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return model


KERNELS = {"conv/kernel": "conv", "deep/kernel": "deep", "head/kernel": "head"}


def zeros(model):
    """The true shares of zeros, of each kernel and of all."""
    arrays = {path: model.get_layer(name).kernel.numpy() for path, name in KERNELS.items()}
    total = sum(array.size for array in arrays.values())
    overall = sum(int((array == 0).sum()) for array in arrays.values()) / total
    return overall, {path: float((array == 0).mean()) for path, array in arrays.items()}


class Look(keras.callbacks.Callback):
    """What an epoch's logs and the model's kernels hold when an epoch ends."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_epoch_end(self, epoch, logs=None):
        self.found.append((logs.get("sparsity"), *zeros(self.model)))


def fit(model, blobs, callbacks, epochs=3, **options):
    """Eight steps an epoch."""
    keras.utils.set_random_seed(0)
    return model.fit(*blobs, batch_size=32, epochs=epochs, verbose=0, callbacks=callbacks, **options)


def pruning(**options):
    return MagnitudePruning(sparsity=0.8, begin=2, end=20, frequency=3, **options)


@pytest.fixture(scope="module")
def logged(make_blobs, tmp_path_factory):
    """Three epochs of pruning: the log, what was there, the history of Keras, and the folder of the log's files."""
    folder = tmp_path_factory.mktemp("logged")
    log, look, csv = SparsityLog(folder / "logs"), Look(), keras.callbacks.CSVLogger(str(folder / "log.csv"))
    return log, look, fit(build(), make_blobs(), [pruning(), log, look, csv]).history, folder


def test_each_epochs_zeros_are_recorded_and_logged(logged):
    log, look, history, folder = logged
    assert [(record["step"], record["epoch"]) for record in log.history] == [(8, 1), (16, 2), (24, 3)]
    assert [(r["overall"], r["overall"], r["kernels"]) for r in log.history] == [
        (pytest.approx(logged), pytest.approx(overall), pytest.approx(kernels))
        for logged, overall, kernels in look.found
    ]
    assert history["sparsity"] == [record["overall"] for record in log.history]
    assert sorted(history["sparsity"]) == history["sparsity"]
    assert log.history[-1]["kernels"]["head/kernel"] == pytest.approx(0.8, abs=0.01)
    assert log.history[-1]["kernels"]["deep/kernel"] == 0
    assert "sparsity" in (folder / "log.csv").read_text().splitlines()[0]


def test_a_variable_of_two_layers_is_counted_once(blobs):
    shared = layers.Dense(64, name="shared")
    inputs = layers.Input((8, 8, 1))
    model = keras.Model(inputs, layers.Dense(4, name="head")(shared(shared(layers.Flatten()(inputs)))))
    model.get_layer("head").kernel.assign(np.zeros((64, 4)))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    log = SparsityLog()
    fit(model, (blobs[0], np.eye(4)[blobs[1]]), [log], epochs=1)
    assert log.history[0]["overall"] == 64 * 4 / (64 * 4 + 64 * 64)


# Steps


def test_steps_are_recorded_and_the_end_of_every_epoch_and_each_once(blobs, tmp_path):
    log = SparsityLog(every=3)
    fit(build(), blobs, [log, SparsityLog(tmp_path, every=4)], epochs=2)
    assert [(record["step"], record["epoch"]) for record in log.history] == [
        (3, 1),
        (6, 1),
        (8, 1),
        (9, 2),
        (12, 2),
        (15, 2),
        (16, 2),
    ]
    assert [step for step, _ in scalars(tmp_path)["sparsity/overall"]] == [4, 8, 12, 16]


@pytest.mark.parametrize(("steps_per_execution", "steps"), [(3, [3, 6, 8, 11, 14, 16]), (4, [4, 8, 12, 16])])
@pytest.mark.sample(1)
def test_of_several_steps_in_one_execution_the_last_is_recorded(steps_per_execution, steps, blobs):
    """Steps 2, 4, ... are due; an execution of three ends at 3, 6 and, with the rest, 8."""
    log = SparsityLog(every=2)
    fit(build(steps_per_execution=steps_per_execution), blobs, [log], epochs=2)
    assert [record["step"] for record in log.history] == steps


def test_steps_are_counted_for_data_of_unknown_length(blobs):
    def batches():
        for start in range(0, 256, 32):
            yield blobs[0][start : start + 32], blobs[1][start : start + 32]

    log = SparsityLog(every=5)
    with pytest.warns(UserWarning, match="ran out of data"):  # as Keras says of all data of unknown length
        build().fit(batches(), shuffle=False, verbose=0, callbacks=[log])
    assert [record["step"] for record in log.history] == [5, 8]


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_the_weights_let_through_for_a_new_mask_do_not_count_as_there(steps_per_execution, blobs):
    """After step 4 TF-MOT has the optimizer's weights as they are, to make a mask of at step 5."""
    prunes = MagnitudePruning(schedule=constant_sparsity(0.5, 1, frequency=4))
    before, after = SparsityLog(every=4), SparsityLog(every=4)
    fit(build(steps_per_execution=steps_per_execution), blobs, [before, prunes, after], epochs=2)
    for log in (before, after):
        assert [record["step"] for record in log.history] == [4, 8, 12, 16]
        assert [record["kernels"]["head/kernel"] for record in log.history] == [pytest.approx(0.5)] * 4


# TensorBoard


def scalars(folder):
    """What TensorBoard would draw: {tag: [(step, value)]}."""
    found = {}
    for file in sorted(folder.glob("events*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    return found


def test_the_files_for_tensorboard_hold_the_true_zeros(logged):
    _, look, _, folder = logged
    found = scalars(folder / "logs")
    assert set(found) == {"sparsity/overall", *(f"sparsity/{path}" for path in KERNELS)}
    steps = (8, 16, 24)
    expected = {"sparsity/overall": [overall for _, overall, _ in look.found]}
    expected |= {f"sparsity/{path}": [kernels[path] for _, _, kernels in look.found] for path in KERNELS}
    for tag, values in expected.items():
        assert found[tag] == [(step, pytest.approx(value)) for step, value in zip(steps, values, strict=True)]


# More than one fit


def test_a_record_goes_on_over_several_fits_and_starts_anew_with_another_model(blobs):
    log, model = SparsityLog(), build()
    fit(model, blobs, [log], epochs=1)
    fit(model, blobs, [log], epochs=2, initial_epoch=1)
    assert [(record["step"], record["epoch"]) for record in log.history] == [(8, 1), (16, 2)]
    later = SparsityLog()  # a new one in a later epoch counts from there
    fit(build(), blobs, [log, later], epochs=4, initial_epoch=3)
    for anew in (log, later):
        assert [(record["step"], record["epoch"]) for record in anew.history] == [(32, 4)]


def test_an_interrupted_training_goes_on_with_its_record(blobs, tmp_path):
    from tfopt.data.splits import Data, Split
    from tfopt.training import trainer

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    x, y = blobs
    data = Data(Split(x[:128], y[:128]), Split(x[128:192], y[128:192]), Split(x[192:], y[192:]))
    settings = trainer.FitSettings(epochs=4)

    def train(folder, *more):
        log = SparsityLog(every=3)
        prunes = MagnitudePruning(sparsity=0.8, begin=1, end=12, frequency=3)
        keras.utils.set_random_seed(1)
        model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4, name="head")])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        history = trainer.fit(model, data, settings, tmp_path / folder, [prunes, log, *more])
        return log, history

    whole, history = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("cut", Interrupt())
    resumed, again = train("cut")
    assert resumed.history == whole.history
    assert resumed.step == 16
    assert again == history
    assert len(history["sparsity"]) == 4


# What cannot work


@pytest.mark.parametrize("every", [0, -1, 2.5, "step", True, None])
def test_another_word_for_how_often_is_refused(every):
    with pytest.raises(InputError, match="Received: every=") as caught:
        SparsityLog(every=every)
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_without_weights_is_refused_with_the_way_out(blobs):
    class Unbuilt(keras.Model):
        def call(self, x):
            return x

    log = SparsityLog()
    log.set_model(Unbuilt())
    with pytest.raises(ModelError, match=r"model\.build"):
        log.on_train_begin()


def test_a_model_without_kernels_is_refused(blobs):
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.BatchNormalization(), layers.GlobalAveragePooling2D()])
    model.compile("sgd", "mse")
    with pytest.raises(ModelError, match="no kernel"):
        fit(model, (blobs[0], blobs[1][:, None]), [SparsityLog()])


class Own(layers.Layer):
    def build(self, shape):
        self.matrix = self.add_weight(name="matrix", shape=(shape[-1], 16))

    def call(self, x):
        return x @ self.matrix


def test_kernels_of_layers_of_ones_own_are_counted_when_named(blobs):
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), Own(name="own")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    named = {"own": ["matrix"]}
    log = SparsityLog(prunable=named)
    fit(model, blobs, [pruning(prunable=named), log])
    last = log.history[-1]
    true = float((model.get_layer("own").matrix.numpy() == 0).mean())
    assert last["kernels"] == {"own/matrix": true} == {"own/matrix": last["overall"]}
    assert true == pytest.approx(0.8, abs=0.01)
    with pytest.raises(ModelError, match="has no weight 'kernel'"):
        fit(model, blobs, [SparsityLog(prunable={"own": ["kernel"]})])


def test_a_model_that_keras_never_calls_built_is_logged():
    log = SparsityLog()
    trained_pair(log)
    assert [record["overall"] for record in log.history] == [0, 0]


def test_a_model_whose_kernels_keras_has_packed_is_refused():
    model = keras.Sequential([layers.Input((8,)), layers.Dense(8, name="hidden")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.quantize("int4")
    model.compile("sgd", "mse")
    with pytest.raises(ModelError, match="Keras has quantized hidden"):
        model.fit(np.ones((8, 8)), np.ones((8, 8)), verbose=0, callbacks=[SparsityLog()])
