"""Section on the targets' own files: what they cost there, as a whole and by layer."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.report.blocks import Block, Bullets, Facts, Heading, Link, Paragraph
from tfopt.report.on_device import facts, files, layer_table, named
from tfopt.report.section import Section
from tfopt.report.units import bytes_


def blocks(artifact: Artifact) -> list[Block]:
    """The figures of each target, its own file, and the table by layer."""
    found: list[Block] = []
    for file in files(artifact):
        found.append(Heading(f"{artifact.name}: on {named(file.target)}"))
        found.append(Facts(facts(file)))
        if file.file:
            path = f"{artifact.name}/{file.file}"
            digest = f": {bytes_(file.bytes)}, sha256 {file.sha256}"
            found.append(Paragraph(("What a device is given is ", Link(path, path), digest)))
        found += [Bullets(file.notes)] if file.notes else []
        table = layer_table(file)
        found += [table] if table else []
    return found


SECTION = Section("device_files", "On the device", rank=17, of_artifact=blocks)
