"""One committed folder for each result."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tfopt.errors import StorageError
from tfopt.recipe.artifact import BACKUP, Artifact, Skipped, content_key
from tfopt.recipe.details.device_files import DeviceFile, DeviceFiles
from tfopt.recipe.details.quantization import ConversionNotes
from tfopt.recipe.details.training import KernelSparsity, TrainingHistory
from tfopt.recipe.workspace import Workspace

HOLD = """
import sys
from pathlib import Path
from tfopt.recipe.workspace import Workspace
with Workspace(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def workspace(tmp_path):
    workspace = Workspace(tmp_path / "run")
    workspace.root.mkdir()
    return workspace


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def commit(workspace, name="train", key="k", content="model", **rest):
    folder = workspace.begin(name, key)
    (folder / "model.keras").write_text(content)
    return workspace.commit(Artifact(name, "train", folder, "model.keras", "keras", key, **rest))


@pytest.mark.parametrize("place", ["../../other.keras", "{root}/other.keras", "link.keras"])
def test_a_record_leads_to_no_file_outside_of_the_run(workspace, tmp_path, place):
    made = commit(workspace)
    assert Artifact.read(made.folder) is not None
    (tmp_path / "other.keras").write_text("model")
    (made.folder / "link.keras").symlink_to(tmp_path / "other.keras")
    replace(made, file=place.format(root=tmp_path)).write()
    assert Artifact.read(made.folder) is None
    away = DeviceFiles((DeviceFile("a", bytes=5, file=place.format(root=tmp_path), sha256="0"),))
    replace(made, details=[away]).write()
    assert Artifact.read(made.folder) is None


def test_records_that_lead_in_a_circle_are_no_results(workspace):
    for name, parents in {"a": ("b",), "b": ("a",), "c": ("b",), "d": ("gone",)}.items():
        replace(commit(workspace, name), parents=parents).write()
    assert [artifact.name for artifact in workspace.artifacts()] == ["c", "d"]


def test_equal_parts_have_equal_keys():
    assert content_key("a", {"x": 1, "y": [1, 2]}) == content_key("a", {"y": [1, 2], "x": 1})


def test_a_key_is_the_same_in_every_process(python):
    code = "from tfopt.recipe.artifact import content_key; print(content_key('a', {'y': 1, 'x': (1.5, None, True)}))"
    here = content_key("a", {"x": (1.5, None, True), "y": 1})
    assert python(code, PYTHONHASHSEED="1").strip() == here
    assert here == "8d0140765245e80abaf90c6c3bd094a197b74d616e070cbe35680f27c0d55343"


@pytest.mark.parametrize(
    "parts", [("a", "b", 1), ("b", "a"), ("ab",), ("a", ["b"]), ("a", "b", None), ("a", {"b": None})], ids=repr
)
def test_other_parts_have_another_key(parts):
    assert content_key(*parts) != content_key("a", "b")


@pytest.mark.parametrize(("one", "other"), [(1, 1.5), (1, "1"), (True, "true"), (None, 0), ([], {})])
def test_keys_tell_values_of_other_types_apart(one, other):
    assert content_key({"x": one}) != content_key({"x": other})


def test_an_artifact_reads_back_as_it_was_written(workspace):
    written = commit(
        workspace,
        parents=("source",),
        metrics={"accuracy": 0.5},
        files={"a": {"drop": 0.1}},
        skipped=(Skipped("conv", "no kernel"),),
        details={"history": {"loss": [1.0]}},
        failed="too bad",
        seconds=1.5,
    )
    assert Artifact.read(written.folder) == written


def test_details_are_given_with_their_types_and_found_by_them(workspace):
    given = [TrainingHistory({"loss": [1.0, 0.5]}), ConversionNotes(("loops were unrolled",))]
    written = commit(workspace, details=given)
    assert written.details == {"history": {"loss": [1.0, 0.5]}, "notes": ["loops were unrolled"]}
    read = Artifact.read(written.folder)
    assert read == written
    assert [read.details.of(type(detail)) for detail in given] == given
    assert read.details.of(KernelSparsity) is None


def test_details_of_ones_own_are_kept_as_they_are(workspace):
    own = {"anything": {"a": [1, 2.5, None]}, "history": "of art"}
    written = commit(workspace, details=own)
    read = Artifact.read(written.folder)
    assert read.details == written.details == own
    assert read.details.of(TrainingHistory) is None  # the name is the same, the value is not


def test_an_artifact_with_other_metrics_keeps_its_details(workspace):
    written = commit(workspace, details=[TrainingHistory({"loss": [1.0]})])
    assert replace(written, metrics={"accuracy": 1.0}).details.of(TrainingHistory) == TrainingHistory({"loss": [1.0]})


def test_a_commit_leaves_the_whole_folder_and_nothing_half_done(workspace):
    artifact = commit(workspace)
    assert artifact.folder == workspace.root / "train"
    assert artifact.path.read_text() == "model"
    assert sorted(path.name for path in workspace.root.iterdir()) == ["train"]


def test_a_commit_replaces_the_older_result_of_its_name(workspace):
    commit(workspace, key="old", content="old model")
    commit(workspace, key="new", content="new model")
    assert workspace.find("train", "old") is None
    assert workspace.find("train", "new").path.read_text() == "new model"
    assert sorted(path.name for path in workspace.root.iterdir()) == ["train"]


def test_nothing_is_found_before_the_commit(workspace):
    folder = workspace.begin("train", "k")
    (folder / "model.keras").write_text("model")
    Artifact("train", "train", folder, "model.keras", "keras", "k").write()
    assert workspace.find("train", "k") is None
    assert workspace.artifacts() == []


def test_a_process_that_dies_at_the_rename_leaves_the_older_result(workspace, monkeypatch):
    commit(workspace, key="old", content="old model")

    def die(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        commit(workspace, key="new")
    assert workspace.find("train", "old").path.read_text() == "old model"


def test_a_process_that_dies_between_the_renames_can_be_run_again(workspace, monkeypatch):
    commit(workspace, key="old")
    rename, calls = os.rename, []

    def die(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        commit(workspace, key="new")
    monkeypatch.undo()
    with workspace.locked():
        commit(workspace, key="new", content="new model")
    assert workspace.find("train", "new").path.read_text() == "new model"
    assert not list(workspace.root.glob("*.old"))


def test_a_partial_folder_is_gone_on_from_with_the_same_key(workspace):
    (workspace.begin("train", "k") / BACKUP).mkdir()
    assert (workspace.begin("train", "k") / BACKUP).is_dir()


def test_of_a_partial_folder_only_what_the_stage_goes_on_from_is_kept(workspace):
    folder = workspace.begin("train", "k")
    for name in (BACKUP, "round-1", "model.keras"):  # a folder where a file is to be written would be in the way
        (folder / name).mkdir()
    (folder / "artifact.json").write_text("half")
    workspace.begin("train", "k", (BACKUP, "round-*"))
    assert sorted(path.name for path in folder.iterdir()) == [BACKUP, ".key", "round-1"]


@pytest.mark.parametrize("kind", ["file", "folder for the key", "key of other bytes", "link", "nothing"])
def test_whatever_lies_in_the_place_of_a_partial_folder_is_no_hindrance(workspace, kind):
    place = workspace.root / "train.partial"
    if kind == "file":
        place.write_text("what is this")
    elif kind == "link":
        place.symlink_to(workspace.root / "nowhere")
    elif kind != "nothing":
        place.mkdir()
        (place / ".key").mkdir() if kind == "folder for the key" else (place / ".key").write_bytes(b"\xff\xfe")
    assert not workspace.begun("train", "k")
    assert workspace.begin("train", "k") == place
    assert workspace.begun("train", "k")


def test_a_partial_folder_with_another_key_is_started_afresh(workspace):
    (workspace.begin("train", "k") / BACKUP).mkdir()
    assert not (workspace.begin("train", "other") / BACKUP).exists()


def test_a_partial_folder_without_a_key_is_started_afresh(workspace):
    folder = workspace.root / "train.partial"
    folder.mkdir()
    (folder / "junk").write_text("junk")
    assert not (workspace.begin("train", "k") / "junk").exists()


def test_holding_the_folder_sweeps_what_nobody_goes_on_from(workspace):
    commit(workspace)
    (workspace.root / "train.old").mkdir()
    (workspace.root / "train" / BACKUP).mkdir()
    backup = workspace.begin("prune", "k") / BACKUP
    backup.mkdir()
    writing, left = (workspace.root / f".report.md.{number}-0f.new" for number in (os.getppid(), 10**30))
    for file in (writing, left):
        file.write_text("half")
    with workspace.locked():
        assert writing.exists()
        assert not left.exists()
        assert not (workspace.root / "train.old").exists()
        assert not (workspace.root / "train" / BACKUP).exists()
        assert backup.exists()
    assert workspace.find("train", "k")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '"text"', "{}", '{"name": "train"}', '{"skipped": 3, "parents": []}', "\x00"],
)
def test_a_record_that_cannot_be_read_counts_as_none(workspace, text):
    folder = commit(workspace).folder
    (folder / "artifact.json").write_text(text)
    assert Artifact.read(folder) is None
    assert workspace.find("train", "k") is None
    assert workspace.artifacts() == []


@pytest.mark.parametrize("change", [{"unknown": 1}, {"file": None}, {"file": 3}, {"skipped": [{"what": 1}]}])
def test_a_record_of_another_shape_counts_as_none(workspace, change):
    folder = commit(workspace).folder
    record = json.loads((folder / "artifact.json").read_text())
    (folder / "artifact.json").write_text(json.dumps({**record, **change}))
    assert Artifact.read(folder) is None


def test_a_record_that_is_no_text_counts_as_none(workspace):
    folder = commit(workspace).folder
    (folder / "artifact.json").write_bytes(b"\xff\xfe\x00")
    assert Artifact.read(folder) is None


def test_a_result_whose_model_file_is_gone_counts_as_none(workspace):
    artifact = commit(workspace)
    artifact.path.unlink()
    assert workspace.find("train", "k") is None


def test_a_file_in_the_folder_of_another_stage_is_found(workspace):
    commit(workspace)
    folder = workspace.begin("verify", "v")
    measured = workspace.commit(Artifact("verify", "verify", folder, "../train/model.keras", "tflite", "v"))
    assert measured.path == workspace.root / "train" / "model.keras"
    assert workspace.find("verify", "v") == measured


def test_artifacts_come_in_the_order_of_their_making(workspace):
    for age, name in enumerate(["c", "a", "b"]):
        record = commit(workspace, name).folder / "artifact.json"
        os.utime(record, (1000 + age, 1000 + age))
    assert [artifact.name for artifact in workspace.artifacts()] == ["c", "a", "b"]


def test_numbers_of_numpy_are_written_as_numbers(workspace):
    import numpy as np

    artifact = commit(workspace, metrics={"accuracy": np.float32(0.5)})
    assert Artifact.read(artifact.folder).metrics == {"accuracy": 0.5}


def test_the_lock_makes_the_folder_and_leaves_no_owner(tmp_path):
    workspace = Workspace(tmp_path / "deep" / "run")
    with workspace.locked():
        assert (workspace.root / ".owner").read_text().strip() == str(os.getpid())
    assert not (workspace.root / ".owner").exists()


def test_the_lock_can_be_taken_again_after_an_error(workspace):
    with pytest.raises(ValueError, match="inside"), workspace.locked():
        raise ValueError("inside")
    with workspace.locked():
        assert workspace.root.is_dir()


def test_a_folder_held_by_another_process_is_refused_with_its_pid(workspace, holder):
    with pytest.raises(StorageError) as caught, workspace.locked():
        pass
    assert f"process {holder.pid}" in str(caught.value)
    assert str(workspace.root) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_refused_process_leaves_the_holder_its_lock(workspace, holder):
    for _ in range(2):
        with pytest.raises(StorageError, match=str(holder.pid)), workspace.locked():
            pass


def test_the_folder_of_a_killed_process_is_taken_over(workspace, holder):
    holder.send_signal(signal.SIGKILL)
    assert holder.wait() == -signal.SIGKILL
    assert (workspace.root / ".owner").read_text().strip() == str(holder.pid)
    with workspace.locked():
        assert (workspace.root / ".owner").read_text().strip() == str(os.getpid())


@pytest.mark.parametrize("below", ["", "run", "deep/run"])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, below):
    (tmp_path / "file").write_text("a file, not a folder")
    root = tmp_path / "file" / below
    with pytest.raises(StorageError) as caught, Workspace(root).locked():
        pass
    assert str(root) in str(caught.value)
    assert "--out" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"), Workspace(tmp_path / "run").locked():
        pass
    tmp_path.chmod(0o700)


@pytest.fixture
def full_disk(monkeypatch):
    def fill():
        def refuse(*args, **kwargs):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("pathlib.Path.write_text", refuse)
        monkeypatch.setattr("pathlib.Path.mkdir", refuse)
        monkeypatch.setattr("os.fsync", refuse)

    return fill


def test_a_full_disk_at_the_beginning_of_a_stage_is_one_line(workspace, full_disk):
    full_disk()
    with pytest.raises(StorageError, match="No space left"):
        workspace.begin("train", "k")


def test_a_full_disk_at_the_commit_keeps_the_older_result(workspace, full_disk, monkeypatch):
    old = commit(workspace, key="old", content="old model")
    folder = workspace.begin("train", "new")
    (folder / "model.keras").write_text("new model")
    full_disk()
    with pytest.raises(StorageError, match="No space left"):
        workspace.commit(replace(old, folder=folder, key="new"))
    monkeypatch.undo()
    assert workspace.find("train", "old").path.read_text() == "old model"
    assert workspace.begin("train", "new") == folder


def test_a_holder_that_lets_go_at_this_moment_is_an_unknown_process(workspace, holder, monkeypatch):
    own = Path.read_text

    def gone(path, **options):
        if path.name == ".owner":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return own(path, **options)

    monkeypatch.setattr(Path, "read_text", gone)
    with pytest.raises(StorageError, match="in use by process unknown"), workspace.locked():
        pass


def test_a_full_disk_while_the_folder_is_taken_gives_the_lock_back(workspace, full_disk, monkeypatch):
    full_disk()
    monkeypatch.setattr("pathlib.Path.mkdir", lambda *args, **kwargs: None)
    with pytest.raises(StorageError, match="No space left"), workspace.locked():
        pass
    monkeypatch.undo()
    with workspace.locked():
        assert workspace.root.is_dir()


def test_a_file_made_for_a_device_that_is_lost_or_edited_makes_the_result_anew(workspace):
    own = DeviceFile("board", "front/model.board.tflite", hashlib.sha256(b"own").hexdigest(), 3)
    itself = DeviceFile("litert", "", "", 5)

    def commit():
        folder = workspace.begin("int8", "k")
        (folder / "front").mkdir()
        (folder / own.file).write_bytes(b"own")
        (folder / "model.tflite").write_text("model")
        details = [DeviceFiles((itself, own))]
        made = Artifact("int8", "quantize", folder, "model.tflite", "tflite", "k", details=details)
        return workspace.commit(made)

    committed = commit()
    assert committed.device_files == {"board": workspace.root / "int8/front/model.board.tflite"}
    assert workspace.find("int8", "k").changed == ()
    committed.device_files["board"].write_bytes(b"edited")
    assert Artifact.read(committed.folder).changed == ("front/model.board.tflite",)
    assert workspace.find("int8", "k") is None
    commit()
    assert workspace.find("int8", "k") is not None
    committed.device_files["board"].unlink()
    assert workspace.find("int8", "k") is None


def test_a_file_beside_the_model_that_is_edited_makes_the_result_anew_and_one_to_work_with_does_not(workspace):
    folder = workspace.begin("search", "k")
    for name in ("front/0.tflite", "front/1.tflite", "tuner/trial_0/trial.json", ".backup/epoch-000001.npz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    made = Artifact("search", "search", folder, "front/0.tflite", "tflite", "k")
    committed = workspace.commit(made, ["tuner*"])
    assert list(committed.beside) == ["front/1.tflite"]
    (committed.folder / "tuner/trial_0/trial.json").unlink()
    (committed.folder / "notes.txt").write_text("mine")
    assert workspace.find("search", "k") == committed
    (committed.folder / "front/1.tflite").write_text("edited")
    assert Artifact.read(committed.folder).changed == ("front/1.tflite",)
    assert workspace.find("search", "k") is None


@pytest.mark.parametrize("what", ["a file", "a link to nowhere"])
def test_what_is_in_the_place_of_a_result_and_no_folder_leaves_nothing(what, workspace, tmp_path):
    if what == "a file":
        (workspace.root / "train").write_text("no folder")
    else:
        (workspace.root / "train").symlink_to(tmp_path / "nowhere")
    made = commit(workspace)
    assert workspace.find("train", "k") == made
    assert [path.name for path in workspace.root.iterdir()] == ["train"]
