"""Processes that end at any point of a run: by a kill, in the midst of a write, by a power cut."""

import itertools
import random

import pytest

from tests.faults import survival
from tests.faults.faults import KILL, FailingCalls, KilledAtPoint
from tests.faults.project import KINDS
from tfopt.recipe.artifact import JOURNAL

# Of the 70 to 200 that a recipe leaves, many of which stand for several points.
IMAGES = 8
pytestmark = [pytest.mark.long, pytest.mark.parametrize("kind", KINDS)]


def test_what_an_ended_process_leaves_at_any_point_is_gone_on_from_to_the_same_bytes(kind, bench, all_hold, some):
    def tried(left):
        return bench.put(left.kind, kind, left.moment, left.put, left.points)

    all_hold(tried, some(bench.images(kind), IMAGES))


def test_what_a_killed_process_leaves_is_what_the_image_of_its_point_shows(kind, bench):
    kills = [left for left in bench.images(kind) if left.kind == "kill"]
    # A search's heartbeats are written at times of their own, so that points have other numbers from there on.
    left = random.Random(kind).choice(list(itertools.takewhile(lambda one: JOURNAL not in one.moment, kills)))
    out, shown = bench.new_folder() / kind, bench.new_folder() / kind
    assert bench.run(kind, out.parent, KilledAtPoint((out,), left.first)).code == -9
    left.put(shown)
    names = [survival.names(folder) for folder in (out, shown)]
    assert names[0] == names[1]
    for name in names[0]:
        if (out / name).is_file() and (out / name).name not in survival.OF_EACH_RUN:
            assert survival.content_of(out / name) == survival.content_of(shown / name), name


def test_a_run_that_is_killed_at_calls_of_the_c_library_goes_on(kind, bench, all_hold, library, some):
    count = bench.calls(kind, library)

    def tried(call):
        def faults(out):
            return [FailingCalls(library, out, call, KILL)]

        return bench.befall("SIGKILL at a call", kind, f"call {call} of {count}", faults, may_die=True)

    all_hold(tried, some(range(1, count + 1)))


def test_a_run_that_is_killed_at_any_instant_goes_on(kind, bench, all_hold, some):
    generator = random.Random(kind)
    instants = sorted(generator.uniform(0.02, 0.98) * bench.seconds(kind) for _ in range(40))

    def tried(seconds):
        out = bench.new_folder()
        if not bench.server.start(bench.arguments(kind, out), bench.project).kill(after=seconds):
            return tried(seconds / 2)  # the run was faster than the one that was timed
        return bench.noted("SIGKILL at an instant", kind, f"after {seconds:.3f} s", bench.rerun(kind, out), out)

    all_hold(tried, some(instants))
