"""A small part of the faults, in this process: a run of stages that only write, ended at points spread over it."""

import pytest

import tfopt
from tests.faults import images, survival
from tests.faults.points import Points, Recording
from tests.faults.project import recipe_of, write_project

COUNT = 12


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The recipe of a run, its folder, and what is left of it at each point."""
    project, out = write_project(tmp_path_factory.mktemp("project")), tmp_path_factory.mktemp("out")
    recipe = recipe_of(project, "copy")
    with Points([out / "copy"], Recording(out / "copy", out / "images")).watched():
        tfopt.run(recipe, out)
    return recipe, out / "copy", images.read(out / "images")


def test_every_point_of_a_run_is_seen_and_what_is_left_at_it(recorded):
    _, _, remains = recorded
    moments = "\n".join(left.moment for left in remains if left.kind == "kill")
    for place in ("source", "a", "b", "baseline"):
        assert f"rename of {place}.partial" in moments
    assert {"kill", "torn write"} <= {left.kind for left in remains}
    assert not list(remains[0].image.glob("*/artifact.json"))
    assert sum(left.points for left in remains if left.kind == "kill") >= 40


def test_what_ended_runs_leave_is_gone_on_from_to_the_same_bytes(recorded, tmp_path, evidence):
    recipe, folder, remains = recorded
    expected = survival.results(folder)
    for number in range(COUNT):
        left = remains[int((number + 0.5) * len(remains) / COUNT)]
        out = tmp_path / str(number)
        left.put(out / "copy")
        wrong = survival.taken_for_whole(out / "copy", expected)
        tfopt.run(recipe, out)
        wrong += survival.differences(out / "copy", expected)
        evidence.add(left.kind, f"copy: {left.moment}", wrong, left.points)
        assert not wrong, left.moment
