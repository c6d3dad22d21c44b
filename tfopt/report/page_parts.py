"""The sections of a run's report as the parts of its page: the final file first, and what repeats it folded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tfopt.recipe.artifact import Artifact
from tfopt.report.blocks import Block, Callout, Figure, Folded, Grid, Group, Heading, OnPage, Table
from tfopt.report.page import Part
from tfopt.report.section import SECTIONS, Section


def callouts(artifacts: Mapping[str, Artifact]) -> list[Callout]:
    """What must not be missed, of all sections."""
    blocks = (block for section in SECTIONS.values() for block in section.blocks(artifacts))
    return [block for block in blocks if isinstance(block, Callout)]


def parts(artifacts: Mapping[str, Artifact], final: str | None) -> list[Part]:
    """A part for each section that has something to say and stands alone, with those that belong to it.

    Args:
        artifacts: The artifacts of the run.
        final: The stage of the final file.
    """
    found: dict[str, Part] = {}
    for section in SECTIONS.values():
        blocks = _named(_blocks(section, artifacts, final), section.title)
        if not blocks:
            continue
        if host := found.get(section.within):
            found[section.within] = replace(host, blocks=[*host.blocks, *blocks])
        else:
            found[section.name] = Part(section.name, section.title, blocks)
    return [replace(part, blocks=_headed(part, artifacts)) for part in found.values()]


def _blocks(section: Section, artifacts: Mapping[str, Artifact], final: str | None) -> list[Block]:
    """The blocks of a section, those of the final file first and those of the files before it folded."""
    if section.of_artifact is None:
        return _shown(section.blocks(artifacts))
    own = {name: _shown(section.blocks({name: artifact})) for name, artifact in artifacts.items()}
    own = {name: blocks for name, blocks in own.items() if blocks}
    if final not in own:
        return [block for blocks in own.values() for block in blocks]
    rest: list[Block] = []
    for name, blocks in own.items():
        if name != final:
            head, *below = blocks
            title = head.text if isinstance(head, Heading) else f"{name}: {section.title.lower()}"
            rest.append(Folded(title, below if isinstance(head, Heading) else blocks))
    return [*own[final], *rest]


def _shown(blocks: Iterable[Block]) -> list[Block]:
    return [block for block in blocks if not isinstance(block, Callout)]


def _named(blocks: Sequence[Block], name: str) -> list[Block]:
    """The blocks, each table and whatever is folded with the name of the heading above it."""
    found: list[Block] = []
    for block in blocks:
        match block:
            case Heading():
                name = block.text
            case Table() if not block.caption:
                block = replace(block, label=block.label or name)
            case Figure() if block.table:
                block = replace(block, table=replace(block.table, label=block.table.label or block.chart.label))
            case Folded():
                told = ": " in block.summary or block.summary == name
                own = block.summary if told else f"{name.partition(': ')[0]}: {block.summary}"
                block = Folded(own, _named(block.blocks, own))
            case Grid() | Group() | OnPage():
                block = replace(block, blocks=_named(block.blocks, name))
        found.append(block)
    return found


def _headed(part: Part, artifacts: Mapping[str, Artifact]) -> list[Block]:
    """The blocks of a part with headings that do not say its title again.

    Of `int8: weights by layer` the file stays; where all is of one stage that made no model, nothing does.
    """
    again = f": {part.title.lower()}"
    alone = sum(isinstance(block, Heading) for block in part.blocks) == 1
    found = []
    for block in part.blocks:
        if isinstance(block, Heading) and block.text.lower().endswith(again):
            name = block.text[: -len(again)]
            if alone and name in artifacts and artifacts[name].files:
                continue
            block = Heading(name)
        found.append(block)
    return found
