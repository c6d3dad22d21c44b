"""What every pruning schedule keeps to."""

import numpy as np
import pytest

import tfopt
from tfopt.errors import RecipeError
from tfopt.sparsity.pruning_config import PruningConfig
from tfopt.sparsity.pruning_plan import final_sparsity
from tfopt.sparsity.schedule_table import ScheduleTable
from tfopt.sparsity.schedules import SCHEDULES, ScheduleSettings

VALUES = {"rounds": 3, "initial_sparsity": 0.1, "power": 2.0, "end": 0.5, "frequency": 7}
NEW = """
from tfopt.sparsity.schedules import SparsitySchedule
from tfopt.sparsity.schedules.constant import constant_sparsity

LATE = SparsitySchedule(
    "late", "All at `end`.", lambda s: constant_sparsity(s.sparsity, s.end, s.end, 1), ignores=("begin",)
)
"""


@pytest.fixture(params=SCHEDULES)
def kind(request):
    return SCHEDULES[request.param]


@pytest.fixture(params=[(10, 100, None), (1, 40, 13), (5, 9000, 100)], ids=str)
def schedule(request, kind):
    begin, end, frequency = request.param
    frequency = None if "frequency" in kind.ignores else frequency
    rounds = VALUES["rounds"] if "rounds" in kind.required else None
    return kind.build(
        ScheduleSettings(0.8, begin, begin if "end" in kind.ignores else end, 0.0, 3.0, frequency, rounds)
    )


def test_the_registry_holds_the_documented_schedules():
    assert list(SCHEDULES) == ["polynomial", "constant", "one_shot", "iterative"]


def test_a_schedule_goes_by_its_word_in_a_file_of_that_word(kind, file_of):
    assert SCHEDULES[kind.name] is kind
    assert file_of(SCHEDULES, kind) == kind.name


def test_it_says_in_one_sentence_when_it_prunes(kind):
    assert kind.about[0].isupper() or kind.about[0] == "`"
    assert kind.about.endswith(".")
    assert len(kind.about) <= 120


def test_the_settings_that_it_names_are_settings_of_pruning(kind):
    assert {*kind.own, *kind.required, *kind.ignores} <= set(PruningConfig.model_fields)


def test_it_prunes_from_its_first_step_to_its_last_and_ends_at_the_sparsity(schedule):
    table = ScheduleTable(schedule)
    due = [step for step in range(1, schedule.end_step + 50) if table.due(step)]
    assert (due[0], due[-1]) == (schedule.begin_step, schedule.end_step)
    shares = [table.sparsity(step) for step in due]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(0.8)
    assert final_sparsity(schedule) == pytest.approx(0.8)


def test_one_step_and_a_tensor_of_steps_give_the_same(schedule):
    steps = np.arange(1, 120)
    due, shares = (np.broadcast_to(np.asarray(values), steps.shape) for values in schedule(steps))
    for step in (1, 10, 40, 100):
        one = schedule(np.int64(step))
        assert (bool(one[0]), float(one[1])) == (bool(due[step - 1]), pytest.approx(float(shares[step - 1]), abs=1e-6))


def test_settings_that_mean_nothing_with_it_are_refused(kind):
    given = {name: VALUES[name] for name in kind.required}
    foreign = {name for other in SCHEDULES.values() for name in other.own} - {*kind.own}
    for name in (*kind.ignores, *foreign):
        with pytest.raises(RecipeError, match=f"{name} means nothing with"):
            tfopt.Prune(sparsity=0.5, epochs=1, schedule=kind.name, **given, **{name: VALUES[name]})
    own = {name: VALUES[name] for name in kind.own}
    assert tfopt.Prune(sparsity=0.5, epochs=1, schedule=kind.name, **given, **own)


def test_what_it_cannot_do_without_is_asked_for(kind):
    for name in {name for other in SCHEDULES.values() for name in other.required}:
        given = {} if name in kind.required else {name: VALUES[name]}
        with pytest.raises(RecipeError, match=f"{name} goes with schedule"):
            tfopt.Prune(sparsity=0.5, epochs=1, schedule=kind.name, **given)


def test_listing_them_imports_no_framework(listed_afresh):
    assert listed_afresh["tfopt.sparsity.schedules", "SCHEDULES"] == [list(SCHEDULES), []]


def test_an_entry_point_is_a_new_schedule_of_the_stage(new_entry_point, run_stage):
    new_entry_point(SCHEDULES, "late_schedule", NEW)
    artifact = run_stage("prune: {sparsity: 0.75, schedule: late, epochs: 1, end: 5}")
    assert artifact.details["sparsity"]["hidden/kernel"] == pytest.approx(0.75)
    assert "late" in tfopt.Prune.model_json_schema()["properties"]["schedule"]["enum"]
    with pytest.raises(RecipeError, match="begin means nothing with schedule: late"):
        tfopt.Prune(sparsity=0.5, epochs=1, schedule="late", begin=3)
