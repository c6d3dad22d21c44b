"""Limits of a YAML text, checked on its events before a document is made: aliases make much of little."""

from __future__ import annotations

from dataclasses import dataclass, field

from tfopt.errors import TfoptError

# A recipe of 100 stages with 20 settings each has 4,000 parts, and they are six levels deep.
MOST_BYTES = 2**18
MOST_PARTS = 10_000
MOST_LEVELS = 30


class LimitError(TfoptError):
    """A YAML text that is too large, too deep, or refers to itself.

    Args:
        message: What is wrong with it.
        line: The line, from 1.
    """

    def __init__(self, message: str, line: int):
        super().__init__(message)
        self.line = line


@dataclass
class _Open:
    """A list or a mapping whose end was not met yet; its parts and its levels so far, those behind aliases included."""

    anchor: str | None
    parts: int = 1
    levels: int = 1


@dataclass
class _Count:
    """The parts of a text, as its events come."""

    open: list[_Open] = field(default_factory=lambda: [_Open(None)])
    anchored: dict[str, _Open] = field(default_factory=dict)

    def begin(self, anchor: str | None, line: int) -> None:
        """A list or a mapping begins."""
        self.open.append(_Open(anchor))
        self._check_levels(0, line)

    def end(self, line: int) -> None:
        """The last list or mapping ends."""
        self._add(self.open.pop(), line)

    def scalar(self, anchor: str | None, line: int) -> None:
        """A single value."""
        self._add(_Open(anchor, levels=0), line)

    def alias(self, anchor: str, line: int) -> None:
        """A part that stands elsewhere is meant again."""
        if any(part.anchor == anchor for part in self.open):
            raise LimitError(f"*{anchor} refers to what it is in", line)
        meant = self.anchored.get(anchor, _Open(None, levels=0))
        self._check_levels(meant.levels, line)
        self._add(_Open(None, meant.parts, meant.levels), line)

    def _check_levels(self, more: int, line: int) -> None:
        if len(self.open) + more > MOST_LEVELS:
            raise LimitError(f"it is nested more than {MOST_LEVELS} levels deep", line)

    def _add(self, part: _Open, line: int) -> None:
        """A part belongs to the list or mapping that is open."""
        if part.anchor:
            self.anchored[part.anchor] = part
        around = self.open[-1]
        around.parts, around.levels = around.parts + part.parts, max(around.levels, part.levels + 1)
        if sum(one.parts for one in self.open) > MOST_PARTS:
            raise LimitError(f"it has more than {MOST_PARTS:,} parts, those behind aliases counted each time", line)


def check_text(text: str) -> None:
    """Checks a YAML text without making anything of it.

    Raises:
        LimitError: It is too large, nested too deeply, or refers to itself, with the line.
        ruamel.yaml.error.YAMLError: It is not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

    if len(text) > MOST_BYTES:
        raise LimitError(f"it has more than {MOST_BYTES:,} characters", 1)
    count = _Count()
    for event in YAML(typ="safe", pure=True).parse(text):
        line = event.start_mark.line + 1
        match event:
            case AliasEvent():
                count.alias(event.anchor, line)
            case ScalarEvent():
                count.scalar(event.anchor, line)
            case CollectionStartEvent():
                count.begin(event.anchor, line)
            case CollectionEndEvent():
                count.end(line)
