"""A small part of the faults, in this process: a run of stages that only write, ended at points spread over it."""

import pytest

import tfopt
from tests.faults import images, survival
from tests.faults.points import Points, Recording
from tests.faults.project import recipe_of, write_project

COUNT = 12


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The recipe of a run, its folder, and the recording of it."""
    project, out = write_project(tmp_path_factory.mktemp("project")), tmp_path_factory.mktemp("out")
    recipe = recipe_of(project, "copy")
    with Points([out / "copy"], Recording(out / "copy", out / "images")).watched():
        tfopt.run(recipe, out)
    return recipe, out / "copy", out / "images"


def test_every_point_of_a_run_is_seen_and_what_is_left_at_it(recorded):
    _, _, recording = recorded
    points, remains = images.points(recording), images.read(recording)
    renamed = [point["path"] for point in points if point["what"] == "rename"]
    assert [path for path in renamed if path.endswith(".partial")] == [
        f"{name}.partial" for name in ("source", "a", "b", "baseline")
    ]
    assert {"mkdir", "open", "fsync", "rename", "remove"} <= {point["what"] for point in points}
    assert {"kill", "torn write"} <= {left.kind for left in remains}
    assert not list(remains[0].image.glob("*/artifact.json"))
    assert sum(left.points for left in remains if left.kind == "kill") == len(points)


def test_what_ended_runs_leave_is_gone_on_from_to_the_same_bytes(recorded, tmp_path, evidence):
    recipe, folder, recording = recorded
    remains = images.read(recording)
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
