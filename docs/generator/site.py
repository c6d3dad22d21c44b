"""All pages that are made, in the order of the nav."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .commands import command_pages
from .cookbook import cookbook_pages, stage_examples
from .errors import error_pages
from .guides import with_guides
from .page import Page, joined, link, table
from .python_api import callback_pages, python_pages
from .registries import folders, registry_pages
from .stages import recipe_page, stage_pages

# What stands for them in the nav of mkdocs.yml.
FOLDERS = ("cookbook/", "reference/")


def generated_pages(docs: Path) -> list[Page]:
    """Every page that is made from the code and from the recipes.

    Args:
        docs: The folder of the documents, whose hand-written pages are linked to from those that they link to.
    """
    pipelines = docs.parent / "pipelines"
    reference = list(_reference(pipelines))
    pages = [*cookbook_pages(pipelines), _index(reference), *reference]
    return list(with_guides(pages, docs))


def _reference(pipelines: Path) -> Iterator[Page]:
    yield from stage_pages(folders(), stage_examples(pipelines))
    yield recipe_page(folders())
    yield from command_pages()
    yield from error_pages()
    yield from callback_pages()
    yield from registry_pages()
    yield from python_pages()


def _index(reference: list[Page]) -> Page:
    """The first page of the reference: what there is pages of."""
    path = "reference/index.md"
    top = [page for page in reference if page.path.count("/") == 1 or page.path.endswith("/index.md")]
    rows = []
    for page in top:
        folder = page.path.removesuffix("index.md")
        inside = [one for one in reference if one.path.startswith(folder) and one is not page]
        names = ", ".join(link(one.title, one.path, path) for one in inside if page.path.endswith("/index.md"))
        rows.append((link(page.title, page.path, path), names))
    intro = "All of this is made from the code: settings, defaults and bounds are those that tfopt checks."
    return Page(path, "Reference", joined("# Reference", intro, table(("", "pages"), rows)))
