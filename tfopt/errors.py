"""Every error that tfopt raises, the exit code the command line gives it, and the category of its warnings.

```
TfoptError            1  something tfopt could not do
├── InputError        2  what was handed in cannot work: nothing was computed
│   ├── RecipeError   2  ... the recipe; carries file:line
│   ├── ModelError    2  ... the model
│   └── DataError     2  ... the data
├── TrainingError     1  a loss that is not a number
├── ConversionError   1  a model that LiteRT cannot take
│   └── TargetError   1  ... or that the target refuses
├── StorageError      1  a full disk, a folder that cannot be written
│   └── InUseError    1  ... one that another run holds
└── GateError         3  every file was made, and one is not accurate enough

TfoptWarning             a result that is there, and something to be known of it
```
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

Location = tuple[str | int, ...]
# What the field, and TF-MOT, call what has another name here: spellings alone do not lead to it.
OTHER_NAMES = {
    "lr": "learning_rate",
    "eta": "learning_rate",
    "batch": "batch_size",
    "bs": "batch_size",
    "optim": "optimizer",
    "opt": "optimizer",
    "solver": "optimizer",
    "wd": "weight_decay",
    "criterion": "loss",
    "temp": "temperature",
    "include": "only",
    "exclude": "skip",
    "ignore": "skip",
    "final_sparsity": "sparsity",
    "target_sparsity": "sparsity",
    "amount": "sparsity",
    "begin_step": "begin",
    "end_step": "end",
    "pruning_schedule": "schedule",
    "sparsity_schedule": "schedule",
    "block_size": "block",
    "block_pooling_type": "block_pooling",
    "sparsity_m_by_n": "keep",
    "number_of_clusters": "clusters",
    "num_clusters": "clusters",
}
# What is no setting of its own but an argument of the optimizer.
OPTIMIZER_ARGUMENTS = ("learning_rate", "weight_decay", "momentum", "clipnorm")


class TfoptError(Exception):
    """Base of all errors of tfopt: one line that names the rule and the way out."""

    exit_code = 1
    log: Path | None = None
    """The log file with the libraries' output of the failed run."""
    unexpected = False
    """Whether it stands for an error that is not tfopt's own, whose traceback is at the end of the log."""
    in_cluster = False
    """Whether the process belongs to a dissolved cluster, for which libraries would wait when Python exits."""

    def reworded(self, message: str) -> Self:
        """The same error with another message, whatever its constructor takes."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.args = (message,)
        return other


class InputError(TfoptError):
    """An input that cannot work.

    Args:
        message: One line: the rule, what was received, the way out.
        field: Location of the cause in the recipe, such as `("optimizer",)`; the recipe turns it into file:line.
    """

    exit_code = 2

    def __init__(self, message: str, field: Location = ()):
        super().__init__(message)
        self.field = field


class RecipeError(InputError):
    """A recipe that cannot run.

    Args:
        problems: One `(location in the recipe, sentence)` for each mistake.
    """

    def __init__(self, problems: str | Sequence[tuple[Location, str]]):
        self.problems: list[tuple[Location, str]] = [((), problems)] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(sentence for _, sentence in self.problems), self.problems[0][0])


class ModelError(InputError):
    """A model that cannot be read, or that does not fit the settings."""


class DataError(InputError):
    """Data that is missing, broken, or does not fit the model."""


class TrainingError(TfoptError):
    """Training that cannot go on, such as a loss that is not a number."""


class ConversionError(TfoptError):
    """A model that the converter, the quantizer or LiteRT refuses."""

    options: tuple[tuple[str, str], ...] = ()
    """Settings in the message as a recipe has them, each with the options of the command that say the same."""


class TargetError(ConversionError):
    """A model, or a file of it, that the target of a conversion refuses, whatever the samples."""


class StorageError(TfoptError):
    """A folder that is in use, or that cannot be written."""


class InUseError(StorageError):
    """A folder that another run holds."""


# Errors of the operating system where a folder cannot be written or the disk is full, and those and others of a disk.
NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
DISK_FAULTS = (*NO_PLACE, errno.EIO, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ENXIO, errno.ENODEV)
_NO_TEMPORARY = "No usable temporary directory"
# Native code that gets no memory, as its errors say it; oneDNN's have its status 1, `dnnl_out_of_memory`.
_NO_MEMORY = (
    "std::bad_alloc",
    "OOM when allocating",
    "Cannot allocate memory",
    "failed to allocate memory",
    "Status: 1, message: could not create a primitive",
)
# TensorFlow's words for an id that an embedding does not have.
_NO_SUCH_ID = re.compile(r"indices(?:\[[\d,]*\])? = (-?\d+) is not in \[0, (\d+)\)")
# Faults of the machine: the same work may succeed on another one, or when there is space again.
MACHINE_FAULTS = (StorageError, OSError, MemoryError)


def storage_fault(error: BaseException) -> str | None:
    """What a fault of the disk is, without its stack; None of any other error."""
    if not isinstance(error, OSError):
        full = os.strerror(errno.ENOSPC)
        return full if full in str(error) else None  # TensorFlow's own errors have it in their text
    if error.errno in DISK_FAULTS:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
    if _NO_TEMPORARY in str(error):  # Python tries them all, and says only where
        return f"{error.strerror or error}: they are full or read-only"
    return None


def memory_fault(error: BaseException) -> str | None:
    """What an error says of memory that is full, empty where it says no more than that; None of any other error."""
    if isinstance(error, MemoryError):
        return str(error)
    return next((words for words in _NO_MEMORY if words in str(error)), None)


def id_fault(error: BaseException) -> str | None:
    """What TensorFlow says of an id that an embedding does not have, as a sentence; None of any other error."""
    found = _NO_SUCH_ID.search(str(error))
    if found is None:
        return None
    return (
        f"the data have the id {found[1]}, and the model looks up ids from 0 to {int(found[2]) - 1}. Correct the data, "
        "or build the model for more ids."
    )


def is_machine_fault(error: BaseException) -> bool:
    """Whether an error is a fault of the machine, in whosever words: Python's, TensorFlow's or the C++ library's."""
    return isinstance(error, MACHINE_FAULTS) or bool(storage_fault(error)) or memory_fault(error) is not None


class GateError(TfoptError):
    """An accuracy gate that was not met; every file was made all the same.

    Args:
        message: One line: which file is less accurate than was allowed, and by how much.
        artifacts: The artifacts of the run by the names of their stages.
        folder: The run's folder, with the artifacts and reports.
        result: What `tfopt.run` returns where all gates are met; None where no whole run stands behind the error.
    """

    exit_code = 3

    def __init__(
        self, message: str, artifacts: Mapping[str, Any] | None = None, folder: Path = Path(), result: Any = None
    ):
        super().__init__(message)
        self.artifacts, self.folder, self.result = dict(artifacts or {}), folder, result


class TfoptWarning(UserWarning):
    """Something to be known of a result that is there: one line with the cause and the way out."""


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that is spelled most like another, in whatever case; None where none is."""
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(str(word).lower(), names, n=1)
    return names[near[0]] if near else None


def did_you_mean_file(path: Path) -> str:
    """A sentence, after a space, with the file of the same folder that a missing one may mean; empty where none is.

    It has the same ending and a name that is spelled alike, or the same name with another ending.
    """
    try:
        there = sorted(path.parent.iterdir())
    except OSError:
        return ""
    near = nearest(path.stem, (other.stem for other in there if other.suffix == path.suffix))
    meant = near + path.suffix if near else next((other.name for other in there if other.stem == path.stem), None)
    return f" Did you mean {str(path.with_name(meant))!r}?" if meant else ""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The sentence that helps after an unknown word: the known one that means it, the nearest one, or all of them."""
    names = sorted(known)
    plain = str(word).lower().replace("-", "_")
    meant = OTHER_NAMES.get(plain, plain)
    if meant in names:
        return f"Did you mean {meant!r}?"
    if meant in OPTIMIZER_ARGUMENTS and "optimizer" in names:
        return f"It is the optimizer's: write optimizer: {{adam: {{{meant}: ...}}}}."
    near = nearest(word, names)
    return f"Did you mean {near!r}?" if near else f"Known: {', '.join(names)}."
