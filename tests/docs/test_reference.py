"""The pages that are made: one for everything that is registered, and they say what the code says."""

import posixpath
import re
from typing import Literal

import pytest
from pydantic import Field

import tfopt
from docs.generator.commands import known_commands
from docs.generator.page import Page, docstring, link, nav_of, plain, table
from docs.generator.registries import KINDS
from docs.generator.settings import SettingsTables, file_of, written
from docs.generator.site import FOLDERS, generated_pages
from tests.docs.documents import DOCS, ROOT
from tfopt import callbacks
from tfopt.recipe.settings import Settings
from tfopt.recipe.stage import known_stages

LINK = re.compile(r"\]\(([^)\s]+)\)")
REGISTRY = re.compile(r'= Registry\("([\w.]+)"')


@pytest.fixture(scope="module")
def pages():
    """The pages that are made, by path."""
    return {page.path: page for page in generated_pages(DOCS)}


def unwritten(pages, paths):
    return [path for path in paths if path not in pages]


def test_every_registry_has_pages():
    found = {package for file in (ROOT / "tfopt").rglob("*.py") for package in REGISTRY.findall(file.read_text())}
    assert found == {registry.package for kind in KINDS for registry in kind.registries}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.folder)
def test_every_entry_of_a_registry_has_a_page_that_says_what_it_is(kind, pages):
    assert not unwritten(pages, [f"{kind.path}{file_of(name)}" for name in ("index", *kind.entries)])
    for name in kind.entries:
        heading, said, *_ = pages[f"{kind.path}{file_of(name)}"].text.split("\n\n")
        assert heading == f"# {name}"
        assert len(said) > 10
    assert len({pages[f"{kind.path}{file_of(name)}"].text for name in kind.entries}) == len(kind.entries)


def test_every_stage_has_a_page_with_all_its_settings(pages):
    for kind, stage in known_stages().items():
        text = pages[f"reference/stages/{kind}.md"].text
        assert not [name for name in written(stage) if f"[`{name}`](#{name}){{#{name}}}" not in text]


def test_every_stage_is_in_a_guide(pages):
    own = [kind for kind, stage in known_stages().items() if stage.__module__.startswith("tfopt.")]  # not other tests'
    assert not [kind for kind in own if "\n\nRead more: [" not in pages[f"reference/stages/{kind}.md"].text]


def test_every_command_has_a_page_with_all_its_options(pages):
    for name, command in known_commands().items():
        text = pages[f"reference/commands/{name}.md"].text
        assert not [
            one for param in command.params for one in param.opts if one.startswith("-") and f"`{one}`" not in text
        ]


def test_every_callback_and_every_public_name_has_a_place(pages):
    assert not unwritten(pages, [f"reference/callbacks/{name}.md" for name in callbacks.__all__])
    index = pages["reference/python/index.md"].text
    assert not [
        name for name in tfopt.__all__ if f"`tfopt.{name}`" not in index and name not in ("__version__", "callbacks")
    ]


def test_every_recipe_is_in_the_cookbook_as_it_is(pages):
    recipes = list((ROOT / "pipelines").glob("*.yaml"))
    assert recipes
    for recipe in recipes:
        text = pages[f"cookbook/{recipe.stem}.md"].text
        assert recipe.read_text().partition("\nname:")[2] in text
        for script in re.findall(r"\w+\.py", recipe.read_text()):
            assert (ROOT / "pipelines" / script).read_text() in text


def test_every_picture_of_a_recipe_is_on_its_page(pages):
    pictures = list((DOCS / "assets" / "cookbook").iterdir())
    assert pictures
    for picture in pictures:
        assert f"](../assets/cookbook/{picture.name})" in pages[f"cookbook/{picture.stem}.md"].text
        assert picture.stat().st_size < 200_000


def test_links_between_pages_lead_to_pages_and_anchors(pages):
    wrong = []
    for page in pages.values():
        for target in LINK.findall(re.sub(r"```.*?```", "", page.text, flags=re.DOTALL)):
            path, _, anchor = target.partition("#")
            there = posixpath.normpath(posixpath.join(posixpath.dirname(page.path), path)) if path else page.path
            if there in pages and anchor and not anchor.startswith("tfopt."):
                found = f"{{#{anchor}}}" in pages[there].text
            else:
                found = "://" in target or there in pages or (DOCS / there).is_file()
            if not found:
                wrong.append(f"{page.path}: {target}")
    assert not wrong


def test_a_page_that_is_made_links_to_the_hand_written_ones_that_link_to_it(tmp_path, pages):
    (tmp_path / "guides").mkdir()
    (tmp_path / "guides" / "zeros.md").write_text(
        "# Many *zeros*\n\nSee [prune](../reference/stages/prune.md#sparsity).\n"
    )
    from docs.generator.guides import with_guides

    linked = {page.path: page.text for page in with_guides(pages.values(), tmp_path)}
    assert "[Many \\*zeros\\*](../../guides/zeros.md)" in linked["reference/stages/prune.md"]
    assert "zeros.md" not in linked["reference/stages/cluster.md"]


class Inner(Settings):
    """Settings inside of others."""

    factor: float = Field(2.0, gt=0, lt=10)
    """How much | of *it*."""


class Outer(Settings):
    """Settings of a test."""

    count: int = Field(ge=1)
    """How many."""
    mode: Literal["int8", "int4"] = "int8"
    """Which."""
    inner: Inner | None = Field(None, examples=[{"factor": 3}])
    """More."""
    pair: tuple[int, float] = (1, 0.5)
    """Both."""


def test_a_table_of_settings_has_types_bounds_defaults_and_links():
    tables = SettingsTables("reference/stages/outer.md", {("int8", "int4"): "reference/modes/"})
    assert tables.rows(Outer, ["count", "mode", "inner", "pair"]).split("\n")[2:] == [
        "| [`count`](#count){#count} | whole number, ≥ 1 | required | How many. |",
        "| [`mode`](#mode){#mode} | [`int8`](../modes/int8.md) or [`int4`](../modes/int4.md) | `int8` | Which. |",
        "| [`inner`](#inner){#inner} | mapping ([Inner](#inner-settings)) | not set "
        "| More. Written as in `inner: {factor: 3}`. |",
        "| [`pair`](#pair){#pair} | list of 2: whole number, number | `[1, 0.5]` | Both. |",
    ]
    inside = tables.inside(Outer, ["count", "inner"])
    assert inside.startswith("## Inner {#inner-settings}\n\nSettings inside of others.")
    assert "| number, > 0, < 10 | `2.0` | How much \\| of \\*it\\*. |" in inside


def test_text_of_docstrings_is_escaped_outside_of_code():
    assert plain("a_b *c* `d*|e` <f> [g]") == "a_b \\*c\\* `d*|e` \\<f\\> \\[g\\]"
    assert table(("a",), []) == ""
    assert table(("a", "b"), [("x | y", "z\nw")]).split("\n")[2] == "| x \\| y | z w |"
    said = docstring("One\nline.\n\n    code *stays*\n\nReferences:\n    A, B.\n    C, D, long\n    title.\n")
    assert said == "One line.\n\n    code *stays*\n\n**References**\n\n- A, B.\n- C, D, long title."


def test_links_and_the_navigation_are_relative_to_their_folders():
    assert link("a", "x/y.md#z", "x/w.md") == "[a](y.md#z)"
    assert link("a", "x/y.md#z", "x/y.md") == "[a](#z)"
    made = [
        Page("r/index.md", "R", ""),
        Page("r/s/index.md", "S", ""),
        Page("r/s/one.md", "One", ""),
        Page("q.md", "Q", ""),
    ]
    assert nav_of(made, "r/") == ["r/index.md", {"S": ["r/s/index.md", {"One": "r/s/one.md"}]}]
    assert set(FOLDERS) == {"cookbook/", "reference/"}
