"""All pages that are made, in the order of the nav."""

from __future__ import annotations

from pathlib import Path

from .page import Page

# What stands for them in the nav of mkdocs.yml.
FOLDERS = ("cookbook/", "reference/")


def generated_pages(docs: Path) -> list[Page]:
    """Every page that is made from the code and from the recipes.

    Args:
        docs: The folder of the documents, whose hand-written pages are linked to from those that they link to.
    """
    return [
        Page("cookbook/index.md", "Cookbook", "# Cookbook\n"),
        Page(
            "reference/index.md", "Reference", "# Reference\n\n::: tfopt.sparsity.pruning_callback.MagnitudePruning\n"
        ),
    ]
