"""Disks that are full, fail, cannot be written, and files that may not grow."""

import errno
import resource
import subprocess

import pytest

from tests.faults.faults import FailingCalls, Limited, TemporaryFolder
from tests.faults.project import KINDS

pytestmark = pytest.mark.long


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_write_that_fails_is_a_line_and_the_rerun_ends_with_the_same_bytes(
    kind, error, bench, all_hold, library, some
):
    count, number = bench.calls(kind, library), getattr(errno, error)
    calls = {"calls": 1} if error == "EIO" else {}  # a disk stays full

    def tried(call):
        return bench.befall(
            error, kind, f"call {call} of {count}", lambda out: [FailingCalls(library, out, call, number, **calls)]
        )

    all_hold(tried, some(range(1, count + 1)))


@pytest.mark.parametrize("name", ["whole", "search", "tune"])
def test_temporary_files_that_cannot_be_written_are_a_line(name, bench, all_hold, library, some):
    bench.whole(name)

    def tried(call):
        folder = bench.new_folder()

        def faults(out):
            return [TemporaryFolder(folder), FailingCalls(library, folder, call, errno.ENOSPC)]

        return bench.befall("/tmp full", name, f"from its call {call} on", faults, TMPDIR=str(folder))

    all_hold(tried, some([1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30]))


@pytest.mark.parametrize("name", ["whole", "search", "tune"])
def test_files_that_may_not_grow_are_a_line(name, bench, all_hold, some):
    sizes = [1000, 1500, 2000, 3000, 4000, 8000, 12_000, 16_000, 20_000, 24_000, 28_000, 32_000, 48_000, 64_000]

    def tried(size):
        return bench.befall("EFBIG", name, f"{size} bytes", lambda out: [Limited(resource.RLIMIT_FSIZE, size)])

    all_hold(tried, some(sizes))


def mount(folder, options, kind="tmpfs"):
    done = subprocess.run(["mount", "-t", kind, "-o", options, kind, folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def mounted():
    """Mounts a small file system, and unmounts it after the test."""
    folders = []

    def run(folder, options):
        folder.mkdir(exist_ok=True)
        mount(folder, options)
        folders.append(folder)

    yield run
    for folder in folders:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("name", ["whole", "search", "tune"])
def test_a_small_disk_is_a_line_and_with_more_room_the_run_goes_on(name, bench, all_hold, mounted, some):
    def tried(pages):
        out = bench.new_folder() / "disk"
        mounted(out, f"size={pages * 4}k")
        return bench.befall(
            "small tmpfs",
            name,
            f"{pages * 4} KiB",
            lambda _: [],
            out=out,
            freed=lambda: subprocess.run(["mount", "-o", "remount,size=64m", out], check=True),
        )

    all_hold(tried, some(range(1, 61)))


@pytest.mark.parametrize("name", ["whole", "search", "tune"])
def test_few_files_fit_on_a_disk(name, bench, all_hold, mounted, some):
    def tried(inodes):
        out = bench.new_folder() / "disk"
        mounted(out, f"nr_inodes={inodes}")
        return bench.befall(
            "few inodes",
            name,
            f"{inodes} files",
            lambda _: [],
            out=out,
            freed=lambda: subprocess.run(["mount", "-o", "remount,nr_inodes=10000", out], check=True),
        )

    all_hold(tried, some(range(2, 42)))


def test_a_disk_that_cannot_be_written_is_a_line(bench, mounted):
    out = bench.new_folder() / "disk"
    mounted(out, "size=64m,ro")

    def writable():
        subprocess.run(["mount", "-o", "remount,rw", out], check=True)

    assert not bench.befall("read-only", "whole", "from the start", lambda _: [], out=out, freed=writable)
