"""The first recipe of a model: looked at, scored, written with remarks, and validated before it counts."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tfopt.drafting import remarks
from tfopt.drafting.findings import Findings, Request
from tfopt.drafting.goals import GOALS, stages_for
from tfopt.drafting.recipe_text import more_stages, recipe_text
from tfopt.errors import InputError, TfoptError


@dataclass(frozen=True)
class Draft:
    """A recipe that was validated, and what was seen on the way.

    Args:
        files: The texts of its files by absolute path, the recipe first.
        seen: What was found, a line each.
        runs: Whether the recipe runs as it is: samples were given.
    """

    files: Mapping[Path, str]
    seen: tuple[str, ...]
    runs: bool


def draft(request: Request, schema: str) -> Draft:
    """Writes the first recipe of a model.

    Args:
        request: What is asked for.
        schema: The line at the head of the recipe from which editors complete it.

    Raises:
        InputError: The model or the samples cannot be read, do not fit, or no recipe of them can run.
    """
    with tempfile.TemporaryDirectory(prefix="tfopt-") as folder:
        found = Findings(request, Path(folder).resolve())
        try:
            return _validated(found, schema)
        except TfoptError as error:
            raise error.reworded(_without_place(str(error)).replace(f"{found.folder}/", "")) from error


def _validated(found: Findings, schema: str) -> Draft:
    """The recipe with all that its goal has; without removing channels where that is why it cannot run."""
    cut, notes = True, []
    try:
        _validate(found, schema, cut)
    except InputError as error:
        if not any(kind == "prune_channels" for kind, *_ in stages_for(GOALS[found.request.goal], found.situation())):
            raise
        cut = False
        _validate(found, schema, cut)
        notes.append(f"prune_channels was left out: {_without_place(str(error))}")
    folder = found.request.out.parent.resolve()
    paths = [folder / found.request.out.name, folder / found.script.name]
    files = dict(zip(paths, _texts(found, folder, schema, cut, notes), strict=False))
    return Draft(files, (*remarks.seen(found), *notes), found.source.given)


def _without_place(message: str) -> str:
    """An error without the line of a recipe that is not written."""
    return re.sub(r"^\S*?[.]ya?ml:[0-9]+: ", "", message, flags=re.MULTILINE)


def _validate(found: Findings, schema: str, cut: bool) -> None:
    """Validates the recipe; where no samples were given, all that needs some is tried on random ones."""
    from tfopt.pipeline import runner
    from tfopt.recipe.recipe import Recipe

    file = found.folder / found.request.out.name
    file.write_text(next(_texts(found, found.folder, schema, cut)), encoding="utf-8")
    runner.validate(Recipe.load(file, **({} if found.source.given else {"data": found.data})))


def _texts(found: Findings, folder: Path, schema: str, cut: bool, notes: list[str] | None = None) -> Iterator[str]:
    """The text of the recipe, and that of its script if it has one, as they are in that folder."""
    situation = found.situation(cut)
    stages = stages_for(GOALS[found.request.goal], situation)
    more = more_stages(stages, situation.trainable or not found.source.given)
    yield recipe_text(
        [schema, *remarks.head(found), *(notes or ())], list(remarks.fields(found, folder)), stages, [*more]
    )
    if found.source.script:
        yield found.source.script.text(folder)
