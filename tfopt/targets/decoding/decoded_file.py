"""Chooses for each kernel of a file the coding of the fewest bytes, or none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tfopt.recipe.decode import CODINGS, Decode
from tfopt.targets.decoding import stored_kernels, writer
from tfopt.targets.decoding.kernel import Encoded, Kernel
from tfopt.targets.decoding.stored_kernels import StoredKernel
from tfopt.targets.memo import Memo
from tfopt.tflite.file import parse

# Bytes by which the graph of a file grows for a kernel that is decoded, about; whether one that saves about so much is
# worth it shows in the file's own bytes.
GRAPH_BYTES, UNSURE_BYTES = 150, 120


@dataclass(frozen=True)
class DecodedFile:
    """A file whose kernels TFLM decodes.

    Args:
        content: Bytes of the file; those of the plain file where no coding makes it smaller.
        plain_bytes: Size of the plain file.
        chosen: The coding of each kernel that is decoded.
        kept: Why kernels stay as they are, for each that does.
    """

    content: bytes
    plain_bytes: int
    chosen: Mapping[StoredKernel, Encoded]
    kept: Mapping[StoredKernel, str]


def least(kernel: Kernel, codings: Iterable[str] | None = None) -> Encoded | None:
    """The coding of a kernel with the fewest bytes, the first one of equal ones; None where it has none.

    Args:
        kernel: The kernel.
        codings: Names of the codings to choose from; all, if not given.
    """
    options = [CODINGS[name].encode(kernel) for name in CODINGS if codings is None or name in codings]
    return min((option for option in options if option is not None), key=lambda option: option.bytes, default=None)


def decoded(content: bytes, settings: Decode | None = None) -> DecodedFile:
    """Encodes the kernels of a file for TFLM, those for which that makes the whole file smaller. Nothing is run.

    Args:
        content: Bytes of a `.tflite`.
        settings: The largest kernel to decode, and the codings to choose from; no limit and all, if not given.

    Raises:
        ModelError: The content is not a TFLite file.
    """
    settings = settings or Decode()
    digest = hashlib.sha256(content).digest()
    return _DECODED.of((digest, settings), lambda: _decoded(content, settings))


# Kernels are kept with the files.
_DECODED: Memo[DecodedFile] = Memo(lambda file: 2 * file.plain_bytes + len(file.content))


def _decoded(content: bytes, settings: Decode) -> DecodedFile:
    content, model = parse(content)
    kept: dict[StoredKernel, str] = {}
    options: dict[StoredKernel, Encoded] = {}
    for kernel in stored_kernels.find(model):
        found = None if settings.ram and kernel.bytes > settings.ram else least(kernel.kernel, settings.codings)
        if found is None:
            kept[kernel] = "larger than ram allows" if settings.ram and kernel.bytes > settings.ram else "no coding"
        else:
            options[kernel] = found
    best, chosen = _chosen(content, options)
    kept |= {kernel: "no coding is smaller" for kernel in options if kernel not in chosen}
    return DecodedFile(best, len(content), chosen, kept)


def _chosen(content: bytes, options: Mapping[StoredKernel, Encoded]) -> tuple[bytes, dict[StoredKernel, Encoded]]:
    """The smallest file, and the kernels that are encoded in it."""

    def saved(kernel: StoredKernel) -> int:
        return kernel.bytes - options[kernel].bytes - GRAPH_BYTES

    ordered = sorted(options, key=saved, reverse=True)  # stable, so that equal ones stay in the order of the file
    chosen = {kernel: options[kernel] for kernel in ordered if saved(kernel) > 0}
    smallest = writer.write(content, chosen) if chosen else content
    for kernel in ordered:
        if abs(saved(kernel)) > UNSURE_BYTES:
            continue
        other = {each: options[each] for each in ordered if (each in chosen) != (each is kernel)}
        tried = writer.write(content, other) if other else content
        if len(tried) < len(smallest):
            smallest, chosen = tried, other
    return (smallest, chosen) if len(smallest) < len(content) else (content, {})


def flash_bytes(content: bytes, settings: Decode | None = None) -> int:
    """The size of a file as it is flashed with its kernels decoded at every run; nothing is run."""
    return len(decoded(content, settings).content)


def kernel_bytes(kernel: Kernel, codings: Iterable[str] | None = None) -> int:
    """Bytes of a kernel in a file, about: in its best coding with what the graph grows by, or as it is."""
    found = least(kernel, codings)
    plain = kernel.values.nbytes
    return plain if found is None else min(plain, found.bytes + GRAPH_BYTES)
