"""Files of arrays from anywhere: no more is read than they hold, and nobody is advised to unpickle them."""

import io
import struct
import zipfile

import numpy as np
import pytest

from tfopt.data.array_files import read_arrays
from tfopt.data.input_source import InputSource
from tfopt.errors import DataError


def npy(header, version=1):
    text = header.encode() + b"\n"
    size = struct.pack("<H", len(text)) if version == 1 else struct.pack("<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text


def zipped(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(f"{name}.npy", member)
    return content.getvalue()


HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000), }"
FILES = {
    "text": (b"x,y\n1,2\n", r"it begins with b'x,y\\n1,2\\n'"),
    "long header": (npy("{" + " " * 20_000 + "}", version=2), "its header is damaged"),
    "no header": (npy("nothing"), "not a whole"),
    "more numbers than there are": (npy(HUGE), "not a whole"),
    "the same in an archive": (zipped(x_train=npy(HUGE)), "not a whole"),
    "another member": (zipped(x_train=b"not an array"), "'x_train' in it is no array"),
    "nothing in it": (zipped(), "has no arrays in it"),
}


@pytest.mark.parametrize("kind", FILES)
def test_what_is_no_file_of_arrays_is_one_line(tmp_path, kind):
    content, words = FILES[kind]
    path = tmp_path / "d.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_arrays(path)
    assert len(str(caught.value).splitlines()) == 1
    assert "pickle" not in str(caught.value)


def test_an_archive_that_claims_a_thousand_times_its_size_is_refused_before_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "d.npz").write_bytes(zipped(x_train=bytes(2**20)))
    monkeypatch.setattr("tfopt.data.array_files._FLOOR", 2**19)
    with pytest.raises(DataError, match="its members claim 1,048,576 B"):
        read_arrays(tmp_path / "d.npz")


def test_a_device_is_no_file_of_arrays(tmp_path):
    (tmp_path / "d.npz").symlink_to("/dev/zero")
    for read in (read_arrays, lambda path: InputSource(str(path)), lambda path: InputSource(f"npz:{path}")):
        with pytest.raises(DataError, match="device or a pipe"):
            read(tmp_path / "d.npz")


def test_no_samples_are_said_to_be_none(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((0, 4), np.float32))
    with pytest.raises(DataError, match=r"x\.npy has 0 samples\."):
        InputSource(str(tmp_path / "x.npy"))


@pytest.mark.parametrize("name", ["x.npy", "named.npz", "labelled.npz"])
def test_every_sample_of_a_file_is_checked_and_told_by_its_row(tmp_path, name):
    x, y = np.ones((300, 4), np.float32), np.zeros(300)
    x[271, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "named.npz", a=x, b=y)
    splits = {
        f"{part}_{split}": array for split in ("train", "validation", "test") for part, array in (("x", x), ("y", y))
    }
    np.savez(tmp_path / "labelled.npz", **splits)
    with pytest.raises(DataError, match=r"has a NaN or infinite value in sample 271\."):
        InputSource(str(tmp_path / name)).take({}, 2)


def test_a_single_number_is_no_sample(tmp_path):
    np.save(tmp_path / "x.npy", np.float32(3))
    with pytest.raises(DataError, match="a single number"):
        InputSource(str(tmp_path / "x.npy"))
