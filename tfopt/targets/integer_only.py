"""`int_only`: accelerators and chips without floating point; every op of a file has to compute in integers."""

from __future__ import annotations

from collections.abc import Iterator

from tfopt.recipe.device_cost import FileAudit
from tfopt.recipe.export import Export
from tfopt.recipe.target import Target


def _refusals(export: Export) -> Iterator[str]:
    if export.io == "float32":
        yield "target int_only has integer inputs and outputs alone. Leave io out"
    if any(rule.to == "float" for rule in export.rules):
        yield "target int_only computes in integers alone: no rule can lead to float"


def _file_refusals(audit: FileAudit) -> Iterator[str]:
    if audit.floating:
        yield (
            f"target int_only computes in integers alone, and {len(audit.floating)} ops would stay in float: "
            f"{', '.join(audit.floating[:3])}. Write the layer with others, or take target litert"
        )


INTEGER_ONLY = Target(
    name="int_only",
    about="accelerators and chips that compute in integers alone",
    runs=lambda mode: mode.static,
    refusals=_refusals,
    file_refusals=_file_refusals,
    highest_precision="int16",
    refuses="anything that computes in floating point, inputs and outputs too",
    rank=30,
)
