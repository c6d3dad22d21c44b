"""A small part of the faults, in this process: a run of stages that only write, ended at points spread over it."""

import signal

import pytest

import tfopt
from tests.faults import images, survival
from tests.faults.points import Points, Recording
from tests.faults.project import recipe_of, write_project
from tfopt.recipe.progress import Progress

COUNT = 8


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


class Terminated(Progress):
    """SIGTERM comes when the second stage begins."""

    def stage(self, name, kind, index, count):
        if index == 2:
            signal.raise_signal(signal.SIGTERM)


def test_sigterm_that_is_made_an_interrupt_ends_a_run_that_goes_on(recorded, tmp_path, evidence):
    recipe, folder, _ = recorded
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            tfopt.run(recipe, tmp_path, Terminated())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "copy" / "a" / "artifact.json").exists()
    assert not (tmp_path / "copy" / "b").exists()
    tfopt.run(recipe, tmp_path)
    wrong = survival.differences(tmp_path / "copy", survival.results(folder))
    evidence.add("SIGTERM", "copy: when stage 2 begins, by tfopt.run", wrong)
    assert not wrong
