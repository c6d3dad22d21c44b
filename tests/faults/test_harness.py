"""The harness itself: it sees what changes a folder, keeps what is left at each point, and has calls fail."""

import errno
import os
import subprocess
import sys
import time

import pytest

from tests.faults import images
from tests.faults.faults import ChildFails, ClockSet, FailingCalls
from tests.faults.fork_server import ROOT
from tests.faults.points import Points, Recording
from tests.faults.spread import spread

CHILD = """
import errno, os, sys
from pathlib import Path
from tests.faults.faults import FailingCalls
folder = Path(sys.argv[1])
(folder / "a").write_bytes(b"before")
library, *numbers = Path(sys.argv[2]), *map(int, sys.argv[3:])
fault = FailingCalls(library, folder, *numbers, folder.parent / "n")
with fault.armed():
    for name in "ab":
        try:
            with open(folder / name, "wb") as file:
                file.write(b"whole")
                file.flush()
                os.fsync(file.fileno())
            os.replace(folder / name, folder / f"{name}{name}")
        except OSError as error:
            print(name, errno.errorcode[error.errno])
(folder / "c").write_bytes(b"after")
"""


def write(folder):
    """Makes a folder with a file that is synced and one that is not, and gives it another name."""
    (folder / "new").mkdir()
    with (folder / "new" / "synced").open("w") as file:
        file.write("0123456789")
        file.flush()
        os.fsync(file.fileno())
    (folder / "new" / "lost").write_text("0123456789")
    os.rename(folder / "new", folder / "made")
    (folder / "made" / "synced").unlink()


@pytest.fixture
def recording(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with Points([folder], Recording(folder, tmp_path / "images")).watched():
        write(folder)
    (folder / "unseen").mkdir()
    return tmp_path / "images"


def test_every_change_of_a_folder_is_a_point(recording):
    assert [(point["what"], point["path"]) for point in images.points(recording)] == [
        ("mkdir", "new"),
        ("open", "new/synced"),
        ("fsync", "new/synced"),
        ("open", "new/lost"),
        ("rename", "new"),
        ("remove", "made/synced"),
    ]


def contents(left, folder):
    left.put(folder)
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_is_left_is_what_was_there_before_each_point(recording, tmp_path):
    kills = [left for left in images.read(recording) if left.kind == "kill"]
    found = [contents(left, tmp_path / str(number)) for number, left in enumerate(kills)]
    whole = "0123456789"
    assert found == [
        {},
        {},
        {"new/synced": whole},
        {"new/synced": whole, "new/lost": whole},
        {"made/synced": whole, "made/lost": whole},
    ]
    assert [left.points for left in kills] == [1, 1, 2, 1, 1]


def test_a_write_may_be_cut_anywhere_and_a_power_cut_takes_what_was_not_synced(recording, tmp_path):
    others = [left for left in images.read(recording) if left.kind != "kill"]
    found = [(left.kind, contents(left, tmp_path / str(number))) for number, left in enumerate(others)]
    assert ("torn write", {"new/synced": ""}) in found
    assert ("torn write", {"new/synced": "01234"}) in found
    assert ("torn write", {"new/synced": "0123456789", "new/lost": "01234"}) in found
    assert ("power cut", {"new/synced": "0123456789", "new/lost": ""}) in found
    assert ("power cut", {"made/synced": "0123456789", "made/lost": ""}) in found


def test_a_clock_is_set_after_so_many_looks():
    with ClockSet(1, -100.0).armed():
        before, after = time.time(), time.time()
    assert -101 < after - before < -99
    with ClockSet(0, None).armed():
        assert time.localtime().tm_year == 1970
    assert time.localtime().tm_year > 2000


@pytest.mark.parametrize("fault", [{}, {"memory": 2**22}], ids=["killed", "without memory"])
def test_the_children_that_run_a_module_fail_and_others_do_not(fault):
    ends = []
    with ChildFails("this.module", **fault).armed():
        for module in ("this.module", "another"):
            command = [sys.executable, "-c", "import time; time.sleep(0.3); x = bytearray(2**24)", module]
            ends.append(subprocess.run(command, capture_output=True).returncode)
    assert ends[0] != 0
    assert ends[1] == 0


def child(folder, library, first, error, calls=10**9):
    """Exit code, output, calls that were seen, and the files that are left."""
    (folder / "run").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder / "run"), str(library), str(first), str(error), str(calls)],
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    seen = int((folder / "n").read_text()) if (folder / "n").exists() else None
    left = {path.name: path.read_text() for path in (folder / "run").iterdir()}
    return done.returncode, done.stdout.split(), seen, left, done.stderr


@pytest.mark.parametrize(
    ("first", "error", "calls", "printed", "left"),
    [
        (0, 0, 1, [], {"aa": "whole", "bb": "whole"}),
        (1, errno.EIO, 1, ["a", "EIO"], {"a": "before", "bb": "whole"}),
        (2, errno.EIO, 1, ["a", "EIO"], {"a": "whole", "bb": "whole"}),  # what is closed is written once more
        (3, errno.EIO, 1, ["a", "EIO"], {"a": "whole", "bb": "whole"}),
        (4, errno.EIO, 1, ["a", "EIO"], {"a": "whole", "bb": "whole"}),
        (2, errno.ENOSPC, 10**9, ["a", "ENOSPC", "b", "ENOSPC"], {"a": "wh"}),
    ],
)
def test_the_calls_that_are_asked_for_fail(first, error, calls, printed, left, library, tmp_path):
    code, out, seen, files, errors = child(tmp_path, library, first, error, calls)
    assert (code, out, files) == (0, printed, {**left, "c": "after"}), errors
    assert seen >= 3
    for asked in (first, seen + 1):
        assert FailingCalls(library, tmp_path, asked, counted=tmp_path / "n").befell(code) is (0 < asked <= seen)


def test_a_process_is_killed_at_the_call_that_is_asked_for(library, tmp_path):
    code, out, seen, files, _ = child(tmp_path, library, 3, -1)
    assert (code, out, seen, files) == (-9, [], None, {"a": "whole"})
    assert FailingCalls(library, tmp_path, 3, -1, counted=tmp_path / "n").befell(code)


@pytest.mark.parametrize("slow", [0, 2, 99])
def test_cases_are_spread_over_the_suites(slow):
    found = [" ".join(mark.name for mark in case.marks) for case in spread(range(8), 2, slow)]
    assert found.count("") == 2
    assert found.count("slow") == min(slow, 6)
    assert found.count("long") == 6 - min(slow, 6)
    assert found[0] == found[4] == ""
