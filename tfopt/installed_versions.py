"""The versions of the packages that tfopt needs, held against those that are installed."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_INFO = ".dist-info"


def warn_of_old_versions() -> None:
    """Says in one line which packages are older than tfopt's own metadata allows.

    pip holds the bounds when tfopt is installed; what is installed after it may replace a package by an older one.
    """
    if _new_enough_by_name():
        return
    outdated = list(_outdated())
    if outdated:
        from tfopt.errors import TfoptWarning

        needed = " ".join(f"'{requirement.name}{requirement.specifier}'" for requirement, _ in outdated)
        received = ", ".join(f"{requirement.name} {found}" for requirement, found in outdated)
        message = f"tfopt needs newer releases: pip install --upgrade {needed}. Received: {received}."
        warnings.warn(message, TfoptWarning, stacklevel=3)


def _new_enough_by_name() -> bool:
    """Whether the names of the folders with metadata tell that all is new enough; False where they leave a doubt.

    It is asked at every import of tfopt, and takes a tenth of the time that `importlib.metadata` and `packaging` take
    to be imported.
    """
    folders = _metadata_folders()
    own = folders.get("tfopt")
    if own is None:
        return False
    try:
        text = own.joinpath("METADATA").read_text(encoding="utf-8")
    except OSError:
        return False
    headers = text.partition("\n\n")[0].splitlines()
    lines = [line.removeprefix("Requires-Dist:") for line in headers if line.startswith("Requires-Dist:")]
    return all(_meets(line, folders) for line in lines)


def _metadata_folders() -> dict[str, Path]:
    """The folder with the metadata of each package on the path, by the package's normalized name."""
    found: dict[str, Path] = {}
    for place in sys.path:
        try:
            entries = os.listdir(place or ".")
        except OSError:  # an archive, or nothing
            continue
        for entry in entries:
            if entry.endswith(_INFO):
                found.setdefault(_normalized(entry.partition("-")[0]), Path(place, entry))
    return found


def _meets(line: str, folders: dict[str, Path]) -> bool:
    """Whether a requirement is met beyond doubt: of an extra, or a lower bound in plain numbers that is kept."""
    requirement, _, marker = line.partition(";")
    if "extra ==" in marker:
        return True
    name, _, bound = requirement.partition(">=")
    folder = folders.get(_normalized(name.strip()))
    if folder is None:
        return False
    found, least = _numbers(folder.name.removesuffix(_INFO).partition("-")[2]), _numbers(bound.strip())
    return bool(found and least) and found >= least


def _numbers(version: str) -> tuple[int, ...]:
    """A final release as numbers; empty for a preview, a development release, or several bounds."""
    parts = version.partition("+")[0].split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()


def _normalized(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _outdated() -> Iterator[tuple[Requirement, str]]:
    """Each requirement that is not met, with the version that is installed."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    try:
        lines = requires("tfopt") or []
    except PackageNotFoundError:  # a checkout on the path, not installed
        return
    for requirement in map(Requirement, lines):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:  # its own import says so
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            yield requirement, found
