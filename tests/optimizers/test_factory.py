import inspect
import math

import keras
import numpy as np
import pytest

from tfopt.errors import InputError
from tfopt.optimizers import build_optimizer
from tfopt.optimizers.factory import optimizer_classes

# Every optimizer of this Keras that a name alone describes; found without the code under test.
NAMES = sorted(
    name
    for name, cls in inspect.getmembers(keras.optimizers, inspect.isclass)
    if name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer") and issubclass(cls, keras.optimizers.Optimizer)
)


def rate(optimizer, step):
    return float(optimizer._learning_rate(step))


def scheduled(name, steps=100, **arguments):
    return build_optimizer({"sgd": {"learning_rate": {name: arguments}}}, steps)


@pytest.mark.parametrize("name", NAMES)
def test_every_keras_optimizer_builds_by_its_name_and_takes_a_step(name):
    optimizer = build_optimizer(name.lower(), 10)
    variable = keras.Variable(np.ones((3, 2), np.float32))
    optimizer.apply([keras.ops.ones((3, 2))], [variable])
    assert type(optimizer) is getattr(keras.optimizers, name)
    assert np.isfinite(np.asarray(variable)).all()
    assert not np.array_equal(variable, np.ones((3, 2)))


def test_at_least_the_well_known_optimizers_are_there():
    assert {"SGD", "Adam", "AdamW", "RMSprop", "Nadam", "Lion", "Adafactor"} <= set(NAMES)


def test_wrappers_around_other_optimizers_are_not_offered_by_name():
    assert set(optimizer_classes()) == {name.lower() for name in NAMES}


@pytest.mark.parametrize("name", ["adam", "Adam", "ADAM"])
def test_the_case_of_a_name_does_not_matter(name):
    assert isinstance(build_optimizer(name, 10), keras.optimizers.Adam)


def test_arguments_reach_the_optimizer():
    optimizer = build_optimizer({"adam": {"learning_rate": 0.25, "beta_1": 0.5, "clipnorm": 2.0}}, 10)
    assert float(optimizer.learning_rate) == 0.25
    assert optimizer.get_config()["beta_1"] == 0.5
    assert optimizer.clipnorm == 2.0


@pytest.mark.parametrize("arguments", [None, {}])
def test_no_arguments_give_keras_defaults(arguments):
    optimizer = build_optimizer({"sgd": arguments}, 10)
    assert float(optimizer.learning_rate) == pytest.approx(float(keras.optimizers.SGD().learning_rate))


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(InputError, match=r"'adamm'.*Did you mean 'adam'") as caught:
        build_optimizer("adamm", 10)
    assert caught.value.field[0] == "optimizer"


def test_an_unknown_argument_gets_the_nearest_one():
    with pytest.raises(InputError, match=r"'learning_rat'.*Did you mean 'learning_rate'") as caught:
        build_optimizer({"adam": {"learning_rat": 0.1}}, 10)
    assert caught.value.field == ("optimizer", "adam", "learning_rat")


def test_a_value_that_keras_refuses_is_an_error_of_one_line():
    with pytest.raises(InputError, match="adam") as caught:
        build_optimizer({"adam": {"clipnorm": -1.0, "clipvalue": 1.0}}, 10)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("spec", [{}, {"adam": {}, "sgd": {}}])
def test_a_mapping_names_exactly_one_optimizer(spec):
    with pytest.raises(InputError):
        build_optimizer(spec, 10)


# Schedules


@pytest.mark.parametrize("step", [0, 10, 40, 150])
def test_exponential_decay_follows_its_closed_form(step):
    optimizer = scheduled("exponential", initial_learning_rate=0.5, decay_rate=0.9, decay_steps=20)
    assert rate(optimizer, step) == pytest.approx(0.5 * 0.9 ** (step / 20), rel=1e-5)


@pytest.mark.parametrize("step", [0, 10, 25, 50, 90])
def test_cosine_decay_follows_its_closed_form(step):
    optimizer = scheduled("cosine", initial_learning_rate=0.5, decay_steps=50, alpha=0.1)
    fraction = 0.5 * (1 + math.cos(math.pi * min(step, 50) / 50))
    assert rate(optimizer, step) == pytest.approx(0.5 * (0.9 * fraction + 0.1), rel=1e-5)


@pytest.mark.parametrize(("step", "expected"), [(0, 1.0), (10, 1.0), (11, 0.5), (20, 0.5), (21, 0.1), (500, 0.1)])
def test_piecewise_decay_changes_after_its_boundaries(step, expected):
    optimizer = scheduled("piecewise", boundaries=[10, 20], values=[1.0, 0.5, 0.1])
    assert rate(optimizer, step) == pytest.approx(expected)


def test_decay_steps_default_to_the_length_of_the_training():
    exponential = scheduled("exponential", steps=80, initial_learning_rate=0.5, decay_rate=0.1)
    cosine = scheduled("cosine", steps=80, initial_learning_rate=0.5)
    assert rate(exponential, 80) == pytest.approx(0.05, rel=1e-5)
    assert rate(cosine, 40) == pytest.approx(0.25, rel=1e-5)
    assert rate(cosine, 80) == pytest.approx(0, abs=1e-7)


def test_a_warm_up_is_part_of_the_training_and_not_on_top_of_it():
    optimizer = scheduled("cosine", steps=100, initial_learning_rate=0.0, warmup_target=0.5, warmup_steps=20)
    assert rate(optimizer, 10) == pytest.approx(0.25, rel=1e-5)
    assert rate(optimizer, 20) == pytest.approx(0.5, rel=1e-5)
    assert rate(optimizer, 60) == pytest.approx(0.25, rel=1e-5)
    assert rate(optimizer, 100) == pytest.approx(0, abs=1e-7)


def test_the_optimizer_runs_along_its_schedule():
    optimizer = scheduled("piecewise", boundaries=[1], values=[1.0, 0.5])
    variable = keras.Variable(np.zeros(1, np.float32))
    seen = []
    for _ in range(4):
        optimizer.apply([keras.ops.ones(1)], [variable])
        seen.append(float(variable[0]))
    np.testing.assert_allclose(seen, [-1, -2, -2.5, -3])


@pytest.mark.parametrize(
    "spec",
    [{"cosin": {"initial_learning_rate": 0.1}}, {}, {"cosine": {}, "exponential": {}}],
)
def test_an_unknown_schedule_names_the_ones_there_are(spec):
    with pytest.raises(InputError, match="exponential, cosine, piecewise"):
        build_optimizer({"sgd": {"learning_rate": spec}}, 10)


def test_an_unknown_argument_of_a_schedule_gets_the_nearest_one():
    with pytest.raises(InputError, match=r"'alfa'.*Did you mean 'alpha'") as caught:
        scheduled("cosine", initial_learning_rate=0.1, alfa=0.5)
    assert caught.value.field == ("optimizer", "sgd", "learning_rate", "cosine", "alfa")


def test_a_missing_argument_of_a_schedule_is_named():
    with pytest.raises(InputError, match=r"cosine.*initial_learning_rate"):
        scheduled("cosine")


# Objects


def test_an_optimizer_object_is_copied_and_not_shared():
    own = keras.optimizers.Adam(0.3, beta_2=0.7)
    own.build([keras.Variable(np.zeros(3, np.float32))])
    copy = build_optimizer(own, 10)
    assert copy is not own
    assert type(copy) is keras.optimizers.Adam
    assert copy.get_config() == own.get_config()
    copy.learning_rate = 0.1
    assert float(own.learning_rate) == pytest.approx(0.3)
    assert not any(v is w for v in copy.variables for w in own.variables)


def test_a_copied_optimizer_starts_without_the_state_of_the_original():
    own, variable = keras.optimizers.SGD(0.1, momentum=0.9), keras.Variable(np.zeros(2, np.float32))
    own.apply([keras.ops.ones(2)], [variable])
    copy = build_optimizer(own, 10)
    assert int(copy.iterations) == 0
    assert int(own.iterations) == 1


def test_a_copied_optimizer_keeps_its_schedule():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.5)
    copy = build_optimizer(keras.optimizers.SGD(schedule), 99)
    assert rate(copy, 10) == pytest.approx(0.25, rel=1e-5)


def test_a_whole_number_is_a_learning_rate_and_a_negative_one_is_not():
    assert float(build_optimizer({"sgd": {"learning_rate": 1}}, 10).learning_rate) == 1.0
    with pytest.raises(InputError, match=r"above 0.*-0\.1"):
        build_optimizer({"sgd": {"learning_rate": -0.1}}, 10)
