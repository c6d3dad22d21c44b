import keras
import numpy as np
import pytest

from tfopt.callbacks import ClosureStep, LearningRateFinder
from tfopt.errors import InputError, ModelError
from tfopt.optimizers import SAM, OneCycle
from tfopt.training.learning_rate_finder import with_rate

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compiled(optimizer="sgd", normalized=True, **options):
    between = [keras.layers.BatchNormalization()] if normalized else []
    inputs, conv = keras.layers.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, activation="relu" if normalized else None)
    head = [keras.layers.Flatten(), keras.layers.Dropout(0.2), keras.layers.Dense(4)]
    model = keras.Sequential([inputs, conv, *between, *head])
    model.stop_training = False
    model.compile(optimizer, LOSS, **options)
    return model


def find(model, blobs, finder, **options):
    model.fit(*blobs, epochs=50, verbose=0, callbacks=[ClosureStep(), finder], **options)
    return finder


def test_the_rates_are_evenly_spaced_in_their_logarithm(blobs):
    finder = find(compiled(), blobs, LearningRateFinder(1e-5, 1e-2, steps=31, stop=100))
    np.testing.assert_allclose(finder.rates, np.geomspace(1e-5, 1e-2, 31), rtol=1e-6)
    assert len(finder.losses) == 31


def test_it_suggests_a_rate_that_trains(blobs):
    model = compiled(normalized=False)
    finder = find(model, blobs, LearningRateFinder(1e-5, 1e4, steps=90))
    assert 1e-4 < finder.suggestion < finder.rates[int(np.argmin(finder.losses))] + 1e-9
    model.compile(keras.optimizers.SGD(finder.suggestion), LOSS)
    losses = model.fit(*blobs, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("optimizer", ["adam", "sam"])
def test_the_model_and_the_optimizer_are_as_they_were(blobs, optimizer):
    model = compiled(SAM() if optimizer == "sam" else optimizer, run_eagerly=True)
    model.fit(*blobs, batch_size=128, verbose=0, callbacks=[ClosureStep()])
    before = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
    find(model, blobs, LearningRateFinder(1e-4, 1e2, steps=10))
    for old, variable in zip(before, (*model.variables, *model.optimizer.variables), strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_the_smoothed_loss_is_a_moving_average_with_its_bias_corrected():
    finder = LearningRateFinder(steps=10)
    finder.losses, finder.rates, finder._mean = [], [], 0.0
    finder.set_model(compiled())
    for loss in (4.0, 2.0):
        finder.rates.append(1.0)
        finder.on_train_batch_end(0, {"loss": loss})
    assert finder.losses == pytest.approx([4.0, (0.9 * 0.4 + 0.1 * 2) / (1 - 0.81)])


@pytest.mark.parametrize("last", [1e4, float("inf"), float("nan")])
def test_it_stops_once_the_loss_grows_or_is_no_number(last):
    finder, model = LearningRateFinder(steps=10), compiled()
    finder.losses, finder.rates, finder._mean = [], [], 0.0
    finder.set_model(model)
    for loss in (2.0, 1.0, last):
        assert not model.stop_training
        finder.rates.append(1.0)
        finder.on_train_batch_end(0, {"loss": loss})
    assert model.stop_training
    assert len(finder.rates) == len(finder.losses)


def test_the_suggestion_is_the_steepest_place_before_the_smallest_loss():
    finder = LearningRateFinder()
    finder.rates = list(np.geomspace(1e-4, 1e2, 61))
    center = 1e-1
    finder.losses = [2 - np.tanh(2 * np.log10(rate / center)) + max(np.log10(rate), 0) ** 2 for rate in finder.rates]
    assert finder.suggestion == pytest.approx(center, rel=0.3)


def test_a_loss_that_never_falls_is_said():
    finder = LearningRateFinder()
    finder.rates, finder.losses = list(np.geomspace(1e-4, 1e2, 20)), list(np.linspace(1, 5, 20))
    with pytest.raises(InputError, match="falls at no learning rate"):
        _ = finder.suggestion


def measured(raw):
    """A finder after the losses of single batches."""
    finder, mean = LearningRateFinder(steps=len(raw)), 0.0
    finder.rates = list(np.geomspace(1e-6, 10, len(raw)))
    for number, loss in enumerate(raw, 1):
        mean = 0.9 * mean + 0.1 * loss
        finder.losses.append(mean / (1 - 0.9**number))
    return finder


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("draw", ["normal", "lognormal", "exponential"])
def test_the_jitter_of_a_trained_model_is_no_fall(seed, draw):
    generator = np.random.default_rng(seed)
    raw = {
        "normal": generator.normal(0.3, 0.05, 100),
        "lognormal": generator.lognormal(-3, 1.5, 100),
        "exponential": generator.exponential(0.05, 100),
    }[draw]
    raw[80:] += np.geomspace(0.01, 5, 20)
    with pytest.raises(InputError, match="may be trained already"):
        _ = measured(raw).suggestion


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_falls_among_jitter_is_found(seed):
    steps = np.arange(100)
    raw = np.random.default_rng(seed).normal(2.3, 0.1, 100) - 2 / (1 + np.exp(-(steps - 45) / 6))
    finder = measured(raw)
    assert finder.rates[35] < finder.suggestion < finder.rates[70]


def test_rates_at_which_nothing_happens_are_said(blobs):
    finder = find(compiled(), blobs, LearningRateFinder(1e-12, 1e-9, steps=40))
    with pytest.raises(InputError, match="look at other rates"):
        _ = finder.suggestion


def test_a_schedule_is_refused(blobs):
    model = compiled(keras.optimizers.SGD(OneCycle(0.1, 100)))
    with pytest.raises(ModelError, match="is a schedule"):
        find(model, blobs, LearningRateFinder())


@pytest.mark.parametrize("arguments", [{"low": 0}, {"low": 1, "high": 0.1}, {"steps": 5}, {"stop": 1}])
def test_values_out_of_range_are_refused(arguments):
    with pytest.raises(InputError, match="Received"):
        LearningRateFinder(**arguments)


@pytest.mark.parametrize("optimizer", [keras.optimizers.Adam(OneCycle(0.1, 9)), SAM(keras.optimizers.SGD(0.3))])
def test_an_optimizer_like_another_one_has_a_rate_that_can_be_set(optimizer):
    other = with_rate(optimizer, 0.125)
    assert type(other) is type(optimizer)
    assert float(other.learning_rate) == 0.125
    other.learning_rate = 0.5
    assert float(other.learning_rate) == 0.5
