"""Files that are there whole or not at all."""

import errno
import os
import re
import subprocess
import sys

import pytest

from tfopt import durable_files
from tfopt.errors import StorageError, storage_fault


@pytest.fixture
def calls(monkeypatch):
    """What the module asks of the operating system, in order: syncs and renames, by the names of files."""
    made, sync, replace, rename = [], os.fsync, os.replace, os.rename

    def synced(descriptor):
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        made.append(("sync", re.sub(r"-[0-9a-f]{8}\.new$", "-*.new", name)))
        sync(descriptor)

    def renamed(real):
        def call(path, to):
            made.append(("rename", os.path.basename(to)))
            real(path, to)

        return call

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed(replace))
    monkeypatch.setattr(os, "rename", renamed(rename))
    return made


def test_bytes_are_on_the_disk_before_they_take_the_name_and_the_name_is_thereafter(tmp_path, calls):
    durable_files.write(tmp_path / "a", b"new")
    own = f".a.{os.getpid()}-*.new"
    assert calls == [("sync", own), ("rename", "a"), ("sync", tmp_path.name)]
    assert (tmp_path / "a").read_bytes() == b"new"


def test_text_is_written_in_utf8_with_what_it_lacks_replaced(tmp_path):
    durable_files.write(tmp_path / "a", "größe \udc80")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "größe ?"


@pytest.mark.parametrize("fault", ["fsync", "replace"])
def test_a_fault_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch, fault):
    (tmp_path / "a").write_text("old")

    def refuse(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, fault, refuse)
    with pytest.raises(OSError, match="Input/output"):
        durable_files.write_together({tmp_path / "b": b"new", tmp_path / "a": b"new"})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_files_together_take_their_names_only_once_all_are_on_the_disk(tmp_path, calls):
    durable_files.write_together({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert [what for what, _ in calls] == ["sync", "sync", "rename", "rename", "sync"]


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    durable_files.write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    read, written = os.pipe()
    durable_files.write(tmp_path.__class__(f"/dev/fd/{written}"), b"through")
    os.close(written)
    assert os.read(read, 100) == b"through"
    os.close(read)


def test_all_of_a_folder_reaches_the_disk_before_it_is_renamed(tmp_path, calls):
    folder = tmp_path / "new"
    (folder / "in").mkdir(parents=True)
    (folder / "skipped").mkdir()
    for name in ("a", "in/b", "skipped/c"):
        (folder / name).write_text("x")
    durable_files.sync_tree(folder, skip="skipped")
    durable_files.rename(folder, tmp_path / "done")
    assert calls == [
        *(("sync", name) for name in ("a", "new", "b", "in")),
        ("rename", "done"),
        ("sync", tmp_path.name),
    ]


def test_the_permissions_of_an_older_file_are_kept(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o600)
    durable_files.write_together({tmp_path / "a": b"new", tmp_path / "b": b"new"})
    assert (tmp_path / "a").read_text() == "new"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o666 & ~umask()


def umask():
    now = os.umask(0)
    os.umask(now)
    return now


def test_a_file_that_another_is_writing_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda count: "aa")
    other = tmp_path / f".a.{os.getpid()}-aa.new"
    other.write_text("half")
    with pytest.raises(FileExistsError):
        durable_files.write(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == [other.name]
    assert other.read_text() == "half"


def test_what_a_killed_process_left_is_known(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f".model.keras.{number}-0f.new" for number in (ended.pid, os.getpid(), os.getppid(), 1, 10**30)]
    for name in (*names, "model.new", ".model.new"):
        (tmp_path / name).write_text("half")
    found = {path.name for path in durable_files.leftovers(tmp_path)}
    assert found == {names[0], names[1], names[4]}  # its own are of an earlier process with its number


def test_what_is_damaged_takes_the_place_of_what_was_before(tmp_path):
    for name in ("first", "second"):
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / name).write_text("x")
        assert durable_files.set_aside(tmp_path / "state") == tmp_path / "state.damaged"
    assert [path.name for path in tmp_path.rglob("*")] == ["state.damaged", "second"]


@pytest.mark.parametrize("kind", ["file", "folder", "link", "nothing"])
def test_anything_is_removed_and_a_link_alone(tmp_path, kind):
    (tmp_path / "kept").mkdir()
    place = tmp_path / "place"
    if kind == "link":
        place.symlink_to(tmp_path / "kept")
    elif kind == "folder":
        (place / "in").mkdir(parents=True)
    elif kind == "file":
        place.write_text("x")
    durable_files.remove(place)
    assert not os.path.lexists(place)
    assert (tmp_path / "kept").is_dir()


def test_a_fault_is_one_line_with_the_way_out(tmp_path):
    with (
        pytest.raises(StorageError, match=r"^/x cannot be written: No space left on device. Make room.$"),
        durable_files.storage_errors("/x", "Make room."),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "No space left on device: /x"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (RuntimeError("graph/saved_model.pb; No space left on device [[op]]"), "No space left on device"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "they are full"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), None),
        (ValueError("no"), None),
    ],
)
def test_faults_of_the_disk_are_told_from_other_errors(error, line):
    found = storage_fault(error)
    assert found == line or (line and line in found)
