"""The model card of a kit that has no run's own: Markdown in the form of the Hugging Face hub.

References:
    The model cards of the hub, huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

from collections.abc import Iterator

from tfopt.deployment.kit.model import KitModel
from tfopt.deployment.words import decision, described, shape
from tfopt.markdown_text import escaped

_SIZES = {"raw_bytes": "bytes", "gzip_bytes": "bytes after gzip -9", "arena_bytes": "tensor arena, bytes"}


def model_card(model: KitModel) -> str:
    """The card."""
    return "\n".join([*_metadata(model), "", f"# {escaped(model.name)}", "", *_body(model), ""])


def _metadata(model: KitModel) -> Iterator[str]:
    yield "---"
    yield "# The license is yours to choose: https://huggingface.co/docs/hub/repositories-licenses"
    yield "license: unknown"
    yield "library_name: litert"
    yield "tags: [tflite]"
    yield "---"


def _body(model: KitModel) -> Iterator[str]:
    usage = model.usage
    yield f"A .tflite file for LiteRT, {len(model.content):,} bytes, made by tfopt."
    yield ""
    yield "## Intended use"
    yield ""
    yield f"- takes {', '.join(f'{escaped(end.name)} ({shape(end)})' for end in usage.inputs)}"
    yield f"- gives {', '.join(f'{escaped(end.name)} ({decision(end) or shape(end)})' for end in usage.outputs)}"
    yield ""
    yield "[More Information Needed]"
    yield ""
    yield "## Training data"
    yield ""
    yield "[More Information Needed]"
    figures = [(name, name, f"{model.figures[name]:.4f}") for name in model.scores if name in model.figures]
    figures += [(name, words, f"{model.figures[name]:,.0f}") for name, words in _SIZES.items() if name in model.figures]
    if figures:
        yield ""
        yield "## Evaluation"
        yield ""
        yield "Metrics are of the test split, of the .tflite on the LiteRT runtime."
        yield ""
        yield from (f"- {escaped(words)}: {value}" for _, words, value in figures)
    yield ""
    yield "## How to use it"
    yield ""
    yield from (f"- {side} {escaped(name)}: {escaped(meaning)}" for side, name, meaning in described(usage))
    if model.lineage:
        yield ""
        yield "## How it was made"
        yield ""
        yield from (f"{number}. {escaped(step)}" for number, step in enumerate(model.lineage, 1))
