"""Registries: what they find by walking a package and by entry points, and what they refuse in one line."""

import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

import tfopt.registry
from tfopt.errors import InputError
from tfopt.recipe.stage import INSTALLED
from tfopt.registry import Registry


@dataclass(frozen=True)
class Entry:
    """What the registries of these tests hold."""

    name: str
    rank: int = 100


MODULE = "from tests.test_registry import Entry\n{}\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes modules of a package and gives its name; it is forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "some_entries"
    folder.mkdir()
    (folder / "__init__.py").write_text("")

    def write(**modules):
        for name, code in modules.items():
            (folder / f"{name}.py").write_text(MODULE.format(code))
        return "some_entries"

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "some_entries"]:
        del sys.modules[name]


@pytest.fixture
def points(monkeypatch):
    """Declares entry points as installed packages do."""

    def declare(**values):
        found = [EntryPoint(name, value, "some.group") for name, value in values.items()]
        monkeypatch.setattr(tfopt.registry, "entry_points", lambda group: found if group == "some.group" else [])

    return declare


def test_every_module_of_the_package_is_looked_through_when_the_registry_is_first_asked(package):
    name = package(one='ONE = Entry("one")', two='TWO, THREE = Entry("two"), Entry("three", 1)')
    registry = Registry(name, Entry)
    assert not registry.walked
    assert "some_entries.one" not in sys.modules
    assert list(registry) == ["three", "one", "two"]  # by rank, then by name
    assert (registry["one"].name, len(registry), "four" in registry) == ("one", 3, False)
    assert registry.walked


def test_entries_in_a_tuple_are_found_and_other_tuples_are_none(package):
    name = package(one='SEVERAL = tuple(Entry(n) for n in "ab")\nMIXED = (Entry("c"), 1)\nNONE = ()')
    assert list(Registry(name, Entry)) == ["a", "b"]


def test_an_entry_that_a_module_imports_from_another_counts_once(package):
    name = package(one='ONE = Entry("one")', two="from some_entries.one import ONE")
    assert list(Registry(name, Entry)) == ["one"]


def test_two_modules_may_not_have_one_name(package):
    name = package(one='ONE = Entry("one", 1)', two='ONE = Entry("one", 2)')
    with pytest.raises(InputError, match=r"some_entries has two entries named 'one'"):
        len(Registry(name, Entry))


@pytest.mark.parametrize("value", ["some_entries.more.plugin:MORE", "some_entries.more.plugin"])
def test_an_entry_point_is_an_entry_or_a_module_of_entries(package, points, tmp_path, value):
    name = package(one='ONE = Entry("one")')
    more = tmp_path / "some_entries" / "more"
    more.mkdir()
    (more / "__init__.py").write_text("")
    (more / "plugin.py").write_text(MODULE.format('MORE = Entry("more")'))
    points(more=value)
    assert list(Registry(name, Entry, "some.group")) == ["more", "one"]
    assert list(Registry(name, Entry)) == ["one"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("some_entries.missing:MORE", "does not load: ModuleNotFoundError"),
        ("some_entries.one:MISSING", "does not load: AttributeError"),
        ("some_entries.one:NAME", "is no Entry. Received: 'one'"),
        ("some_entries.one:AGAIN", "with the name 'one', which is taken"),
    ],
)
def test_a_broken_entry_point_is_one_line_that_names_it(package, points, value, message):
    name = package(one='ONE, NAME = Entry("one"), "one"')
    package(
        one='ONE, NAME = Entry("one"), "one"\n\ndef __getattr__(name):\n    if name == "AGAIN":\n'
        '        return Entry("one", 7)\n    raise AttributeError(name)'
    )
    points(broken=value)
    with pytest.raises(InputError, match=r"'broken' of some\.group") as caught:
        len(Registry(name, Entry, "some.group"))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_stages_are_classes_that_go_by_their_kind():
    assert all(stage.kind == kind for kind, stage in INSTALLED.items())
    assert all(stage.__module__ == f"tfopt.stages.{kind}" for kind, stage in INSTALLED.items())
