"""What a machine lacks, told in a line: memory, in whosever words, and a clock that was never set."""

import sys
import time

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tests.faults.faults import ClockSet
from tfopt import cli
from tfopt.errors import DataError, StorageError, TfoptError, id_fault, memory_fault
from tfopt.models.serialization import keras_file
from tfopt.pipeline.failures import named_failures
from tfopt.quantization import float_conversion

FULL = {
    "Python": (MemoryError(), "the memory is full. "),
    "Python, of an array": (MemoryError("Unable to allocate 9 GiB"), "the memory is full (Unable to allocate 9 GiB). "),
    "C++": (RuntimeError("std::bad_alloc"), "the memory is full (std::bad_alloc). "),
    "TensorFlow": (
        ValueError("OOM when allocating tensor with shape[9]"),
        "the memory is full (OOM when allocating). ",
    ),
    "oneDNN": (
        RuntimeError("received an exception:Status: 1, message: could not create a primitive, in file mkl_conv_ops.cc"),
        "the memory is full (Status: 1, message: could not create a primitive). ",
    ),
}


def ended(error, monkeypatch):
    """The exit code of the command where an error comes up in it."""

    def app(**options):
        raise error

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(sys, "argv", ["tfopt", "run"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code


@pytest.mark.parametrize("error", FULL)
def test_memory_that_is_full_is_a_line_of_the_command(error, monkeypatch, capsys):
    raised, line = FULL[error]
    assert ended(raised, monkeypatch) == 1
    assert capsys.readouterr().err == f"{line}Take a machine with more.\n"


@pytest.mark.parametrize("error", FULL)
def test_memory_that_is_full_is_a_line_of_a_stage(error, tmp_path):
    raised, line = FULL[error]
    with pytest.raises(TfoptError, match="Take a smaller batch_size") as caught, named_failures("a", tmp_path / "log"):
        raise raised
    assert str(caught.value).startswith(f"a: {line}")


def test_other_errors_say_nothing_of_memory():
    assert memory_fault(ValueError("the model remembers")) is None
    assert memory_fault(RuntimeError("Status: 3, message: could not create a primitive")) is None


NO_SUCH_ID = "Graph execution error:\n\nindices[3,2] = 7000 is not in [0, 5000)\n\t [[{{node GatherV2}}]]"


def test_an_id_that_an_embedding_does_not_have_is_a_line_of_a_stage_and_of_the_command(tmp_path, monkeypatch, capsys):
    line = "the data have the id 7000, and the model looks up ids from 0 to 4999. Correct the data, or build the model"
    with pytest.raises(DataError, match=line), named_failures("a", tmp_path / "log"):
        raise RuntimeError(NO_SUCH_ID)
    assert ended(RuntimeError(NO_SUCH_ID), monkeypatch) == 2
    assert capsys.readouterr().err == f"{line} for more ids.\n"


def test_tensorflows_own_words_for_an_id_are_known():
    embedding = layers.Embedding(5, 2)
    with pytest.raises(Exception, match="is not in") as caught:
        embedding(np.array([[1, 7]]))
    assert id_fault(caught.value).startswith("the data have the id 7, and the model looks up ids from 0 to 4.")


def dense():
    return keras.Sequential([layers.Input((4,)), layers.Dense(2)])


def test_a_converter_without_memory_refuses_no_model(monkeypatch):
    def full(*arguments, **options):
        raise RuntimeError("std::bad_alloc")

    monkeypatch.setattr(float_conversion, "trace", full)
    with pytest.raises(MemoryError, match="bad_alloc"):
        tfopt.convert(dense(), "float32")


def test_no_model_is_written_where_the_clock_is_at_1970(monkeypatch):
    model = dense()
    with ClockSet(0, None).armed(), pytest.raises(StorageError, match="before the year 1980"):
        keras_file(model)
    assert keras_file(model)
    assert time.localtime().tm_year > 1980
