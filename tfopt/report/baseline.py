"""The model one starts from, which every result is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfopt.recipe.artifact import SOURCE, Artifact


@dataclass(frozen=True)
class Baseline:
    """The model one starts from.

    Args:
        name: Name of its artifact.
        scores: Its metrics on the test split by name.
        raw_bytes: Size of its float32 file in bytes; None where it was not converted.
        gzip_bytes: Size of that file after gzip -9 in bytes.
        latency_median_seconds: Median latency of that file in seconds.
    """

    name: str
    scores: Mapping[str, float]
    raw_bytes: float | None = None
    gzip_bytes: float | None = None
    latency_median_seconds: float | None = None


def baseline_of(artifacts: Mapping[str, Artifact]) -> Baseline | None:
    """The model one starts from: the first trained one, else the source; None where it was not scored."""
    scored = [a for a in artifacts.values() if a.format == "keras" and a.scores and not a.files]
    first = next((a for a in scored if a.kind == SOURCE), scored[0] if scored else None)
    if first is None:
        return None
    measured: dict[str, float] = {}
    for name, artifact in artifacts.items():
        if artifact.kind == "quantize" and artifact.parents[:1] == (first.name,):
            found = dict(artifact.metrics)
            for other in artifacts.values():
                found.update(other.files.get(name, {}))
            if name == "float32":
                measured = found
    sizes = {key: measured.get(key) for key in ("raw_bytes", "gzip_bytes", "latency_median_seconds")}
    return Baseline(first.name, {name: first.metrics[name] for name in first.scores}, **sizes)
