"""Details of kernels that a runtime decodes at every run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfopt.recipe.details.detail import Detail


@dataclass(frozen=True)
class DecodedKernel:
    """A kernel in the decoded file.

    Args:
        layer: Paths of the layers of the ops that read it; the name of an op's output where they are not known.
        op: Name of the op.
        bytes: Bytes of the kernel, in the plain file and in RAM.
        stored_bytes: Bytes of the kernel with its tables in the decoded file.
        coding: Name of its coding; empty for a kernel that stays as it is.
        about: The coding in words, or why the kernel stays as it is.
    """

    layer: str
    op: str
    bytes: int
    stored_bytes: int
    coding: str
    about: str


@dataclass(frozen=True)
class DecodedKernels(Detail):
    """What decoding saves and costs, measured with the package tflite-micro on this machine.

    Args:
        kernels: The kernels that can be decoded, in the order of the file.
        plain: `flash_bytes`, `arena_bytes` and `microseconds` (median of a run) of the plain file.
        decoded: The same of the decoded file.
        version: Version of tflite-micro.
    """

    name: ClassVar[str] = "decoded_kernels"

    kernels: tuple[DecodedKernel, ...]
    plain: dict[str, float]
    decoded: dict[str, float]
    version: str

    @property
    def smaller(self) -> bool:
        """Whether some kernel is decoded."""
        return any(kernel.coding for kernel in self.kernels)
