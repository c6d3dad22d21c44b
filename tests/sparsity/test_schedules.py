"""TF-MOT's schedules against their formula, and a user's words turned into one."""

import numpy as np
import pytest

from tfopt.errors import InputError
from tfopt.sparsity import constant_sparsity, polynomial_decay
from tfopt.sparsity.pruning_config import PruningConfig
from tfopt.sparsity.pruning_plan import build_schedule
from tfopt.sparsity.schedule_table import ScheduleTable


def built(schedule, sparsity, total=None, **settings):
    return build_schedule(PruningConfig(schedule=schedule, sparsity=sparsity, **settings), total)


def test_polynomial_decay_follows_the_papers_formula():
    table = ScheduleTable(polynomial_decay(0.2, 0.8, 100, 500, power=3, frequency=50))
    for step in (100, 150, 300, 500):
        expected = 0.8 + (0.2 - 0.8) * (1 - (step - 100) / 400) ** 3
        assert table.sparsity(step) == pytest.approx(expected, abs=1e-6)
        assert table.due(step)
    assert not table.due(99)
    assert not table.due(125)
    assert not table.due(550)


def test_the_timetable_agrees_with_the_schedule_across_its_windows():
    schedule = constant_sparsity(0.5, 7, frequency=13)
    table = ScheduleTable(schedule)
    for step in (1, 7, 20, 4095, 4096, 4097, 9003, 20):
        due, sparsity = schedule(np.int64(step))
        assert table.due(step) == bool(due)
        assert table.sparsity(step) == pytest.approx(float(sparsity))


def test_fractions_are_of_the_whole_training():
    schedule = built("polynomial", 0.8, begin=0.1, end=0.6, frequency=50, total=1000)
    assert (schedule.begin_step, schedule.end_step, schedule.frequency) == (100, 600, 50)


def test_whole_numbers_are_steps_even_one():
    schedule = built("constant", 0.5, begin=1, end=21, frequency=10)
    assert (schedule.begin_step, schedule.end_step) == (1, 21)


def test_the_end_moves_back_to_the_last_update_so_that_the_sparsity_is_reached():
    schedule = built("polynomial", 0.8, begin=1, end=20, frequency=3)
    assert schedule.end_step == 19
    assert float(schedule(np.int64(19))[1]) == pytest.approx(0.8)


@pytest.mark.parametrize(("total", "frequency"), [(40, 1), (2000, 74), (100_000, 100)])
def test_the_frequency_is_a_twentieth_of_the_way_and_at_most_100(total, frequency):
    assert built("polynomial", 0.8, total=total).frequency == frequency


def test_one_update_prunes_at_once():
    schedule = built("polynomial", 0.8, begin=5, end=5)
    due, sparsity = schedule(np.int64(5))
    assert bool(due)
    assert float(sparsity) == pytest.approx(0.8)


def test_an_end_before_the_begin_is_refused():
    with pytest.raises(InputError, match="end at step 10"):
        built("polynomial", 0.8, begin=50, end=10)


def test_a_fraction_of_an_unknown_length_is_refused():
    with pytest.raises(InputError, match="end is a fraction"):
        built("polynomial", 0.8, begin=0, end=0.5)
