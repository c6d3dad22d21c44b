"""Section on a file's measurements on the runtime of its target."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.export import TARGETS
from tfopt.report.markdown import headed
from tfopt.report.section import Section


def markdown(artifact: Artifact) -> list[str]:
    """Values measured on the target, such as memory, and the difference of the outputs from LiteRT's."""
    metrics, lines = artifact.metrics, []
    for target in TARGETS.values():
        if target.difference in metrics:
            words = [text.format(metrics[name]) for name, text in target.figures.items() if name in metrics]
            words += [f"largest difference from LiteRT {metrics[target.difference]:.3g}."]
            words[0] = words[0][0].upper() + words[0][1:]
            lines += headed(f"{artifact.name}: on {target.about}", "; ".join(words))
    return lines


SECTION = Section("on_target", rank=40, of_artifact=markdown)
