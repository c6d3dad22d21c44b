"""The YAML of a first recipe, with remarks on what was seen and what may be changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tfopt.drafting.goals import CHANNELS, TRAIN, Stages
from tfopt.plain_text import one_line
from tfopt.recipe.yaml_text import yaml_text

# Columns of a line, and the one that remarks begin in where the line before them is shorter.
_WIDTH, _REMARKS = 120, 46


@dataclass(frozen=True)
class Field:
    """A field of a recipe.

    Args:
        name: Its name.
        value: Its value.
        remark: What stands beside it.
        above: Lines that stand above it.
    """

    name: str
    value: Any
    remark: str = ""
    above: Sequence[str] = ()


def recipe_text(head: Sequence[str], fields: Sequence[Field], stages: Stages, more: Sequence[str]) -> str:
    """The text of a recipe.

    Args:
        head: Lines of remarks at its head; the first is that for language servers.
        fields: Its fields without the stages.
        stages: Its stages.
        more: Stages that are not in it, as remarks at its end.
    """
    lines = [_comment(line) for line in head]
    for field in fields:
        lines += [_comment(line) for line in field.above]
        lines += _remarked(flow(field.name, field.value), field.remark)
    lines += [
        "stages:",
        "  # The baseline needs no stage: it is measured in float32, and every file is compared with it.",
    ]
    for kind, settings, remark in stages:
        lines += _remarked(f"  - {flow(kind, settings)}", remark)
    lines += [f"  {_comment(line)}" for line in more]
    return "\n".join(lines) + "\n"


def more_stages(stages: Stages, trainable: bool) -> Iterator[str]:
    """Stages that a recipe does not have and may get."""
    there = {kind for kind, _, _ in stages}
    yield "More, each a line above `quantize` (`tfopt stages` lists all, `tfopt stages quantize` the settings of one):"
    if not trainable:
        yield "Those that train need labels of your own in the data."
    for kind, settings, remark in (
        ("train", TRAIN, "train the model, or train it on"),
        ("prune_channels", CHANNELS, "remove channels: smaller and faster"),
        ("prune", {"sparsity": 0.8, "epochs": 10}, "zeros in kernels: a smaller download"),
        ("cluster", {"clusters": 16, "epochs": 10}, "shared weights: a smaller download"),
    ):
        if kind not in there:
            yield f"- {flow(kind, settings):<50}  # {remark}"


def flow(name: str, value: Any) -> str:
    """`name: value` in one line of YAML."""
    return yaml_text({name: value}, flow=True, width=10_000).strip()[1:-1]


def _comment(text: str) -> str:
    """A comment of one line, whatever names of files, layers and arrays are in it."""
    return f"# {one_line(text)}".rstrip()


def _remarked(line: str, remark: str) -> Iterator[str]:
    """A line with a remark beside it, or above where there is no room."""
    if not remark:
        yield line
    elif len(line.ljust(_REMARKS)) + len(remark) + 4 <= _WIDTH:
        yield f"{line.ljust(_REMARKS)}  {_comment(remark)}"
    else:
        yield f"{line[: len(line) - len(line.lstrip())]}{_comment(remark)}"
        yield line
