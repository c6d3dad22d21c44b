"""Section on the agreement of files on LiteRT with the Keras models that they were made from."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.report.blocks import Block, Bullets, Heading
from tfopt.report.section import Section
from tfopt.report.units import share


def blocks(artifact: Artifact) -> list[Block]:
    """A line for each file that a stage compared."""
    compared = comparisons(artifact)
    return [Heading(f"{artifact.name}: on LiteRT against the Keras models"), Bullets(compared)] if compared else []


def comparisons(artifact: Artifact) -> list[str]:
    """One sentence for each file that was compared with its Keras model."""
    sentences = []
    for name, m in artifact.files.items():
        parts = [f"same class for {share(m['agreement'])} of the test samples"] if "agreement" in m else []
        parts += [f"largest difference {m['max_error']:.3g}"] if "max_error" in m else []
        parts += [f"SNR {m['snr_db']:.1f} dB"] if "snr_db" in m else []
        parts += [f"drop {m['drop']:+.4f}"] if "drop" in m else []
        sentences += [f"{name}: {', '.join(parts)}"] if parts else []
    return sentences


SECTION = Section("comparisons", "On LiteRT against the Keras models", rank=13, of_artifact=blocks)
