"""Section on the kits that were written for a device's project."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.kit import ExportedKits
from tfopt.report.blocks import Block, Heading, Paragraph, Table
from tfopt.report.section import Section
from tfopt.report.units import bytes_


def blocks(artifact: Artifact) -> list[Block]:
    """The folder of each kit, with what is flashed, its arena, and what its golden vectors are from."""
    found = artifact.details.of(ExportedKits)
    if found is None:
        return []
    rows = [
        (
            f"{artifact.name}/{kit.folder}",
            f"{kit.flashed}, {bytes_(kit.flashed_bytes)}",
            "-" if kit.not_on_tflm else f"{bytes_(kit.arena_bytes)}{'' if kit.arena_measured else ' (an estimate)'}",
            f"{kit.vectors}, {kit.runtime}",
        )
        for kit in found.kits.values()
    ]
    reasons = [f"{name} has no code for microcontrollers: {kit.not_on_tflm}." for name, kit in found.kits.items()]
    missing = [Paragraph(reason) for reason, kit in zip(reasons, found.kits.values(), strict=True) if kit.not_on_tflm]
    table = Table(("kit", "file to flash", "tensor arena", "golden vectors"), rows, left=4)
    return [Heading(f"{artifact.name}: kits to flash"), table, *missing]


SECTION = Section("kits", "Kits to flash", rank=20, of_artifact=blocks)
