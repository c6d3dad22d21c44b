"""What libraries print is kept, and the terminal stays clean."""

import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from tfopt.errors import StorageError
from tfopt.output_capture import captured, followed, terminal


def write_all():
    print("from print")
    print("from stderr", file=sys.stderr)
    os.write(1, b"from fd 1\n")
    os.write(2, b"from fd 2\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)


WORDS = ("from print", "from stderr", "from fd 1", "from fd 2", "from a child")


def test_everything_that_is_written_in_the_block_is_kept(capfd):
    with capfd.disabled(), captured() as kept:
        write_all()
    assert [word for word in WORDS if word not in kept.text()] == []


def test_nothing_of_it_reaches_the_terminal(python):
    out = python("""
import os, sys
from tfopt.output_capture import captured
print("before", flush=True)
with captured():
    print("hidden")
    os.write(1, b"hidden")
    os.write(2, b"hidden")
print("after")
""")
    assert out.split() == ["before", "after"]


def test_what_was_printed_before_the_block_is_not_kept(python):
    out = python("""
from tfopt.output_capture import captured
print("early", end="")
with captured() as kept:
    print("late")
assert kept.text() == "late\\n", kept.text()
""")
    assert out == "early"


def test_the_text_can_be_read_inside_the_block_and_after_it():
    with captured() as kept:
        os.write(1, b"one ")
        inside = kept.text()
        os.write(1, b"two")
    assert inside == "one "
    assert kept.text() == "one two"


def test_the_terminal_comes_back_after_an_error(python):
    out = python("""
from tfopt.output_capture import captured
try:
    with captured() as kept:
        print("hidden")
        raise ValueError
except ValueError:
    print("shown", kept.text().strip())
""")
    assert out == "shown hidden\n"


def test_no_file_descriptor_is_left_open():
    before = os.listdir("/dev/fd")
    for _ in range(3):
        with captured():
            pass
    assert len(os.listdir("/dev/fd")) == len(before)


def test_a_log_is_appended_to(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("old\n")
    with captured(log) as kept:
        os.write(1, b"new\n")
    assert log.read_text() == "old\nnew\n"
    assert kept.text() == "new\n"


def test_an_inner_block_hands_its_text_to_the_one_around_it(tmp_path):
    log = tmp_path / "run.log"
    with captured(log) as outer:
        os.write(1, b"a ")
        with captured() as inner:
            os.write(1, b"b ")
        os.write(1, b"c")
    assert inner.text() == "b "
    assert outer.text() == "a b c"
    assert log.read_text() == "a b c"


def test_bytes_that_are_no_text_are_kept_readable():
    with captured() as kept:
        os.write(1, b"\xff ok")
    assert "ok" in kept.text()


def test_a_log_that_cannot_be_opened_changes_nothing(tmp_path):
    with pytest.raises(StorageError), captured(tmp_path / "none" / "run.log"):
        pass
    with captured() as kept:
        os.write(1, b"still works")
    assert kept.text() == "still works"


def test_the_terminals_stream_writes_through_a_captured_block(python):
    out = python("""
from tfopt.output_capture import captured
from tfopt.output_capture import terminal
stream = terminal()
with captured():
    print("hidden")
    print("bar", file=stream, flush=True)
""")
    assert out == "bar\n"


def test_a_replaced_stdout_is_used_as_it_is(capsys):
    assert terminal() is sys.stdout


def test_a_logging_handler_made_in_the_block_still_works_after_it(capsys):
    logger = logging.getLogger("made-in-a-block")
    logger.propagate = False
    with captured():
        handler = logging.StreamHandler()
        logger.addHandler(handler)
    logger.warning("later")
    handler.flush()
    logger.removeHandler(handler)
    assert "Logging error" not in capsys.readouterr().err


def test_blocks_in_two_threads_leave_the_descriptors_as_they_were():
    before = os.fstat(1).st_ino, os.fstat(2).st_ino

    def block():
        for _ in range(20):
            with captured():
                os.write(1, b"x")

    threads = [threading.Thread(target=block) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (os.fstat(1).st_ino, os.fstat(2).st_ino) == before


def test_a_followed_log_shows_what_is_added_to_it_and_what_takes_its_place(tmp_path):
    log, shown = tmp_path / "run.log", []
    log.write_text("of the last run\n")
    with followed(log, shown.append):
        with log.open("a") as file:
            file.write("one\ntw")
        wait_for(lambda: shown)
        log.unlink()
        with captured(log):
            os.write(1, b"three\nfour")
    assert shown == ["one", "tw", "three", "four"]


def test_a_followed_log_may_not_be_there(tmp_path):
    shown = []
    with followed(tmp_path / "none" / "run.log", shown.append):
        pass
    assert shown == []


def wait_for(done):
    """Until a condition holds that another thread brings about."""
    end = time.monotonic() + 20
    while not done() and time.monotonic() < end:
        time.sleep(0.01)


ERRORS = """
from tfopt.output_capture import captured, terminal

beside = terminal(2)
with captured() as kept:
    print("to the error stream", file=beside, flush=True)
assert kept.text() == "", kept.text()
"""


def test_a_copy_of_the_error_stream_is_out_of_its_reach(python):
    python(ERRORS)
