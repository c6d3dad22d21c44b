"""The loop of a search: alone, resumed, with failures, and by several processes that are killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests import gathering
from tests.search.shared_search import worker
from tfopt.errors import InputError, TfoptError
from tfopt.search.trial_store import ATTEMPTS, Job, open_trial_store
from tfopt.search.worker import Rungs

SCRIPT = Path(__file__).with_name("shared_search.py")


def start(storage, folder, trials, seconds):
    return gathering.start(SCRIPT, storage, folder, trials, seconds, 2)


def states(trials):
    return sorted(trial.state for trial in trials)


def check_complete(folder, record, trials=12, longer=3):
    """Every candidate was finished once, the promising ones once more, and nothing that was finished was made again."""
    found = record.trials()
    done = [trial for trial in found if trial.state == "done"]
    assert sum(trial.job.rung == 0 for trial in done) == trials
    assert sum(trial.job.rung == 1 for trial in done) == longer
    assert len({trial.job.of for trial in done if trial.job.rung}) == longer
    assert not [trial for trial in found if trial.state in ("running", "waiting")]
    makings = [path.name.split("-")[0] for path in folder.glob("[0-9]*-*")]
    assert len(makings) == len(set(makings))
    assert {int(name) for name in makings} >= {trial.number for trial in done}
    assert len({repr(trial.job.parameters) for trial in done if trial.job.rung == 0}) == trials


def test_alone_it_makes_the_short_and_then_the_longer_ones(tmp_path):
    lines = []
    own, record = worker(None, tmp_path, 12, notify=lines.append)
    points = own.run()
    check_complete(tmp_path, record)
    assert sorted({p.epochs for p in points}) == [1, 4]
    best = sorted((p for p in points if p.epochs == 1), key=lambda p: p.drop)[0]
    assert best.number in {trial.job.of for trial in record.trials() if trial.job.rung}
    assert len(lines) == 15
    assert all(line.startswith("candidate ") for line in lines)


def test_it_goes_on_where_it_was_interrupted_and_comes_to_the_same(tmp_path):
    folders = [tmp_path / name for name in ("whole", "interrupted")]
    for folder in folders:
        folder.mkdir()
    expected = worker(None, folders[0], 8)[0].run()
    interrupted, _ = worker(None, folders[1], 8)
    make = interrupted._make

    def stopped(candidate, epochs, number):
        if number == 4:
            raise KeyboardInterrupt
        return make(candidate, epochs, number)

    interrupted._make = stopped
    with pytest.raises(KeyboardInterrupt):
        interrupted.run()
    again, record = worker(None, folders[1], 8)
    found = again.run()
    assert sorted((repr(p.candidate), p.epochs) for p in found) == sorted(
        (repr(p.candidate), p.epochs) for p in expected
    )
    assert states(record.trials()).count("lost") == 1
    assert len(list(folders[1].glob("[0-9]*-*"))) == len(found)  # none was made twice


def test_a_candidate_that_fails_is_written_down_and_left(tmp_path):
    own, record = worker(None, tmp_path, 6)
    make = own._make

    def failing(candidate, epochs, number):
        if number in (1, 3):
            raise TfoptError("the loss became nan")
        return make(candidate, epochs, number)

    own._make = failing
    own.run()
    failed = [trial for trial in record.trials() if trial.state == "failed"]
    assert [trial.number for trial in failed] == [1, 3]
    assert failed[0].error == "the loss became nan"
    assert sum(t.state == "done" and t.job.rung == 0 for t in record.trials()) == 4


def test_where_every_candidate_fails_the_reason_is_told(tmp_path):
    def failing(candidate, epochs, number):
        raise ValueError("no such layer")

    own, _ = worker(None, tmp_path, 3, make=failing)
    with pytest.raises(TfoptError, match="no candidate could be made: ValueError: no such layer"):
        own.run()


def test_failures_do_not_count_any_more_where_nothing_came_of_them(tmp_path):
    """A full disk fails every candidate; once it is not full any more, the same search begins anew."""

    def failing(candidate, epochs, number):
        raise TfoptError("no space left")

    with pytest.raises(TfoptError, match="no space left"):
        worker(None, tmp_path, 3, make=failing)[0].run()
    own, record = worker(None, tmp_path, 3)
    assert sum(p.epochs == 1 for p in own.run()) == 3
    assert states(record.trials()).count("failed") == 3


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), RuntimeError("OOM when allocating"), RuntimeError("std::bad_alloc")],
)
def test_what_the_machine_cannot_do_is_given_back(error, tmp_path):
    def full(candidate, epochs, number):
        raise error

    own, record = worker(None, tmp_path, 2, make=full)
    with pytest.raises(type(error)):
        own.run()
    assert states(record.trials()) == ["lost"]
    assert sum(p.epochs == 1 for p in worker(None, tmp_path, 2)[0].run()) == 2


def test_a_candidate_that_fills_the_memory_each_time_is_left(tmp_path):
    """Of a full disk no candidate is the reason, of a full memory it may be."""

    def full(candidate, epochs, number):
        raise MemoryError

    for _ in range(ATTEMPTS):
        own, record = worker(None, tmp_path, 1, make=full)
        with pytest.raises(MemoryError):
            own.run()
    assert states(record.trials()) == ["lost"] * ATTEMPTS
    with pytest.raises(TfoptError, match="no candidate could be made"):
        worker(None, tmp_path, 1)[0].run()


def test_a_figure_that_is_no_number_is_a_failure(tmp_path):
    own, record = worker(None, tmp_path, 2)
    make = own._make
    own._make = lambda c, e, n: make(c, e, n) if n else (float("nan"), float("nan"), make(c, e, n)[2])
    own.run()
    assert [t.error for t in record.trials() if t.state == "failed"] == ["its metric, size or time is not a number"]


def test_a_process_takes_back_what_it_left_running(tmp_path):
    own, record = worker(None, tmp_path, 2)
    record.add(own._jobs([])[0])
    record.take()
    assert len(worker(None, tmp_path, 2)[0].run()) == 3


def test_two_runs_alone_try_the_same(tmp_path):
    found = []
    for name in "ab":
        (tmp_path / name).mkdir()
        own, record = worker(None, tmp_path / name, 8)
        record.worker = f"machine {name} 1"
        found.append([(p.candidate, p.epochs) for p in own.run()])
    assert found[0] == found[1]


def test_a_candidate_that_takes_its_worker_along_is_tried_again_and_then_left(tmp_path):
    own, record = worker(None, tmp_path, 2)
    space = own._space
    parameters = space.tried(space.candidate({"density a": 0.5, "density b": 0.5, "bits a": 8}))
    record.add(Job(parameters))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = record.worker.split(" ")[0]
    for attempt in range(ATTEMPTS):
        record.worker = f"{here} {dead.pid} 1"
        taken = record.take()
        assert taken.job.attempt == attempt
        record.worker = "me 1 1"
        assert [trial.number for trial in record.sweep()] == [taken.number]
        assert record.sweep() == []  # each is found once
        if attempt + 1 < ATTEMPTS:
            [job] = own._jobs(record.trials())
            assert (job.parameters, job.attempt, job.again) == (parameters, attempt + 1, taken.number)
            record.add(job)
    points = own.run()
    assert sum(p.epochs == 1 for p in points) == 1  # the other of the two was given up
    assert states(record.trials()).count("lost") == ATTEMPTS


def test_what_a_worker_finishes_after_it_was_taken_for_lost_does_not_count(tmp_path):
    own, record = worker(None, tmp_path, 1)
    record.add(own._jobs([])[0])
    taken = record.take()
    _, other = worker(None, tmp_path, 1)
    other.worker, other._listener.lost_after = "another 1 1", 0.0
    other._study.set_user_attr("x", 1)
    record._set(taken.number, "worker", "far 1 1")
    assert other.sweep() == []  # seen for the first time
    time.sleep(0.05)
    assert [trial.number for trial in other.sweep()] == [taken.number]
    assert not record.done(taken.number, (0.0, 1.0, 1.0), {"score": 1.0})
    assert states(record.trials()) == ["lost"]


def test_a_trial_of_a_worker_that_ended_before_it_wrote_its_name_is_lost_in_seconds(tmp_path):
    own, record = worker(None, tmp_path, 1, lost_after=120.0)
    record.add(own._jobs([])[0])
    taken = record._study.ask(record._distributions)
    assert record._nameless.lost_after <= 10 < record._listener.lost_after
    record._nameless.lost_after = 0.0
    assert record.sweep() == []  # seen for the first time
    time.sleep(0.05)
    assert [trial.number for trial in record.sweep()] == [taken.number]
    with pytest.raises(RuntimeError):
        taken.set_user_attr("worker", "another 1 1")


def test_of_two_that_put_the_same_up_the_later_one_is_dropped(tmp_path):
    own, record = worker(None, tmp_path, 1)
    [job] = own._jobs([])
    record.add(job)
    record.add(job)
    points = own.run()
    assert sum(p.epochs == 1 for p in points) == 1
    assert states(record.trials()) == ["done", "done", "dropped"]


@pytest.mark.sample(1)
@pytest.mark.parametrize("killed", [0, 1])
def test_two_workers_share_a_search_and_either_may_be_killed(tmp_path, killed):
    processes = [start("-", tmp_path, 12, 0.3) for _ in range(2)]
    wait_for(lambda: len(list(tmp_path.glob(f"[0-9]*-{processes[killed].pid}"))) >= 2, processes)
    processes[killed].send_signal(signal.SIGKILL)
    processes[killed].communicate()
    processes[killed] = start("-", tmp_path, 12, 0.3)
    for process in processes:
        gathering.end(process)
    check_complete(tmp_path, worker(None, tmp_path, 12)[1])


@pytest.mark.slow
def test_the_one_that_is_left_ends_the_search(tmp_path):
    processes = [start("-", tmp_path, 8, 0.3) for _ in range(2)]
    wait_for(lambda: len(list(tmp_path.glob(f"[0-9]*-{processes[0].pid}"))) >= 1, processes)
    processes[0].send_signal(signal.SIGKILL)
    processes[0].communicate()
    gathering.end(processes[1])
    check_complete(tmp_path, worker(None, tmp_path, 8)[1], 8, 2)


def wait_for(moment, processes):
    limit = time.monotonic() + 90
    while not moment():
        assert time.monotonic() < limit
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)


def is_made_up_for(trials, pid):
    """Whether what a killed process had begun was made again by another."""
    if any(trial.state == "running" and f" {pid} " in (trial.worker or "") for trial in trials):
        return False
    lost = sum(trial.state == "lost" for trial in trials)
    return sum(trial.job.attempt > 0 and trial.state == "done" for trial in trials) >= lost


@pytest.fixture
def postgresql(tmp_path):
    """The URL of a PostgreSQL server on loopback that this test has started."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(installed[-1]) if installed else None)
    if found is None:
        pytest.skip("PostgreSQL is not installed: no initdb")
    as_user = []
    if os.getuid() == 0:  # the server does not run as root
        if subprocess.run(["id", "postgres"], capture_output=True).returncode or not shutil.which("runuser"):
            pytest.skip("there is no user postgres to run the server as")
        as_user = ["runuser", "-u", "postgres", "--"]
    folder = Path(f"/tmp/tfopt-postgresql-{os.getpid()}")
    folder.mkdir()
    try:
        if as_user:
            shutil.chown(folder, "postgres")
        where = Path(found).resolve().parent
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data = folder / "data"

        def run(program, *arguments):
            command = [*as_user, str(where / program), *map(str, arguments)]
            finished = subprocess.run(command, capture_output=True, text=True, cwd="/tmp", timeout=60)
            assert finished.returncode == 0, finished.stderr

        run("initdb", "-D", data, "-A", "trust", "-U", "tfopt")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
        run("pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start")
        try:
            run("createdb", "-h", "127.0.0.1", "-p", port, "-U", "tfopt", "search")
            yield f"postgresql://tfopt:secret@127.0.0.1:{port}/search"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_two_workers_meet_in_postgresql_and_each_is_killed_once(tmp_path, postgresql):
    processes = [start(postgresql, tmp_path, 8, 0.3) for _ in range(2)]
    store = worker(postgresql, tmp_path, 8)[1]
    for killed in range(2):
        pid = processes[killed].pid
        wait_for(lambda own=pid: len(list(tmp_path.glob(f"[0-9]*-{own}"))) >= 1, processes)
        processes[killed].send_signal(signal.SIGKILL)
        processes[killed].communicate()
        processes[killed] = start(postgresql, tmp_path, 8, 0.3)
        # A candidate that is lost twice is given up.
        wait_for(lambda own=pid: is_made_up_for(store.trials(), own), [])  # the others may end with that
    for process in processes:
        gathering.end(process)
    check_complete(tmp_path, worker(postgresql, tmp_path, 8)[1], 8, 2)
    assert not (tmp_path / "search.journal").exists()


def test_a_storage_that_cannot_be_reached_is_one_line_without_the_password(tmp_path, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setattr("tfopt.search.trial_store._TRIES", 1)
    with pytest.raises(InputError, match=r"the storage postgresql://ann@127\.0\.0\.1:1/x cannot be opened") as caught:
        open_trial_store("postgresql://ann:secret@127.0.0.1:1/x", tmp_path / "j", "n", ["minimize"], {}, 1.0)
    assert "secret" not in str(caught.value)


def test_a_storage_of_an_unknown_kind_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("tfopt.search.trial_store._TRIES", 1)
    with pytest.raises(InputError, match=r"the storage nosuch://x cannot be opened|the storage nosuch://x needs"):
        open_trial_store("nosuch://x", tmp_path / "j", "n", ["minimize"], {}, 1.0)


def test_sqlite_holds_a_search_too(tmp_path):
    own, record = worker(f"sqlite:///{tmp_path}/search.db", tmp_path, 3)
    own.run()
    assert sum(t.state == "done" and t.job.rung == 0 for t in record.trials()) == 3


def test_the_trainings_of_all_rungs_are_counted():
    assert Rungs(10, (1, 2, 4), 0.3).trainings == 10 + 3 + 1
    assert Rungs(1, (1, 2), 0.1).trainings == 2


def test_a_near_miss_is_trained_longer_in_a_form_that_fits(tmp_path):
    """Files are 5% larger than estimated: the first, which fills the budget, is over it."""
    estimate, made = [], []

    def make(candidate, epochs, number):
        cost = replace(estimate[0](candidate), gzip_bytes=1.05 * plain(candidate))
        made.append(cost.gzip_bytes)
        drop = (1 - candidate.density["a"]) / epochs
        return 1 - drop, drop, cost

    own, record = worker(None, tmp_path, 1, make=make)
    forecast = own._sampler._forecast
    estimate.append(forecast)

    def plain(candidate):
        forecast.learn([])
        return forecast(candidate).gzip_bytes

    own.run()
    first, longer = record.trials()
    assert made[0] > 2500 >= made[1]
    assert longer.job.of == first.number
    assert longer.job.parameters["density a"] < first.job.parameters["density a"]
