"""The cookbook: every recipe of `pipelines/` with the scripts that it needs, and the scripts that need no recipe."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tfopt.recipe.stage import known_stages

from .page import Page, joined, link, plain, table
from .stages import FOLDER as STAGES

FOLDER = "cookbook/"
# Of reports that the recipes make: `docs/screenshots.py` takes them.
PICTURES = "assets/cookbook/"
_SCRIPT = re.compile(r"\b(\w+\.py)\b")


def cookbook_pages(pipelines: Path) -> Iterator[Page]:
    """A page for each recipe and each script that stands alone, after one with the list of them.

    Args:
        pipelines: The folder of the recipes.
    """
    index = f"{FOLDER}index.md"
    recipes = {file.stem: file.read_text() for file in sorted(pipelines.glob("*.yaml"))}
    scripts = {file.name: file.read_text() for file in sorted(pipelines.glob("*.py"))}
    used = {name for text in recipes.values() for name in _SCRIPT.findall(text)}
    alone = {name.removesuffix(".py"): text for name, text in scripts.items() if name not in used}
    rows = [(link(name, f"{FOLDER}{name}.md", index), plain(_comment(text)[0])) for name, text in recipes.items()]
    rows += [(link(name, f"{FOLDER}{name}.md", index), plain(_summary(text))) for name, text in alone.items()]
    intro = "Recipes to copy, each with the script beside it. They are the files of `pipelines/`."
    yield Page(index, "Cookbook", joined("# Cookbook", intro, table(("recipe", "what it does"), rows)))
    pictures = {file.stem for file in (pipelines.parent / "docs" / PICTURES).glob("*.png")}
    for name, text in recipes.items():
        yield Page(f"{FOLDER}{name}.md", name, _recipe(name, text, scripts, name in pictures))
    for name, text in alone.items():
        command = f"```sh\npython pipelines/{name}.py\n```"
        yield Page(f"{FOLDER}{name}.md", name, joined(f"# {name}", plain(_summary(text)), command, _code(text)))


def stage_examples(pipelines: Path) -> dict[str, tuple[str, str]]:
    """The YAML of each kind of stage as the shortest recipe has it that uses it, and the path of the recipe's page."""
    found: dict[str, tuple[str, str]] = {}
    texts = {file.stem: file.read_text() for file in sorted(pipelines.glob("*.yaml"))}
    for name, text in sorted(texts.items(), key=lambda item: len(item[1])):
        for kind, yaml in _stages(text):
            found.setdefault(kind, (yaml, f"{FOLDER}{name}.md"))
    return found


def _recipe(name: str, text: str, scripts: Mapping[str, str], pictured: bool) -> str:
    page = f"{FOLDER}{name}.md"
    comment = _comment(text)
    yaml = text.split("\n", len(comment))[-1]
    kinds = dict.fromkeys(kind for kind, _ in _stages(text))
    links = ", ".join(link(kind, f"{STAGES}{kind}.md", page) for kind in kinds)
    parts = [f"# {name}", *map(plain, comment), f"```sh\ntfopt run pipelines/{name}.yaml\n```"]
    if pictured:
        parts.append(f"![What the report of {name} shows](../{PICTURES}{name}.png)")
    parts += [f"`{name}.yaml`, with the stages {links}:", f"```yaml\n{yaml}```"]
    for script in dict.fromkeys(_SCRIPT.findall(yaml)):
        parts += [f"`{script}`:", _code(scripts[script])]
    return joined(*parts)


def _stages(text: str) -> Iterator[tuple[str, str]]:
    """The kinds of stages in a recipe, each with its YAML as the recipe has it."""
    lines = text.splitlines(keepends=True)
    entries: Any = YAML().load(text)["stages"]
    starts = [entries.lc.item(index)[0] for index in range(len(entries))]
    for entry, start, end in zip(entries, starts, [*starts[1:], len(lines)], strict=True):
        kind = entry if isinstance(entry, str) else next(iter(entry))
        if kind in known_stages():
            yield kind, "".join(line.removeprefix("  ") for line in lines[start:end])


def _comment(text: str) -> list[str]:
    """The lines of the comment at the head of a recipe."""
    lines = text.splitlines()
    count = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return [line.removeprefix("# ") for line in lines[:count]]


def _summary(script: str) -> str:
    return (ast.get_docstring(ast.parse(script)) or "").partition("\n\n")[0]


def _code(script: str) -> str:
    return f"```python\n{script}```"
