"""The hand-written documents, and the fenced blocks in them: what each one is, and how it is tested."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+|~~~+) *(?P<language>[\w+-]*)[^`]*$")
_COMMENT = re.compile(r"^\s*<!--\s*(.*?)\s*-->\s*$")
# Languages of what is shown and not run: output, and what tfopt writes for other languages.
OUTPUT = ("", "text", "json", "c", "cpp", "kotlin", "cmake", "dockerfile")
# Configurations of other tools, which a parser reads.
PARSED = ("toml",)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document.

    Args:
        file: The document.
        line: The number of the line with the fence.
        language: The word after the fence.
        text: What is between the fences, without the indentation of the fence.
        comment: What an HTML comment in the line before the block says.
    """

    file: Path
    line: int
    language: str
    text: str
    comment: str = ""

    @property
    def place(self) -> str:
        """File and line, for a message."""
        return f"{named(self.file)}:{self.line}"

    @property
    def name(self) -> str:
        """The name of the file that the block is, of which a comment in its first line speaks."""
        first = re.match(r"#\s*([\w./-]+\.(?:py|yaml))\s*$", self.text.partition("\n")[0])
        return first[1] if first else ""

    @property
    def reason(self) -> str:
        """Why it is not run; empty for one that is."""
        return self.comment.partition(":")[2].strip() if self.comment.startswith("not run") else ""

    @property
    def slow(self) -> bool:
        """Whether it is run in the slow suite alone."""
        return self.comment == "slow"

    @property
    def exit_code(self) -> int:
        """What its last command ends with."""
        return int(self.comment.removeprefix("exit ")) if self.comment.startswith("exit ") else 0

    @property
    def treatment(self) -> str:
        """How it is tested: validated, run, parsed, skipped or output; empty where nothing says how."""
        if self.comment.startswith("not run"):
            return "skipped" if self.reason else ""
        if not re.fullmatch(r"|slow|parse|exit [0-9]+", self.comment):
            return ""
        if self.language == "yaml" or self.language in PARSED:
            return "validated"
        if self.language in ("sh", "python"):
            return "parsed" if self.comment == "parse" else "run"
        return "output" if self.language in OUTPUT else ""


def named(file: Path) -> str:
    """A document's path as one writes it."""
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name


def blocks_of(file: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    found, opened, inside = [], None, []
    lines = file.read_text().split("\n")
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if opened is None:
            if fence:
                opened, inside = (number, fence), []
        elif fence and fence["ticks"] == opened[1]["ticks"] and not fence["language"]:
            start, first = opened
            before = _COMMENT.match(lines[start - 2]) if start > 1 else None
            text = "\n".join(one.removeprefix(first["indent"]) for one in inside)
            found.append(Block(file, start, first["language"].lower(), text, before[1] if before else ""))
            opened = None
        else:
            inside.append(line)
    if opened is not None:
        raise ValueError(f"{named(file)}:{opened[0]} has a block without an end.")
    return found


def prose_of(file: Path) -> list[str]:
    """The lines of a document; those of its blocks are empty."""
    lines = file.read_text().split("\n")
    for block in blocks_of(file):
        end = block.line + block.text.count("\n") + 2
        lines[block.line - 1 : end] = [""] * (end - block.line + 1)
    return lines
