"""Several processes in one folder, folders that are moved, and children that are killed."""

import random
import shutil
import signal

import numpy as np
import pytest

from tests.faults import survival
from tests.faults.faults import KILL, ChildFails, FailingCalls
from tests.faults.trial import AUTOGRAPH
from tfopt.errors import ConversionError

pytestmark = pytest.mark.long
MIB = 2**20
NAMES = ["whole", "search", "tune"]
# Of faults that take three runs and more, in each test.
FEW = 2


def ended(started):
    """What is wrong with how runs have ended that were started at once: each came to its end, or was refused."""
    wrong = []
    for finished in [one.finish() for one in started]:
        refused = finished.code == 1 and "in use by process" in finished.errors
        wrong += [] if finished.code == 0 or refused else [f"{finished.code}: {survival.last_lines(finished)}"]
    return wrong


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_runs_that_are_started_at_once_leave_one_result(name, count, bench, all_hold, some):
    generator = random.Random(f"{name}{count}")
    length = bench.seconds(name)

    def tried(delays):
        out = bench.new_folder()
        started = []
        for delay in delays:
            if started:
                started[-1].wait(delay)
            started.append(bench.server.start(bench.arguments(name, out), bench.project))
        wrong = ended(started)
        where = f"{count}, {', '.join(f'{delay:.2f}' for delay in delays[1:])} s apart"
        return bench.noted("runs at once", name, where, wrong + bench.rerun(name, out), out)

    spans = [0.0, 0.0, 0.01, 0.1, *(generator.uniform(0, length) for _ in range(4))]
    all_hold(tried, some([(0.0, *[span] * (count - 1)) for span in spans], FEW))


@pytest.mark.parametrize("words", [["--yes"], ["--partial"]], ids=lambda words: words[0])
@pytest.mark.parametrize("name", NAMES)
def test_clean_during_a_run_takes_nothing_from_it(name, words, bench, all_hold, some):
    generator = random.Random(f"{name}{words}")
    length = bench.seconds(name)

    def tried(seconds):
        out = bench.new_folder()
        run = bench.server.start(bench.arguments(name, out), bench.project)
        run.wait(seconds)
        recipe = bench.arguments(name, out)[1:]
        clean = bench.server.run(["clean", *recipe, *words], bench.project)
        wrong = [] if clean.code == 0 or "in use by process" in clean.errors else survival.answer(clean)
        wrong += ended([run])
        return bench.noted("clean during a run", name, f"after {seconds:.2f} s", wrong + bench.rerun(name, out), out)

    all_hold(tried, some(sorted(generator.uniform(0, length) for _ in range(20)), FEW))


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_that_is_moved_goes_on_where_it_is(name, bench, all_hold, some):
    def tried(left):
        def prepare(folder):
            elsewhere = folder.with_name("before")
            left.put(elsewhere)
            if elsewhere.exists():
                shutil.move(elsewhere, folder)

        return bench.put("moved", name, left.moment, prepare)

    all_hold(tried, some([left for left in bench.images(name) if left.kind == "kill"]))


@pytest.mark.parametrize("name", ["train", "qat", "whole"])
def test_a_run_that_is_killed_again_and_again_comes_to_its_end(name, bench, library):
    """Each rerun begins with what several kills have left; one that comes to its end before the call is no fault."""
    count, out, generator = bench.calls(name, library), bench.new_folder(), random.Random(name)
    killed = 0
    for _ in range(10):
        call = generator.randrange(2, count // 4)
        finished = bench.run(name, out, FailingCalls(library, out / name, call, KILL))
        wrong, points = survival.taken_for_whole(out / name, bench.whole(name)[1]), int(finished.code < 0)
        wrong += survival.answer(finished) if finished.code > 0 else []
        assert not bench.noted("SIGKILL after SIGKILL", name, f"call {call}", wrong, out / "none", points)
        killed += points
    assert killed > 2
    assert not bench.rerun(name, out)


@pytest.mark.parametrize("victim", ["first", "second"])
def test_a_search_worker_that_is_killed_leaves_its_work_to_the_other(victim, bench, all_hold, some):
    generator = random.Random(victim)
    length = bench.seconds("search")

    def tried(seconds):
        out = bench.new_folder()
        command = ["search", *bench.arguments("search", out)[1:]]
        workers = [bench.server.start(command, bench.project) for _ in range(2)]
        lost, other = workers if victim == "first" else reversed(workers)
        killed = lost.kill(after=seconds)
        finished = other.finish()
        if not killed:
            return tried(seconds / 2)  # the search was faster than the one that was timed
        wrong = [] if finished.code == 0 else [f"{finished.code}: {survival.last_lines(finished)}"]
        again = bench.run("search", out)
        wrong += [] if "search: reused" in again.out else [f"the search is not reused: {survival.last_lines(again)}"]
        wrong += [f"{path.name} is left over" for path in (out / "search").glob("*.partial")]
        where = f"the {victim}, after {seconds:.2f} s"
        return bench.noted("search worker killed", "search", where, wrong, out)

    all_hold(tried, some(sorted(generator.uniform(0, length) for _ in range(20))))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_is_told_to_stop_says_so_and_goes_on_when_it_is_run_again(name, number, code, bench, all_hold, some):
    generator = random.Random(f"{name}{code}")
    length = bench.seconds(name)

    def tried(seconds):
        out = bench.new_folder()
        run = bench.server.start(bench.arguments(name, out), bench.project)
        run.wait(seconds)
        run.signal(number)
        finished = run.finish()
        if not finished.code:
            return tried(seconds / 2)  # the run was faster than the one that was timed
        wrong = survival.answer(finished, code)
        where = f"after {seconds:.2f} s"
        wrong += bench.rerun(name, out)
        return bench.noted(signal.Signals(number).name, name, where, wrong, out)

    all_hold(tried, some(sorted(generator.uniform(0.05, length) for _ in range(20))))


@pytest.mark.parametrize("fault", ["killed", "without memory"])
def test_the_process_that_times_files_fails_in_a_line(fault, bench, all_hold, some):
    module = "tfopt.tflite.benchmark"
    if fault == "killed":
        faults = [ChildFails(module, seconds) for seconds in (0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)]
    else:
        faults = [ChildFails(module, memory=size * MIB) for size in (16, 64, 128, 256, 512, 1024, 2048, 4096)]

    def tried(one):
        where = f"{one.memory / MIB:g} MiB" if one.memory else f"after {one.seconds} s"
        return bench.befall(f"child {fault}", "benchmark", where, lambda out: [one])

    all_hold(tried, some(faults))


@pytest.mark.parametrize("fault", [{"seconds": 0.0}, {"seconds": 1.0}, {"memory": 256 * MIB}, {"memory": 1024 * MIB}])
def test_the_converters_process_fails_in_a_line(fault, evidence, tmp_path, monkeypatch):
    import keras

    from tfopt.quantization import converter_fallback
    from tfopt.quantization.float_conversion import trace

    model = keras.Sequential([keras.layers.Input((4,), name="x"), keras.layers.Dense(2)])
    samples = {"x": np.zeros((2, 4), np.float32)}
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with ChildFails("tfopt.quantization.converter_fallback", **fault).armed():
        traced = trace(model, samples, 1)
        with pytest.raises(ConversionError) as caught:
            converter_fallback.post_training(traced, samples)
    wrong = [] if len(str(caught.value).splitlines()) == 1 else ["more than a line"]
    left = [path.name for path in tmp_path.iterdir() if not path.name.startswith(AUTOGRAPH)]
    wrong += [f"{name} is left over" for name in left]
    evidence.add("converter's child", str(fault), wrong, said=str(caught.value))
    assert not wrong
