"""Keras models as bytes: HDF5 ends the process where it cannot write a file to the disk, so it is given memory alone.

A disk that fills up while h5py holds a file open crashes Python when the file is closed, which no `try` catches
(github.com/h5py/h5py/issues/914).
"""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from typing import Any

from tfopt.errors import StorageError
from tfopt.models.model_config import CONFIG, METADATA

# The date of a file and of what is in it: the same model gives the same bytes whenever it is saved.
_DATE = "1980-01-01@00:00:00"
# Archives have no earlier dates, and Keras gives a file the date that it is.
_FIRST_YEAR = 1980


class _Memory(io.BytesIO):
    """A file in memory with a name, by whose end Keras tells what to write to it, or read."""

    def __init__(self, name: str, content: bytes = b""):
        super().__init__(content)
        self._name = name

    def __str__(self) -> str:
        return self._name


def keras_file(model: Any) -> bytes:
    """The bytes of a model's `.keras` file: the same for the same model, whatever the time.

    Raises:
        StorageError: The clock is at a date that no archive can have, as where nothing has set it yet.
    """
    import keras

    if time.localtime().tm_year < _FIRST_YEAR:
        raise StorageError(f"no .keras file can be written before the year {_FIRST_YEAR}. Set this machine's clock.")
    saved, dated = _Memory("model.keras"), io.BytesIO()
    keras.saving.save_model(model, saved)
    with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(dated, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name == METADATA:
                content = json.dumps({**json.loads(content), "date_saved": _DATE}).encode()
            elif name == CONFIG:
                content = _numbered(content)
            copy.writestr(zipfile.ZipInfo(name), content)
    return dated.getvalue()


def _numbered(config: bytes) -> bytes:
    """A config whose shared objects are numbered in their order; Keras numbers them by their place in memory."""
    numbers: dict[bytes, int] = {}

    def number(found: re.Match[bytes]) -> bytes:
        return b"%s%d" % (found[1], numbers.setdefault(found[2], len(numbers) + 1))

    return re.sub(rb'("shared_object_id": )(\d+)', number, config)


def weights_file(model: Any) -> bytes:
    """The bytes of a model's `.weights.h5`, with its optimizer's variables."""
    saved = _Memory("model.weights.h5")
    model.save_weights(saved)
    return saved.getvalue()


def load_weights(model: Any, content: bytes) -> None:
    """Reads what `weights_file` has written into a model.

    Raises:
        ValueError, KeyError: They are of another model, which may have taken a part of them.
    """
    model.load_weights(_Memory("model.weights.h5", content))
