"""The journal of a search: whole after a kill, after a full disk, and known where it was damaged."""

import errno
import os
import threading
from pathlib import Path

import optuna
import pytest

from tfopt.errors import StorageError
from tfopt.search.journal import DamagedJournalError, Journal
from tfopt.search.trial_store import Job, open_trial_store

SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "search.journal"


def entries(count, start=0):
    return [{"number": number, "text": "größe"} for number in range(start, start + count)]


def store(file, notify=lambda line: None, storage=None):
    return open_trial_store(storage, file, "search", ["minimize"], SPACE, 120.0, notify)


def test_entries_come_back_from_any_number_on_in_every_process(file):
    journal, other = Journal(file, 10), Journal(file, 10)
    journal.append_logs(entries(2))
    assert list(other.read_logs(0)) == entries(2)
    journal.append_logs(entries(3, 2))
    assert list(other.read_logs(2)) == entries(3, 2)
    assert list(Journal(file, 10).read_logs(4)) == entries(1, 4)
    assert list(journal.read_logs(5)) == []


@pytest.mark.parametrize("part", [b"\n", b"{", b'{"number": 2, "te'])
def test_what_a_killed_process_left_of_a_line_is_taken_away(file, part):
    journal = Journal(file, 10)
    journal.append_logs(entries(2))
    if part != b"\n":
        with file.open("ab") as appended:
            appended.write(part)
    assert list(Journal(file, 10).read_logs(0)) == entries(2)
    Journal(file, 10).append_logs(entries(1, 2))
    assert list(journal.read_logs(0)) == entries(3)


def test_half_a_first_line_is_taken_away(file):
    file.write_bytes(b"x" * 200_000)
    Journal(file, 10).append_logs(entries(1))
    assert list(Journal(file, 10).read_logs(0)) == entries(1)


def test_a_full_disk_leaves_the_lines_before_and_the_lock_to_others(file, monkeypatch):
    journal = Journal(file, 10)
    journal.append_logs(entries(2))

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        journal.append_logs(entries(1, 2))
    monkeypatch.undo()
    assert list(Journal(file, 10).read_logs(0)) == entries(2)
    Journal(file, 10).append_logs(entries(1, 2))
    assert list(journal.read_logs(0)) == entries(3)


def test_many_threads_append_whole_lines(file):
    def append(number):
        Journal(file, 10).append_logs(entries(5, number))

    threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(Journal(file, 10).read_logs(0))) == 40


def test_a_lock_that_a_killed_process_was_letting_go_is_removed(file):
    journal = Journal(file, 10)
    journal.append_logs(entries(1))
    file.with_name(f"{file.name}.lock8c79b6df.rename").symlink_to(file)
    Journal(file, 10)
    assert [one.name for one in file.parent.iterdir()] == [file.name]


@pytest.fixture
def removed_by_another(file, monkeypatch):
    """Lets another process open the journal, and remove the lock, between the two steps of every release."""
    own = os.rename

    def renamed(old, new):
        own(old, new)
        Journal(file, 10)

    monkeypatch.setattr(os, "rename", renamed)


def test_a_lock_that_another_process_removes_while_it_is_let_go_is_let_go(file, removed_by_another):
    journal = Journal(file, 10)
    journal.append_logs(entries(2))
    assert list(journal.read_logs(0)) == entries(2)
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_the_error_of_an_entry_is_not_lost_where_another_process_removes_the_lock(
    file, removed_by_another, monkeypatch
):
    journal = Journal(file, 10)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        journal.append_logs(entries(1))


def test_a_lock_that_cannot_be_removed_is_free_and_that_of_the_next_stays(file, monkeypatch):
    journal, lock, own = Journal(file, 10), Path(f"{file}.lock"), os.unlink

    def unlinked(path, **options):
        if str(path).endswith(".rename"):
            lock.symlink_to(file)  # another process is faster
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        own(path, **options)

    monkeypatch.setattr(os, "unlink", unlinked)
    journal.append_logs(entries(1))
    assert lock.is_symlink()


def damaged(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_line_that_was_changed_is_named(file):
    Journal(file, 10).append_logs(entries(3))
    damaged(file)
    with pytest.raises(DamagedJournalError, match=r"line 2 of the journal .*search\.journal is damaged"):
        list(Journal(file, 10).read_logs(0))


def last_line_damaged(file):
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content + b'{"half')


def replaced(file):
    file.write_text("what is this\n")


@pytest.mark.parametrize(("damage", "kept"), [(last_line_damaged, 3), (replaced, 0)])
def test_a_search_whose_own_journal_is_damaged_says_so_and_goes_on_with_the_lines_before(file, damage, kept):
    for x in (0.25, 0.5):
        store(file).add(Job({"x": x}))
    damage(file)
    before, said = file.read_bytes(), []
    assert [trial.job.parameters for trial in store(file, said.append).trials()] == [{"x": 0.25}] * (kept > 0)
    assert said == [
        f"the journal search.journal is damaged: the search goes on from its first {kept} lines. The damaged one is "
        "search.journal.damaged."
    ]
    assert (file.parent / "search.journal.damaged").read_bytes() == before
    store(file, said.append).add(Job({"x": 0.75}))
    assert len(store(file, said.append).trials()) == 1 + (kept > 0)
    assert len(said) == 1


def test_a_journal_that_another_has_mended_is_left(file):
    Journal(file, 10).append_logs(entries(2))
    before = file.read_bytes()
    assert Journal(file, 10).mend() is None
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == before


def fails_once(error):
    """A `tell` that fails so at first; what waits for another try takes no time."""
    left, real = [error], optuna.Study.tell

    def tell(*arguments, **more):
        if left:
            raise left.pop()
        return real(*arguments, **more)

    return tell


def told(file, monkeypatch, error):
    trials = store(file)
    trials.add(Job({"x": 0.5}))
    taken = trials.take()
    monkeypatch.setattr(optuna.Study, "tell", fails_once(error))
    return trials.done(taken.number, [1.0], {})


def test_a_storage_that_is_away_for_a_moment_costs_no_result(file, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert told(file, monkeypatch, OSError(errno.EIO, "Input/output error"))


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), DamagedJournalError("line 3"), FileNotFoundError(errno.ENOENT, "gone")]
)
def test_what_no_waiting_mends_is_said_at_once(file, monkeypatch, error):
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits"))
    with pytest.raises(type(error)):
        told(file, monkeypatch, error)


def test_a_storage_that_stays_away_is_waited_for_so_long_and_no_longer(file, monkeypatch):
    clock = iter(range(0, 10**6, 50))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))

    def away(*arguments, **more):
        raise OSError(errno.EIO, "Input/output error")

    trials = store(file)
    trials.add(Job({"x": 0.5}))
    taken = trials.take()
    monkeypatch.setattr(optuna.Study, "tell", away)
    with pytest.raises(OSError, match="Input/output error"):
        trials.done(taken.number, [1.0], {})


def test_a_damaged_journal_that_was_named_is_not_touched(file):
    store(file, storage=str(file)).add(Job({"x": 0.5}))
    damaged(file)
    before = file.read_bytes()
    with pytest.raises(StorageError, match=r"is damaged\. Remove the file to search anew"):
        store(file, storage=str(file))
    assert Path(file).read_bytes() == before
