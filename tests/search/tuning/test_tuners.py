"""keras-tuner's tuners under our own trial: what they propose, how failures and deaths are taken, chief and workers."""

import json
import multiprocessing
import os
import time
from pathlib import Path

import keras_tuner
import pytest
from threadpoolctl import threadpool_limits

from tests.search.tuning import shared_tuning
from tfopt.errors import InputError, StorageError, TfoptError
from tfopt.search.tuning.chief import Rendezvous
from tfopt.search.tuning.roles import role_here
from tfopt.search.tuning.tuners import ATTEMPTS, NAMES, PROJECT, Tuning
from tfopt.subprocesses import free_ports

# One process imports keras-tuner, and with it TensorFlow; those of a search are its forks.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([shared_tuning.__name__])


def declare(hyperparameters):
    hyperparameters.Float("x", 0.0, 1.0)
    hyperparameters.Choice("y", [1, 2, 3])


def score(trial):
    return (trial.values["x"] - 0.3) ** 2 + trial.values["y"]


def tuning(folder, run=score, tuner="random", trials=6, **more):
    return Tuning(tuner, declare, run, False, folder, trials, 9, 0, **more)


@pytest.mark.parametrize("tuner", NAMES)
def test_every_tuner_of_keras_tuner_searches(tuner, tmp_path):
    outcomes = tuning(tmp_path, tuner=tuner).search()
    assert len(outcomes) == 6 or tuner == "hyperband"
    assert all(one.status == "COMPLETED" for one in outcomes)
    assert all(one.score == pytest.approx((one.values["x"] - 0.3) ** 2 + one.values["y"]) for one in outcomes)
    assert [one.number for one in outcomes] == sorted(one.number for one in outcomes)


def test_hyperband_says_how_long_and_trains_the_best_longest(tmp_path):
    asked = []

    def run(trial):
        asked.append((trial.epochs, score(trial)))
        return score(trial)

    tuning(tmp_path, run, "hyperband").search()
    epochs = sorted({epochs for epochs, _ in asked})
    assert epochs == [1, 3, 9]
    first = [value for each, value in asked if each == 1]
    assert min(first) in [value for each, value in asked if each == 9]


def test_a_bayesian_search_finds_the_bottom_nearer_than_its_first_guesses(tmp_path):
    with threadpool_limits(1):  # the matrices of ten trials are too small for several
        outcomes = tuning(tmp_path, tuner="bayesian", trials=10).search()
    assert min(one.score for one in outcomes) < 1.02


def test_the_same_seed_proposes_the_same(tmp_path):
    found = [tuning(tmp_path / name).search() for name in ("a", "b")]
    assert [one.values for one in found[0]] == [one.values for one in found[1]]


def test_a_tuner_of_ones_own_gets_what_its_constructor_takes(tmp_path):
    class Mine(keras_tuner.RandomSearch):
        def __init__(self, fancy=0, **more):
            super().__init__(**more)
            self.fancy = fancy

    own = tuning(tmp_path, tuner=Mine, arguments={"fancy": 3}, trials=2)
    assert own._tuner.fancy == 3
    assert len(own.search()) == 2


def test_a_function_may_make_the_tuner(tmp_path):
    def make(hypermodel, objective, directory, project_name):
        return keras_tuner.GridSearch(hypermodel, objective, 3, directory=directory, project_name=project_name)

    assert len(tuning(tmp_path, tuner=make).search()) == 3


@pytest.mark.parametrize("made", [lambda **more: 3, lambda nonsense: 3])
def test_what_makes_no_tuner_is_one_line(made, tmp_path):
    with pytest.raises(InputError, match="the tuner "):
        tuning(tmp_path, tuner=made)


def test_a_trial_that_fails_is_written_down_and_the_search_goes_on(tmp_path):
    lines = []

    def run(trial):
        if trial.number in ("1", "2", "3", "4"):
            raise TfoptError("the loss became nan")
        return score(trial)

    outcomes = tuning(tmp_path, run, notify=lines.append).search()
    assert [one.status for one in outcomes] == ["COMPLETED", *["FAILED"] * 4, "COMPLETED"]
    assert outcomes[1].message == "the loss became nan"
    assert outcomes[1].score is None
    assert lines[1] == "trial 1: the loss became nan"


def test_an_interrupted_search_goes_on_with_what_it_has(tmp_path):
    expected = tuning(tmp_path / "whole").search()
    made = []

    def run(trial):
        if trial.number == "3" and "3" not in made:
            made.append("3")
            raise KeyboardInterrupt
        made.append(trial.number)
        return score(trial)

    with pytest.raises(KeyboardInterrupt):
        tuning(tmp_path / "cut", run).search()
    outcomes = tuning(tmp_path / "cut", run).search()
    assert made == ["0", "1", "2", "3", "3", "4", "5"]
    assert [(one.values, one.score) for one in outcomes] == [(one.values, one.score) for one in expected]


def test_a_trial_that_ends_its_process_each_time_is_left(tmp_path):
    first = tuning(tmp_path)
    folder = Path(first._tuner.get_trial_dir("0"))
    (folder / "begun").write_text(str(ATTEMPTS))
    outcomes = first.search()
    assert outcomes[0].status == "FAILED"
    assert outcomes[0].message == f"its process ended in it {ATTEMPTS} times"
    assert all(one.status == "COMPLETED" for one in outcomes[1:])


def test_a_search_that_is_killed_while_it_writes_goes_on(tmp_path, monkeypatch):
    place, calls = os.replace, []

    def killed(source, target):
        calls.append(target)
        if len(calls) == 12:
            raise KeyboardInterrupt
        place(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        tuning(tmp_path).search()
    assert all(json.loads(path.read_text()) is not None for path in (tmp_path / PROJECT).rglob("*.json"))
    assert [one.status for one in tuning(tmp_path).search()] == ["COMPLETED"] * 6


def test_what_the_machine_cannot_do_ends_the_search_and_another_goes_on(tmp_path):
    full = []

    def run(trial):
        if trial.number == "2" and not full:
            full.append(trial.number)
            raise OSError(28, "No space left on device")
        return score(trial)

    with pytest.raises(OSError, match="No space left"):
        tuning(tmp_path, run).search()
    assert [one.status for one in tuning(tmp_path, run).search()] == ["COMPLETED"] * 6


def searched(folder):
    """A search of which three trials are done."""

    def run(trial):
        if trial.number == "3":
            raise KeyboardInterrupt
        return score(trial)

    with pytest.raises(KeyboardInterrupt):
        tuning(folder, run).search()
    return folder / PROJECT


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_state_that_is_damaged_is_moved_aside(tmp_path):
    state = searched(tmp_path)
    oracle = state / "oracle.json"
    oracle.write_bytes(oracle.read_bytes()[:-9])
    before, said = files(state), []
    assert len(tuning(tmp_path, note=said.append).search()) == 6
    assert said == [
        "the state of the interrupted search is damaged: the search starts anew. It is kept in tuner.damaged."
    ]
    assert files(tmp_path / "tuner.damaged") == before


@pytest.mark.parametrize(
    ("failure", "raised"), [(OSError(5, "Input/output error"), OSError), (MemoryError(), MemoryError)]
)
def test_a_fault_of_the_machine_leaves_the_state(failure, raised, tmp_path, monkeypatch):
    state = searched(tmp_path)
    before = files(state)

    def fail(*_):
        raise failure

    with monkeypatch.context() as patched:
        patched.setattr(keras_tuner.Oracle, "reload", fail)
        with pytest.raises(raised):
            tuning(tmp_path)
    if raised is OSError:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_bytes", fail)
            with pytest.raises(OSError, match="Input/output"):
                tuning(tmp_path)
    assert files(state) == before
    assert [path.name for path in tmp_path.iterdir()] == [PROJECT]


def test_a_full_disk_in_the_words_of_tensorflow_is_no_fault_of_the_tuner(tmp_path):
    def full(**arguments):
        raise RuntimeError(f"{tmp_path}/tuner; No space left on device")

    with pytest.raises(StorageError, match="the state of the tuner cannot be written: No space left on device"):
        tuning(tmp_path, tuner=full)


def test_a_tuner_that_cannot_be_made_leaves_the_state(tmp_path):
    state = searched(tmp_path)
    before = files(state)
    with pytest.raises(InputError, match="the tuner cannot be made"):
        tuning(tmp_path, tuner=lambda nonsense: 3)
    assert files(state) == before
    assert [path.name for path in tmp_path.iterdir()] == [PROJECT]


@pytest.mark.parametrize("given", [{"KERASTUNER_TUNER_ID": "chief"}, {"KERASTUNER_ORACLE_IP": "127.0.0.1"}])
def test_half_of_keras_tuners_environment_is_one_line(given, monkeypatch):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="is set and KERASTUNER_"):
        role_here()


def test_an_address_that_is_taken_is_one_line(tmp_path, monkeypatch):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment(monkeypatch.setenv, "chief", taken.getsockname()[1])
        with pytest.raises(InputError, match="the chief cannot listen on"):
            tuning(tmp_path).search()


def environment(put, name, port):
    put("KERASTUNER_TUNER_ID", name)
    put("KERASTUNER_ORACLE_IP", "127.0.0.1")
    put("KERASTUNER_ORACLE_PORT", str(port))


def start(name, port, folder, seconds):
    own = {}
    environment(own.__setitem__, name, port)
    process = FORKS.Process(target=shared_tuning.search, args=(own, folder, 8, seconds, 3), daemon=True)
    process.start()
    return process


def kill(process):
    process.kill()
    process.join()


def end(process, folder):
    """The numbers of the trials and what became of each, as the process that has ended tells."""
    process.join(120)
    assert process.exitcode == 0
    return json.loads((folder / f"outcomes-{process.pid}.json").read_text())


@pytest.mark.slow
def test_a_chief_ends_though_a_worker_was_killed(tmp_path):
    """keras-tuner's own chief waits for ever for it."""
    [port] = free_ports(1)
    chief, *workers = [start(name, port, tmp_path, 0.5) for name in ("chief", "tuner0", "tuner1")]
    limit = time.monotonic() + 90
    while not list((tmp_path / "made").glob(f"*-{workers[0].pid}")):
        assert time.monotonic() < limit
        assert chief.is_alive()
        time.sleep(0.05)
    kill(workers[0])
    end(workers[1], tmp_path)
    outcomes = end(chief, tmp_path)
    assert [status for _, status in outcomes] == ["COMPLETED"] * 8
    makings = [path.name.split("-")[0] for path in (tmp_path / "made").iterdir() if path.read_text() == "done"]
    assert sorted(makings) == [str(number) for number in range(8)]
    assert {path.name.split("-")[1] for path in (tmp_path / "made").iterdir()} == {str(w.pid) for w in workers}


@pytest.mark.slow
def test_what_the_last_worker_leaves_behind_the_chief_does_itself(tmp_path):
    [port] = free_ports(1)
    chief, *workers = [start(name, port, tmp_path, 0.4) for name in ("chief", "tuner0", "tuner1")]
    limit = time.monotonic() + 90
    while len(list((tmp_path / "made").glob("*"))) < 8:  # the last trials have begun
        assert time.monotonic() < limit
        time.sleep(0.01)
    last = max((tmp_path / "made").glob("*"), key=lambda path: path.stat().st_mtime).name.split("-")[1]
    doomed = next(worker for worker in workers if str(worker.pid) == last)
    kill(doomed)
    outcomes = end(chief, tmp_path)
    assert [status for _, status in outcomes] == ["COMPLETED"] * 8
    for worker in workers:
        kill(worker)


def test_a_worker_that_comes_when_the_chief_has_taken_its_result_away_is_done(tmp_path, monkeypatch):
    for name, value in (("TUNER_ID", "tuner0"), ("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", "1")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    folder = tmp_path / "tune.partial"
    Rendezvous(folder / "tuner", 60.0, print).work(None)
    assert not folder.exists()
