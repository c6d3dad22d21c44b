"""Section on how each file is fed and read, with the code filled in."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.usage import Usage
from tfopt.report.blocks import Block, Code, Folded, Heading, Listing, OnPage, Paragraph, Table
from tfopt.report.result_path import result_path
from tfopt.report.section import Section


def blocks(artifact: Artifact) -> list[Block]:
    """Inputs and outputs with their grids and meanings; on the page the code in every language that runs the file."""
    from tfopt.deployment.snippet import SNIPPETS
    from tfopt.deployment.words import described

    found = recorded(artifact)
    if found is None:
        return []
    rows = [(side, *name.split(": ", 1), meaning) for side, name, meaning in described(found)]
    name = artifact.path.name
    entries = [entry for entry in SNIPPETS.values() if not entry.reason(found)]
    codes: list[Block] = [Folded(entry.about, [Listing(entry.code(found, name), entry.syntax)]) for entry in entries]
    path = result_path(artifact.folder.parent, artifact.folder.name, artifact.file)
    command = f"tfopt inspect {path} --snippet python"
    others = [entry.name for entry in entries if entry.name != "python"]
    said = ("The code that does it: ", Code(command), f"; or {', '.join(others)}." if others else ".")
    return [
        Heading(f"{artifact.name}: how to use the file"),
        Table(("side", "name", "type and shape", "what the numbers are"), rows, left=4),
        *([Paragraph(said)] if entries else []),
        OnPage(codes),
    ]


def recorded(artifact: Artifact) -> Usage | None:
    """How an artifact's file is fed and read; None where it was not recorded."""
    from tfopt.deployment.file_usage import with_arena

    found = artifact.details.of(Usage)
    return None if found is None else with_arena(found, artifact.metrics)


SECTION = Section("usage", "How to use the file", rank=14, of_artifact=blocks)
