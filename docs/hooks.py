"""MkDocs hooks: the pages that are made from the code and the recipes, and their places in the nav."""

from pathlib import Path
from typing import Any

from generator.page import Page, nav_of
from generator.site import FOLDERS, generated_pages
from mkdocs.structure.files import File

_pages: list[Page] = []


def on_config(config: Any) -> Any:
    """Makes the pages, and puts them into the nav in the place of the folder that stands there."""
    _pages[:] = generated_pages(Path(config.docs_dir))
    config.nav = [
        {title: nav_of(_pages, place)} if place in FOLDERS else {title: place}
        for entry in config.nav
        for title, place in entry.items()
    ]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages to those of the folder."""
    for page in _pages:
        files.append(File.generated(config, page.path, content=page.text))
    return files
