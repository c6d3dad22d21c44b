"""Section on the agreement of files on LiteRT with the Keras models that they were made from."""

from __future__ import annotations

from collections.abc import Mapping

from tfopt.recipe.artifact import TRAINED, Artifact
from tfopt.report.blocks import Block, Bullets, Heading, Paragraph
from tfopt.report.section import Section
from tfopt.report.units import share

EXPLAINED = (
    "What conversion alone changed: each file against the Keras model that it was made from. SNR is the signal-"
    "to-noise ratio of the file's outputs in decibels: more is better, and at 20 dB the error is a tenth of the values."
)


def blocks(artifacts: Mapping[str, Artifact]) -> list[Block]:
    """A line for each file that a stage compared."""
    found: list[Block] = []
    for name, artifact in artifacts.items():
        if compared := comparisons(artifact, artifacts):
            found += [Heading(f"{name}: on LiteRT against the Keras models"), Paragraph(EXPLAINED), Bullets(compared)]
    return found


def comparisons(artifact: Artifact, artifacts: Mapping[str, Artifact]) -> list[str]:
    """One sentence for each file that was compared with its Keras model, which it names."""
    sentences = []
    for name, m in artifact.files.items():
        parts = [f"same class for {share(m['agreement'])} of the test samples"] if "agreement" in m else []
        parts += [f"largest difference {m['max_error']:.3g}"] if "max_error" in m else []
        parts += [f"SNR {m['snr_db']:.1f} dB"] if "snr_db" in m else []
        sentences += [f"{name} against {_origin(artifacts.get(name))}: {', '.join(parts)}"] if parts else []
    return sentences


def _origin(file: Artifact | None) -> str:
    """The Keras model that a file was made from: the one that training for it has left beside it, or its parent."""
    if file is None or not file.parents:
        return "its Keras model"
    return f"the model trained in {file.name}" if (file.folder / TRAINED).exists() else file.parents[0]


SECTION = Section("comparisons", "On LiteRT against the Keras models", rank=13, of_run=blocks)
