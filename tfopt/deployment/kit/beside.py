"""Files that a conversion has written beside each other: a `.tflite`, and what was made of it for a device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tfopt.errors import InputError
from tfopt.recipe.target import TARGETS
from tfopt.targets.vela_file import accelerator
from tfopt.tflite.ops import DECODE, DEVICE_OPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tfopt.recipe.details.usage import Usage


@dataclass(frozen=True)
class DeviceForm:
    """A file that was made for a device of a `.tflite`.

    Args:
        target: The target.
        file: The file.
        figures: What was measured of it.
        notes: What has to be known of it, each a line.
        doubt: Why it may have been made of another file, in a line; empty where nothing says so.
    """

    target: str
    file: Path
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    doubt: str = ""


def plain_of(file: Path) -> Path:
    """The `.tflite` that a kit is made of: the file itself, or for one of a device the file that it was made of.

    Raises:
        InputError: The file is for a device, and the one that it was made of is not beside it.
    """
    from tfopt.deployment.file_usage import usage

    if not (own := device_op(usage(file))):
        return file
    stem, dot, suffix = file.stem.rpartition(".")
    named = dot and suffix in _suffixes()
    plain = file.with_name(f"{stem}.tflite")
    if named and plain.is_file():
        return plain
    way = f"Put {plain.name} beside it." if named else "Give that, with this one as X.vela.tflite."
    raise InputError(
        f"a file with {own} is for a device alone, and a kit has outputs of the X.tflite that it was made of. "
        f"{way} Received: {file}."
    )


def forms_beside(plain: Path, found: Usage) -> dict[str, DeviceForm]:
    """The files for devices beside a `.tflite` that is of no run, by target.

    Args:
        plain: The `.tflite`.
        found: How it is fed and read.

    Raises:
        InputError: A file has the name of one for a device, and was made of another file.
    """
    return {form.target: form for form in _forms(plain, found)}


def _forms(plain: Path, found: Usage) -> Iterator[DeviceForm]:
    from tfopt.deployment.file_usage import usage

    for suffix in _suffixes():
        file = plain.with_name(f"{plain.stem}.{suffix}.tflite")
        if not file.is_file():
            continue
        if not (target := _target(file, suffix)):
            continue  # a .tflite that has the name by chance
        if _ends(usage(file)) != _ends(found):
            raise InputError(
                f"{file.name} was not made of {plain.name}: their inputs or outputs differ. Convert again, or take "
                f"{plain.name} alone with target tflite. Received: {file}."
            )
        older = file.stat().st_mtime < plain.stat().st_mtime
        doubt = f"{file.name} is older than {plain.name}: convert again if it was not made of it." if older else ""
        yield DeviceForm(target, file, doubt=doubt)


def _target(file: Path, suffix: str) -> str:
    """The target that a file is for; empty for a file that is for none."""
    from tfopt.deployment.file_usage import usage

    content = file.read_bytes()
    if not (own := device_op(usage(content))):
        return ""
    able = [target.name for target in TARGETS.values() if target.suffix == suffix]
    if (named := accelerator(content)) in able:
        return named
    return able[0] if own == DECODE and len(able) == 1 else ""


def device_op(found: Usage) -> str:
    """The op of a file that LiteRT has not; empty where it has all."""
    return next((op for op in DEVICE_OPS if op in found.ops), "")


def _suffixes() -> dict[str, None]:
    """What stands before `.tflite` in the names of files for devices."""
    return dict.fromkeys(target.suffix for target in TARGETS.values() if target.suffix)


def _ends(found: Usage) -> list[tuple[object, ...]]:
    """The types, shapes and grids of a file's inputs and outputs."""
    sides = (sorted(side, key=lambda end: end.place) for side in (found.inputs, found.outputs))
    return [(end.dtype, end.fixed_shape, round(end.scale, 9), end.zero_point) for side in sides for end in side]
