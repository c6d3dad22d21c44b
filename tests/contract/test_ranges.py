"""What every way to make ranges keeps to: those of calibration, and those that follow a training."""

import importlib

import numpy as np
import pytest
import tensorflow as tf

from tests.quantization import zoo
from tfopt.errors import DataError
from tfopt.quantization import quantize_aware, ranges
from tfopt.quantization.aware.grids import Grid
from tfopt.quantization.aware.observers import RangeObserver
from tfopt.quantization.calibration import ActivationExtremes
from tfopt.recipe.export import Export
from tfopt.recipe.modes import RANGES, TRAINED_RANGES
from tfopt.stages.qat import Qat


@pytest.fixture(params=RANGES)
def method(request):
    return RANGES[request.param]


@pytest.fixture(params=TRAINED_RANGES)
def trained(request):
    return TRAINED_RANGES[request.param]


def extremes(runs):
    values = np.random.default_rng(0).uniform(1, 2, (runs, 3)).astype(np.float32)
    return ActivationExtremes(("a", "b", "c"), -values, values)


def test_an_entry_is_alone_in_the_file_of_its_name():
    for registry in (RANGES, TRAINED_RANGES):
        for name, entry in registry.items():
            assert registry.entries_of(importlib.import_module(f"{registry.package}.{name}")) == [entry]
            assert entry.about


def test_ranges_are_within_what_was_seen(method):
    seen = extremes(40)
    found = seen.ranges(method.name)
    assert list(found) == ["a", "b", "c"]
    for index, ends in enumerate(found.values()):
        assert seen.low[:, index].min() <= ends["min"].item() < ends["max"].item() <= seen.high[:, index].max()
        assert ends["min"].shape == ends["max"].shape == (1, 1)


def test_as_few_samples_as_a_method_takes_are_enough_and_fewer_are_refused(method):
    assert extremes(method.fewest).ranges(method.name)
    with pytest.raises(DataError, match=f"ranges: {method.name} needs at least {method.fewest} calibration samples"):
        extremes(method.fewest - 1).ranges(method.name)


def test_trained_ranges_begin_with_those_of_a_method_of_calibration(trained):
    seen = extremes(40)
    observer = trained.observer([Grid("a", 8), Grid("b", 8), Grid("c", 8)], [], 0.9, 0.01)
    assert isinstance(observer, RangeObserver)
    observer.begin(seen.ranges(trained.begin), {})
    expected = {name: (e["min"].item(), e["max"].item()) for name, e in seen.ranges(trained.begin).items()}
    assert observer.ranges() == expected
    state = observer.get_state()
    observer.low.assign(observer.low - 1)
    observer.set_state(state)
    assert observer.ranges() == expected


def test_trained_ranges_follow_what_they_see_until_they_are_frozen(trained):
    observer = trained.observer([Grid("a", 8)], [], 0.9, 0.1)
    observer.begin({"a": {"min": np.float32(-1), "max": np.float32(1)}}, {})
    x = tf.constant(np.random.default_rng(0).normal(size=(32, 10)).astype(np.float32)) * 3
    observer.frozen = True
    step(observer, x)
    assert observer.ranges() == {"a": (-1, 1)}
    observer.frozen = False
    step(observer, x)
    low, high = observer.ranges()["a"]
    assert low < -1
    assert high > 1


def step(observer, x):
    """A step that wants the values as they are."""
    with tf.GradientTape() as tape:
        low, high, _ = observer.pieces()
        loss = tf.reduce_mean((observer.activation(0, x, low[0], high[0]) - x) ** 2)
    tape.gradient(loss, [observer.low, observer.high])
    observer.follow({0: [observer.extremes(x)]})


@pytest.mark.sample(1)
def test_a_model_is_trained_with_them_and_its_file_is_near(trained):
    model, samples = zoo.build("dense")
    model.compile("sgd", "mse")
    aware = quantize_aware(model, "int8", samples, ranges=trained.name)
    model.fit(samples, model.predict(samples, verbose=0), verbose=0)
    content = aware.convert().content
    aware.strip()
    assert zoo.error(content, model, samples) < 0.2  # of a sample that a percentile leaves out


def test_a_new_method_is_one_new_file(tmp_path, monkeypatch):
    (tmp_path / "mean.py").write_text(
        "from tfopt.recipe.modes import RangeMethod\n"
        'MEAN = RangeMethod("mean", "means of extremes", lambda low, high: (low.mean(axis=0), high.mean(axis=0)))\n'
    )
    monkeypatch.setattr(ranges, "__path__", [*ranges.__path__, str(tmp_path)])
    monkeypatch.setattr(RANGES, "_found", None)
    assert Export(ranges="mean").ranges == "mean"
    assert extremes(4).ranges("mean")["a"]["max"] == pytest.approx(extremes(4).high[:, 0].mean())


def test_a_stage_names_the_samples_that_its_ranges_begin_with():
    for name, entry in TRAINED_RANGES.items():
        fewest = RANGES[entry.begin].fewest
        assert Qat(epochs=1, ranges=name, samples=fewest).samples == fewest
        if fewest > 1:
            with pytest.raises(Exception, match=f"ranges: {name} begins with {fewest} samples at least"):
                Qat(epochs=1, ranges=name, samples=fewest - 1)
