"""The versions of the packages that tfopt needs, held against those that are installed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement


def warn_of_old_versions() -> None:
    """Says in one line which packages are older than tfopt's own metadata allows.

    pip holds the bounds when tfopt is installed; what is installed after it may replace a package by an older one.
    """
    outdated = list(_outdated())
    if outdated:
        from tfopt.errors import TfoptWarning

        needed = " ".join(f"'{requirement.name}{requirement.specifier}'" for requirement, _ in outdated)
        received = ", ".join(f"{requirement.name} {found}" for requirement, found in outdated)
        message = f"tfopt needs newer releases: pip install --upgrade {needed}. Received: {received}."
        warnings.warn(message, TfoptWarning, stacklevel=3)


def _outdated() -> Iterator[tuple[Requirement, str]]:
    """Each requirement that is not met, with the version that is installed."""
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
