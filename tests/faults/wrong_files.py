"""Files that are not what their names say, by name: data, models, `.tflite` files and folders of results."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

X = np.random.default_rng(0).normal(size=(16, 6, 6, 1)).astype(np.float32)
Y = (np.arange(16) % 4).astype(np.int32)


def arrays(**changes: Any) -> bytes:
    """A data file whose arrays are whole but for the changes; None takes one away."""
    whole = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y, **changes}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in whole.items() if array is not None})
    return buffer.getvalue()


def archive(**members: bytes | str) -> bytes:
    """A zip archive of such members; two underscores in a name are its dot."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in members.items():
            made.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


def claimed(shape: str) -> bytes:
    """The bytes of an array whose header says that it has this shape."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\0" * 64


def changed(array: np.ndarray, place: Any, value: Any) -> np.ndarray:
    """An array with another value in a place."""
    copy = array.copy()
    copy[place] = value
    return copy


WHOLE = arrays()
STRUCTURED = np.zeros(16, dtype=[("a", "f4"), ("b", "i4")])
# What is wrong with a data file, and words of the line that says so.
DATA: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "empty": (b"", "data.npz"),
    "text": (b"x_train,y_train\n1,2\n", "data.npz"),
    "cut short": (WHOLE[: len(WHOLE) // 2], "data.npz"),
    "its end is missing": (WHOLE[:-30], "data.npz"),
    "its beginning is missing": (WHOLE[100:], "data.npz"),
    "zeros": (bytes(5000), "data.npz"),
    "a pickle": (b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94.", "data.npz"),
    "a gzip": (b"\x1f\x8b\x08\x00" + bytes(20), "data.npz"),
    "an archive of nothing": (archive(), "no arrays"),
    "an archive of texts": (archive(a__txt="hello"), "a.txt"),
    "an array that is text": (archive(x_train__npy="hello", y_train__npy="x"), "data"),
    "an array that claims terabytes": (archive(x_train__npy=claimed("(99999999999, 6, 6, 1)")), "data.npz"),
    "an array of a negative shape": (archive(x_train__npy=claimed("(-4, 6)")), "data.npz"),
    "an array of a shape that is code": (archive(x_train__npy=claimed("__import__('os')")), "data.npz"),
    "an array of a version to come": (archive(x_train__npy=b"\x93NUMPY\x09\x00" + bytes(64)), "data.npz"),
    "other names": (arrays(x_train=None, images=X), "x_train"),
    "no labels": (arrays(y_train=None), "y_train"),
    "no test split": (arrays(x_test=None, y_test=None), "x_test"),
    "no test labels": (arrays(y_test=None), "y_test"),
    "only labels": (arrays(x_train=None, x_test=None), "x_"),
    "an unequal number": (arrays(y_train=Y[:9]), "9"),
    "an unequal number of test samples": (arrays(y_test=Y[:9]), "9"),
    "no samples": (arrays(x_train=X[:0], y_train=Y[:0]), "train"),
    "no test samples": (arrays(x_test=X[:0], y_test=Y[:0]), "test"),
    "NaN": (arrays(x_train=changed(X, (3, 0, 0, 0), np.nan)), "train"),
    "infinity": (arrays(x_train=changed(X, (3, 0, 0, 0), np.inf)), "train"),
    "NaN in the test split": (arrays(x_test=changed(X, (3, 0, 0, 0), np.nan)), "test"),
    "NaN among labels": (arrays(y_train=changed(Y.astype("f4"), 2, np.nan)), "y"),
    "other images": (arrays(x_train=X[:, :5], x_test=X[:, :5]), "5"),
    "other test images": (arrays(x_test=X[:, :5]), "5"),
    "colour": (arrays(x_train=np.repeat(X, 3, -1), x_test=np.repeat(X, 3, -1)), "3"),
    "vectors": (arrays(x_train=X.reshape(16, 36)[:, :30], x_test=X.reshape(16, 36)[:, :30]), "30"),
    "single numbers": (arrays(x_train=np.float32(1), x_test=np.float32(1)), "samples"),
    "texts": (arrays(x_train=np.full((16, 1), "a"), x_test=np.full((16, 1), "a")), "x"),
    "objects": (arrays(x_train=np.array([{}] * 16, dtype=object)), "data.npz"),
    "ragged lists": (arrays(x_train=np.array([[1]] * 15 + [[1, 2]], dtype=object)), "data.npz"),
    "dates": (arrays(x_train=np.full((16, 6, 6, 1), np.datetime64("2026-01-01"))), "x"),
    "complex numbers": (arrays(x_train=X.astype(complex), x_test=X.astype(complex)), "x"),
    "structures": (arrays(x_train=STRUCTURED, x_test=STRUCTURED), "x"),
    "a label too high": (arrays(y_train=changed(Y, 3, 4)), "4"),
    "a negative label": (arrays(y_train=changed(Y, 3, -1)), "-1"),
    "a label too high in the test split": (arrays(y_test=changed(Y, 3, 9)), "9"),
    "one-hot labels": (arrays(y_train=np.eye(4)[Y], y_test=np.eye(4)[Y]), "categorical"),
    "labels of text": (arrays(y_train=np.array(["a", "b"] * 8), y_test=np.array(["a", "b"] * 8)), "y"),
    "fractions for classes": (arrays(y_train=Y + 0.5, y_test=Y + 0.5), "whole class ids"),
    "labels of two columns": (arrays(y_train=np.stack([Y, Y], 1), y_test=np.stack([Y, Y], 1)), "2"),
}


def saved(model: Any, ending: str, folder: Path) -> bytes:
    """The bytes of a model's file."""
    file = folder / f"saved.{ending}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras would rather have no .h5
        model.save(file)
    return file.read_bytes()


def with_config(content: bytes, change: Callable[[Any], Any]) -> bytes:
    """A `.keras` file with another config."""
    with zipfile.ZipFile(io.BytesIO(content)) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    members["config.json"] = json.dumps(change(json.loads(members["config.json"]))).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, member in members.items():
            made.writestr(name, member)
    return buffer.getvalue()
