"""The machine and the versions of packages that results depend on."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "tfopt",
    "tensorflow",
    "keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "litert-quantizer",
    "tflite-micro",
    "ethos-u-vela",
)


def environment() -> dict[str, str]:
    """Machine and versions that results depend on."""
    return {"python": platform.python_version(), "machine": platform.machine(), **_processor(), **versions()}


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The versions of packages that are installed; of those that results depend on if not given."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _processor() -> dict[str, str]:
    """The name of the processor, where Linux tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return {"processor": line.partition(":")[2].strip()}
    return {}
