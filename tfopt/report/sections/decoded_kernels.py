"""Section on kernels that a microcontroller decodes at every run."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.decoding import DecodedKernels
from tfopt.report.blocks import Block, Bullets, Heading, Table
from tfopt.report.decoding import DECODED, decoded_cells, decoding_sentences
from tfopt.report.section import Section


def blocks(artifact: Artifact) -> list[Block]:
    """What decoding saves and costs, and the coding of each kernel."""
    found = artifact.details.of(DecodedKernels)
    if not found:
        return []
    rows = [decoded_cells(row) for row in found.kernels]
    head: list[Block] = [Heading(f"{artifact.name}: kernels decoded on TFLM"), Bullets(decoding_sentences(found))]
    return [*head, Table(DECODED, rows, left=2)] if rows else head


SECTION = Section("decoded_kernels", "Decoded kernels", rank=19, of_artifact=blocks)
