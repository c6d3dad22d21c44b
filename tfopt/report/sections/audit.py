"""Section on the audit of a file: bytes and zeros of each op with a kernel."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import Audit
from tfopt.report.markdown import headed, table
from tfopt.report.quantization import AUDIT, audit_cells
from tfopt.report.section import Section


def markdown(artifact: Artifact) -> list[str]:
    """A row for each op with a kernel; and loops and TensorFlow ops, if there are any."""
    audit = artifact.details.of(Audit)
    if not audit:
        return []
    lines = headed(f"{artifact.name}: bytes by layer", *table(AUDIT, map(audit_cells, audit.rows), left=len(AUDIT)))
    for names, what in ((audit.loops, "Loops"), (audit.flex, "Ops that LiteRT does not have")):
        lines += ["", f"{what}: {', '.join(names)}."] if names else []
    return lines


SECTION = Section("audit", rank=50, of_artifact=markdown)
