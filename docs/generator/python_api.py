"""Pages of what Python code imports: the callbacks, and all other public names by the module that has them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import tfopt
from tfopt import callbacks
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.stage import known_stages

from .errors import ERRORS_PAGE, public_errors
from .page import Page, docstring, joined, link, plain, table
from .registries import KINDS, api, shown_functions
from .settings import file_of
from .stages import FOLDER as STAGES
from .stages import RECIPE_PAGE

CALLBACKS = "reference/callbacks/"
FOLDER = "reference/python/"
# Modules that are imported by their own path, besides the public ones of `tfopt`.
_MORE = ("tfopt.losses", "tfopt.sparsity.structured")


def callback_pages() -> Iterator[Page]:
    """A page for each callback, after one with the list of them."""
    index = f"{CALLBACKS}index.md"
    found = {name: getattr(callbacks, name) for name in callbacks.__all__}
    rows = [(link(f"`{name}`", f"{CALLBACKS}{name}.md", index), _first(one)) for name, one in found.items()]
    text = joined("# Callbacks", docstring(callbacks.__doc__), table(("callback", "what it does"), rows))
    yield Page(index, "Callbacks", text)
    for name, one in found.items():
        yield Page(f"{CALLBACKS}{name}.md", name, joined(f"# {name}", api(one, 2, f"tfopt.callbacks.{name}")))


def python_pages() -> Iterator[Page]:
    """Pages for the functions and the classes of `tfopt` itself, and one for each module of public names."""
    index = f"{FOLDER}index.md"
    modules = {name: importlib.import_module(name) for name in _modules()}
    own = {f"tfopt.{name}": getattr(tfopt, name) for name in dir(tfopt) if name != "__version__"}
    places = _elsewhere()
    pages: list[Page] = []
    for title, chosen in (("Functions", inspect.isfunction), ("Classes", inspect.isclass)):
        path = f"{FOLDER}{title.lower()}.md"
        here = {name: one for name, one in own.items() if chosen(one) and one not in places}
        places |= dict.fromkeys(here.values(), path)
        pages.append(Page(path, title, joined(f"# {title}", *(_shown(one, name) for name, one in here.items()))))
    for name, module in modules.items():
        pages.append(_module_page(name, module, places))
    rows = [(name, one) for name, one in own.items() if not inspect.ismodule(one)]
    intro = "Importing tfopt imports neither TensorFlow nor Keras: every name is loaded when it is first used."
    parts = (intro, _list(rows, places, index), "## Modules", _list(modules.items(), _of_modules(modules), index))
    yield Page(index, "Python", joined("# Python", *parts))
    yield from pages


def _modules() -> list[str]:
    public = [f"tfopt.{name}" for name in dir(tfopt) if inspect.ismodule(getattr(tfopt, name))]
    return [*(name for name in public if name != "tfopt.callbacks"), *_MORE]


def _of_modules(modules: Mapping[str, Any]) -> dict[Any, str]:
    return {module: f"{FOLDER}{name}.md" for name, module in modules.items()}


def _module_page(name: str, module: Any, places: dict[Any, str]) -> Page:
    """The page of a module: the list of its names, and those that have no other page."""
    path = f"{FOLDER}{name}.md"
    found = {one: getattr(module, one) for one in sorted(module.__all__, key=str.lower)}
    documented = {one: value for one, value in found.items() if inspect.isfunction(value) or inspect.isclass(value)}
    here = {f"{name}.{one}": value for one, value in documented.items() if value not in places}
    places |= dict.fromkeys(here.values(), path)
    listed = _list([(f"{name}.{one}", value) for one, value in documented.items()], places, path)
    shown = [_shown(value, one) for one, value in here.items()]
    return Page(path, name, joined(f"# {name}", docstring(module.__doc__), listed, *shown))


def _list(named: Any, places: Mapping[Any, str], page: str) -> str:
    """A table of names, each with the link to the place where it is explained."""
    rows = []
    for name, one in named:
        shown = places[one].startswith(FOLDER) and not inspect.ismodule(one)
        anchor = f"#{one.__module__}.{one.__qualname__}" if shown else ""
        rows.append((link(f"`{name}`", places[one] + anchor, page), _first(one)))
    return table(("name", "what it is"), rows)


def _shown(documented: Any, name: str) -> str:
    """The directive for a name; a class has its public methods with it."""
    path = f"{documented.__module__}.{documented.__qualname__}"
    return f'::: {path}\n    options:\n      heading: "{name}"\n      heading_level: 2'


def _elsewhere() -> dict[Any, str]:
    """What is explained on pages of other kinds, and where."""
    found: dict[Any, str] = {getattr(callbacks, name): f"{CALLBACKS}{name}.md" for name in callbacks.__all__}
    found |= dict.fromkeys(public_errors(), ERRORS_PAGE)
    found |= {stage: f"{STAGES}{kind}.md" for kind, stage in known_stages().items()} | {Recipe: RECIPE_PAGE}
    for kind in KINDS:
        found |= {registry.kind: f"{kind.path}index.md" for registry in kind.registries}
        for name, entry in kind.entries.items():
            found |= dict.fromkeys(shown_functions(kind, entry), f"{kind.path}{file_of(name)}")
    return found


def _first(documented: Any) -> str:
    """The first paragraph of a docstring."""
    return plain((inspect.getdoc(documented) or "").partition("\n\n")[0])
