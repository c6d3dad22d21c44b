"""What the HDF5 file of a model's weights leads to: to nothing but itself, and to no more bytes than it holds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

# A dataset above so many bytes has at least a thousandth of them in the file.
_FLOOR, _EXPANSION = 2**26, 1000


def check_links(file: Path | BinaryIO) -> None:
    """Refuses weights that are read from elsewhere, or that are made up when they are read.

    HDF5 can keep a dataset in any other file, and can give the shape of one that is not there.

    Args:
        file: An HDF5 file, or its bytes.

    Raises:
        ValueError: There is such a dataset, or the file is damaged.
    """
    import h5py

    seen = set()
    try:
        with h5py.File(file) as root:
            queue = [root["/"]]
            while queue:
                group = queue.pop()
                for name in group:
                    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                        raise ValueError(f"its {_place(group, name)} is a link, and weights are in the file itself")
                    part = group[name]
                    place = h5py.h5o.get_info(part.id).addr
                    if place not in seen:
                        seen.add(place)
                        queue += [part] if isinstance(part, h5py.Group) else []
                        _check_dataset(part, _place(group, name))
    except (KeyError, OSError, RuntimeError, TypeError) as error:
        raise ValueError("it is cut short, or damaged") from error


def _check_dataset(part: Any, name: str) -> None:
    import h5py

    if not isinstance(part, h5py.Dataset):
        return
    if part.external or part.is_virtual:
        raise ValueError(f"its {name} is in another file, and weights are in the file itself")
    claimed, stored = math.prod(part.shape or ()) * part.dtype.itemsize, part.id.get_storage_size()
    if claimed > _FLOOR and claimed > _EXPANSION * stored:
        raise ValueError(f"its {name} claims {claimed:,} B, of which {stored:,} B are there")


def _place(group: Any, name: str) -> str:
    return f"{group.name.rstrip('/')}/{name}"[:120]
