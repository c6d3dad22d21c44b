"""What a process that ends at one moment leaves on the disk, from the images that a recording took."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Remains:
    """What is left of a run.

    Args:
        kind: Why it ended there: `kill`, `torn write` or `power cut`.
        moment: The point, in words.
        first: The first of the points that leave the same.
        points: Number of points that leave the same.
        image: The folder's image.
        cut: Files that are shorter than in the image of the next point, each with its size and that image; for a
            power cut the files that the disk has nothing of, with size 0.
    """

    kind: str
    moment: str
    first: int
    points: int
    image: Path
    cut: tuple[tuple[str, int, Path], ...] = ()

    def put(self, folder: Path) -> None:
        """Puts what is left into a new folder."""
        if self.image.exists():  # not there before the run's first change
            shutil.copytree(self.image, folder, symlinks=True)
        for name, size, image in self.cut:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(image / name, folder / name)
            os.truncate(folder / name, size)


def points(images: Path) -> list[dict[str, Any]]:
    """The points of a recording, in order: what was about to be done, and to which path."""
    return [json.loads(line) for line in (images / "points.jsonl").read_text().splitlines()]


def read(images: Path) -> list[Remains]:
    """What is left at each point of a recording, in the midst of each write, and after a power cut."""
    found: dict[int, list[dict[str, Any]]] = {}
    for point in points(images):
        found.setdefault(point["image"], []).append(point)
    remains = []
    for number, same in found.items():
        image, after = images / str(number), images / str(number + 1)
        first, last = same[0], same[-1]
        remains.append(Remains("kill", f"before {_words(first)}", first["point"], len(same), image))
        opened = dict.fromkeys(str(point["path"]) for point in same if point["what"] == "open")
        sizes = {name: (after / name).stat().st_size for name in opened if (after / name).is_file()}
        for part in (0, 0.5):
            torn = tuple((name, int(size * part), after) for name, size in sizes.items() if size > 1)
            if torn:
                remains.append(
                    Remains("torn write", f"after {part:.0%} of {_words(last)}", last["point"], 1, image, torn)
                )
        lost = tuple((name, 0, image) for name in last["unsynced"] if (image / name).is_file())
        if lost:
            remains.append(Remains("power cut", f"before {_words(last)}", last["point"], 1, image, lost))
    return remains


def _words(point: dict[str, Any]) -> str:
    return f"point {point['point']}, {point['what']} of {point['path']}"
