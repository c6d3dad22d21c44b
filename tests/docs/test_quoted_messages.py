"""The pages by symptom quote what tfopt prints: every quote has the words of a message in the package."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Characters of a message without a value in between that are enough to know it by.
TELLING = 14
# What may stand around a value in a message.
AROUND = " .,:;'\""


def messages():
    """The constant parts of all strings of the package."""
    for file in (ROOT / "tfopt").rglob("*.py"):
        tree = ast.parse(file.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield from (part.strip(AROUND) for part in node.value.split("\n"))


def quotes():
    """Each quote on the pages by symptom, in one line, with the place for the name of its case."""
    for page in sorted((ROOT / "docs" / "why").glob("*.md")):
        for block in re.findall(r"(?:^> .*\n)+", page.read_text(), re.MULTILINE):
            quote = " ".join(line[2:].strip() for line in block.splitlines())
            yield pytest.param(quote, id=f"{page.stem}: {quote[:38]}")
        for number, words in enumerate(re.findall(r"^\|[^|]*\*[^|]*\|", page.read_text(), re.MULTILINE)):
            for said in re.findall(r"\*([^*]+)\*", words):
                yield pytest.param(said, id=f"{page.stem} {number}: {said[:30]}")


@pytest.fixture(scope="module")
def said():
    return {part for part in messages() if len(part) >= TELLING}


@pytest.mark.parametrize("quote", list(quotes()))
def test_a_quote_is_of_a_message(quote, said):
    pieces = [piece.strip(AROUND) for piece in quote.split("...")]
    assert any(part in piece or (len(piece) >= TELLING and piece in part) for piece in pieces for part in said)
