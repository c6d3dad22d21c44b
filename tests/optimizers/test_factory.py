import inspect
import math

import keras
import numpy as np
import pytest

from tfopt.errors import InputError
from tfopt.optimizers import OPTIMIZERS, build_optimizer
from tfopt.optimizers.factory import known_optimizers

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
    assert set(known_optimizers()) - set(OPTIMIZERS) == {name.lower() for name in NAMES}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("gradient_descent", {"momentum": 0.0, "nesterov": False}),
        ("stochastic_gradient_descent", {"momentum": 0.0, "nesterov": False}),
        ("mini_batch_gradient_descent", {"momentum": 0.0, "nesterov": False}),
        ("momentum", {"momentum": 0.9, "nesterov": False}),
        ("nesterov", {"momentum": 0.9, "nesterov": True}),
    ],
)
def test_the_names_of_the_classic_family_are_keras_sgd(name, config):
    optimizer = build_optimizer({name: {"learning_rate": 0.25}}, 10)
    assert type(optimizer) is keras.optimizers.SGD
    assert {key: optimizer.get_config()[key] for key in config} == config
    assert float(optimizer.learning_rate) == 0.25


def test_a_name_of_the_family_gives_way_to_an_argument():
    assert build_optimizer({"momentum": {"momentum": 0.5}}, 10).momentum == 0.5


@pytest.mark.parametrize("name", [name for name, entry in OPTIMIZERS.items() if entry.make is not keras.optimizers.SGD])
def test_tfopts_own_take_what_every_keras_optimizer_takes(name):
    if name == "sam":
        with pytest.raises(InputError, match=r"inner optimizer's: sam: \{optimizer"):
            build_optimizer({"sam": {"learning_rate": 0.1}}, 10)
        return
    assert build_optimizer({name: {"clipnorm": 1.5}}, 10).clipnorm == 1.5
    with pytest.raises(InputError, match=r"'clipnrm'.*Did you mean 'clipnorm'"):
        build_optimizer({name: {"clipnrm": 1.5}}, 10)


def test_the_optimizer_within_sam_is_a_recipes_optimizer():
    spec = {"sam": {"rho": 0.1, "optimizer": {"adam": {"learning_rate": {"cosine": {"initial_learning_rate": 0.5}}}}}}
    sam = build_optimizer(spec, 100)
    assert type(sam.optimizer) is keras.optimizers.Adam
    assert float(sam.optimizer._learning_rate(50)) == pytest.approx(0.25, rel=1e-5)
    assert isinstance(build_optimizer("sam", 10).optimizer, keras.optimizers.Adam)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"sam": {"optimizer": "adamm"}}, ("optimizer", "sam", "optimizer")),
        ({"sam": {"optimizer": {"adam": {"rate": 1}}}}, ("optimizer", "sam", "optimizer", "adam", "rate")),
        ({"sam": {"optimizer": "sam"}}, ("optimizer", "sam")),
        ({"sam": {"rho": 0}}, ("optimizer", "sam", "rho")),
        ({"adahessian": {"beta_1": 1.0}}, ("optimizer", "adahessian", "beta_1")),
        ({"adahessian": {"epsilon": 0}}, ("optimizer", "adahessian", "epsilon")),
        ({"adahessian": {"hessian_power": 2}}, ("optimizer", "adahessian", "hessian_power")),
        ({"newton_cg": {"damping": -1}}, ("optimizer", "newton_cg", "damping")),
        ({"newton_cg": {"iterations": 0}}, ("optimizer", "newton_cg", "iterations")),
        ({"newton_cg": {"tolerance": 1}}, ("optimizer", "newton_cg", "tolerance")),
    ],
)
def test_a_mistake_in_tfopts_own_is_located(spec, field):
    with pytest.raises(InputError) as caught:
        build_optimizer(spec, 10)
    assert caught.value.field == field
    assert len(str(caught.value).splitlines()) == 1


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
    with pytest.raises(InputError, match="exponential, cosine, piecewise, one_cycle"):
        build_optimizer({"sgd": {"learning_rate": spec}}, 10)


def test_an_unknown_argument_of_a_schedule_gets_the_nearest_one():
    with pytest.raises(InputError, match=r"'alfa'.*Did you mean 'alpha'") as caught:
        scheduled("cosine", initial_learning_rate=0.1, alfa=0.5)
    assert caught.value.field == ("optimizer", "sgd", "learning_rate", "cosine", "alfa")


def test_a_missing_argument_of_a_schedule_is_named():
    with pytest.raises(InputError, match=r"cosine.*initial_learning_rate"):
        scheduled("cosine")


@pytest.mark.parametrize("step", [0, 10, 30, 31, 65, 100, 150])
def test_one_cycle_goes_up_and_down_along_half_cosines(step):
    optimizer = scheduled("one_cycle", steps=100, max_learning_rate=0.5, warmup=0.3, divide=10, final_divide=100)
    low, top, end = 0.05, 0.5, 0.0005
    if step <= 30:
        expected = top + (low - top) * 0.5 * (1 + math.cos(math.pi * step / 30))
    else:
        expected = end + (top - end) * 0.5 * (1 + math.cos(math.pi * min((step - 30) / 70, 1)))
    assert rate(optimizer, step) == pytest.approx(expected, rel=1e-4)


def test_a_cycle_survives_saving(tmp_path):
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(scheduled("one_cycle", max_learning_rate=0.5), "mse")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert [rate(again, step) for step in (0, 30, 99)] == [rate(model.optimizer, step) for step in (0, 30, 99)]


@pytest.mark.parametrize("mistake", [{"warmup": 1.0}, {"divide": 0.5}, {"max_learning_rate": -1}, {"decay_steps": 0}])
def test_a_cycle_out_of_range_is_refused(mistake):
    with pytest.raises(InputError, match="one_cycle") as caught:
        scheduled("one_cycle", **{"max_learning_rate": 0.5, **mistake})
    assert caught.value.field[-1] == next(iter(mistake))


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
