"""Pages of the entries of registries: modes, targets, optimizers, schedules, metrics and the like."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

from tfopt.deployment.snippet import SNIPPETS
from tfopt.metrics.registry import FAMILIES, METRICS
from tfopt.optimizers.registry import OPTIMIZERS
from tfopt.optimizers.schedules.registry import SCHEDULES as LEARNING_RATES
from tfopt.recipe.decode import CODINGS
from tfopt.recipe.figure import Figure
from tfopt.recipe.modes import MODES, RANGES, ROUNDINGS, TRAINED_RANGES
from tfopt.recipe.target import TARGETS, Target
from tfopt.registry import Registry
from tfopt.report.section import SECTIONS
from tfopt.sparsity.allocations import ALLOCATIONS
from tfopt.sparsity.methods import METHODS
from tfopt.sparsity.schedules import SCHEDULES
from tfopt.sparsity.structured.importance import SCORES

from .page import Page, docstring, joined, link, plain, table
from .settings import file_of


@dataclass(frozen=True)
class Kind:
    """A kind of entries that have pages.

    Args:
        folder: Folder of the pages, inside of `reference/`.
        title: What the entries are called.
        registries: Where they are.
        written: How a recipe or a command names one, with `NAME` in its place, and the page that explains it.
    """

    folder: str
    title: str
    registries: tuple[Registry[Any], ...]
    written: tuple[str, str] | None = None

    @property
    def path(self) -> str:
        """The folder of the pages."""
        return f"reference/{self.folder}/"

    @property
    def entries(self) -> dict[str, Any]:
        """The entries by name; a family of names by its example."""
        return {getattr(one, "example", name): one for registry in self.registries for name, one in registry.items()}


_STAGES = "reference/stages/"
KINDS = (
    Kind("optimizers", "Optimizers", (OPTIMIZERS,), ("optimizer: NAME", f"{_STAGES}train.md#optimizer")),
    Kind(
        "learning_rate_schedules",
        "Learning rate schedules",
        (LEARNING_RATES,),
        ("optimizer: {adam: {learning_rate: {NAME: {...}}}}", f"{_STAGES}train.md#optimizer"),
    ),
    Kind("sparsity_schedules", "Sparsity schedules", (SCHEDULES,), ("schedule: NAME", f"{_STAGES}prune.md#schedule")),
    Kind("pruning_methods", "Pruning methods", (METHODS,), ("method: NAME", f"{_STAGES}prune.md#method")),
    Kind("allocations", "Allocations", (ALLOCATIONS,), ("allocation: NAME", f"{_STAGES}prune.md#allocation")),
    Kind("channel_scores", "Channel scores", (SCORES,), ("score: NAME", f"{_STAGES}prune_channels.md#score")),
    Kind("modes", "Quantization modes", (MODES,), ("mode: NAME", f"{_STAGES}quantize.md#mode")),
    Kind("ranges", "Ranges of activations", (RANGES,), ("ranges: NAME", f"{_STAGES}quantize.md#ranges")),
    Kind("trained_ranges", "Trained ranges", (TRAINED_RANGES,), ("ranges: NAME", f"{_STAGES}qat.md#ranges")),
    Kind("roundings", "Roundings", (ROUNDINGS,), ("rounding: NAME", f"{_STAGES}quantize.md#rounding")),
    Kind("targets", "Targets", (TARGETS,), ("target: NAME", f"{_STAGES}quantize.md#target")),
    Kind("codings", "Codings", (CODINGS,), ("decode: {codings: NAME}", f"{_STAGES}quantize.md#decode")),
    Kind("metrics", "Metrics", (METRICS, FAMILIES), ("metrics: [NAME]", "reference/recipe.md#metrics")),
    Kind("report_sections", "Report sections", (SECTIONS,)),
    Kind(
        "snippets",
        "Snippets",
        (SNIPPETS,),
        ("tfopt inspect FILE --snippet NAME", "reference/commands/inspect.md#snippet"),
    ),
)


def folders() -> dict[tuple[str, ...], str]:
    """The folders with the pages of entries, by the names of all entries."""
    return {tuple(registry): kind.path for kind in KINDS for registry in kind.registries}


def registry_pages() -> Iterator[Page]:
    """For each kind a page with the list of its entries, and a page for each."""
    for kind in KINDS:
        index = f"{kind.path}index.md"
        rows = [
            (link(f"`{name}`", f"{kind.path}{file_of(name)}", index), plain(summary(kind, entry)))
            for name, entry in kind.entries.items()
        ]
        keras = _of_keras() if OPTIMIZERS in kind.registries else ""
        parts = (_about_kind(kind, index), table(("name", "what it is"), rows), keras, _own_entry(kind))
        yield Page(index, kind.title, joined(f"# {kind.title}", *parts))
        for name, entry in kind.entries.items():
            yield Page(f"{kind.path}{file_of(name)}", name, _text(kind, name, entry))


def module_of(kind: Kind, entry: Any) -> ModuleType:
    """The module in which an entry is, also as one of a tuple."""
    for registry in kind.registries:
        for name, module in sys.modules.items():
            inside = name.startswith(f"{registry.package}.") and module is not None
            if inside and any(one is entry for one in registry.entries_of(module)):
                return module
    raise LookupError(f"no module of {kind.title} has the entry {entry!r:.80}")


def summary(kind: Kind, entry: Any) -> str:
    """One sentence on an entry: what it says itself, else the first one of its class or function, or of its module."""
    said = getattr(entry, "about", "")
    for own in (*shown_functions(kind, entry), module_of(kind, entry)):
        said = said or (inspect.getdoc(own) or "").partition("\n\n")[0]
    return said[0].upper() + said[1:].rstrip(".") + "." if said.split()[0].isalpha() else said.rstrip(".") + "."


def _about_kind(kind: Kind, page: str) -> str:
    """What the entries of a kind are, how one is written, and what an entry of one's own is."""
    first = kind.registries[0]
    said = docstring(sys.modules[first.package].__doc__)
    if kind.written is None:
        return said
    words, explained = kind.written
    return joined(said, f"Written `{words}`; see {_setting(explained, page)}.")


def _setting(explained: str, page: str) -> str:
    """The link to the setting of a stage or the option of a command that names an entry."""
    path, _, anchor = explained.partition("#")
    name = path.rpartition("/")[2].removesuffix(".md")
    return link(f"`{anchor}` of {name}" if anchor else name, explained, page)


def _of_keras() -> str:
    """The optimizers that a recipe can name besides those of the registry."""
    from tfopt.optimizers.factory import known_optimizers

    names = [f"`{name}` ({one.make.__name__})" for name, one in known_optimizers().items() if name not in OPTIMIZERS]
    return f"And every optimizer of Keras, by its name in lower case: {', '.join(names)}."


def _own_entry(kind: Kind) -> str:
    """The classes of the entries, for one who writes an entry."""
    parts = ["## An entry of your own"]
    for registry in kind.registries:
        where = f"a new file in `{registry.package.replace('.', '/')}`"
        other = f", or an entry point of the group `{registry.group}` in another package" if registry.group else ""
        parts += [f"It is {where}{other}:", api(registry.kind)]
    return joined(*parts)


def api(documented: Any, heading_level: int = 3, heading: str = "") -> str:
    """The directive that shows a class or a function with its docstring and its parameters, without its methods."""
    options = [f"heading_level: {heading_level}", "members: false", *([f'heading: "{heading}"'] if heading else [])]
    lines = "\n".join(f"      {option}" for option in options)
    return f"::: {documented.__module__}.{documented.__qualname__}\n    options:\n{lines}"


def _text(kind: Kind, name: str, entry: Any) -> str:
    page, module = f"{kind.path}{file_of(name)}", module_of(kind, entry)
    shown = shown_functions(kind, entry)
    written = kind.written[0].replace("NAME", name) if kind.written else ""
    explained = _setting(kind.written[1], page) if kind.written else ""
    figures = [one for field in fields(entry) for one in _figures(getattr(entry, field.name))]
    measured = [(f"`{one.name}`", one.unit, plain(one.about or one.title)) for one in figures]
    said = plain(summary(kind, entry))
    return joined(
        f"# {name}",
        said,
        f"Written `{written}`; see {explained}." if written else "",
        docstring(module.__doc__).removeprefix(said),
        _runs(entry, page),
        table(("property", "value", "what it is"), _facts(entry)),
        "## What it measures" if measured else "",
        table(("figure", "unit", "what it is"), measured),
        "## In Python" if shown else "",
        *map(api, shown),
    )


def _runs(entry: Any, page: str) -> str:
    """The modes that a target runs."""
    if not isinstance(entry, Target):
        return ""
    modes = [link(name, f"reference/modes/{file_of(name)}", page) for name in entry.modes]
    return f"It runs the modes {', '.join(modes)}."


def shown_functions(kind: Kind, entry: Any) -> list[Any]:
    """The public functions and classes that an entry consists of, those of its own module."""
    if kind.written is None:  # nothing that is called by name
        return []
    values = [getattr(entry, field.name) for field in fields(entry)]
    found = [one for one in values if inspect.isfunction(one) or inspect.isclass(one)]
    here = module_of(kind, entry).__name__
    named = [
        one for one in dict.fromkeys(found) if one.__qualname__.isidentifier() and not one.__name__.startswith("_")
    ]
    return [one for one in named if one.__module__ == here]


def _figures(value: Any) -> list[Figure]:
    return [one for one in value.values() if isinstance(one, Figure)] if isinstance(value, Mapping) else []


def _facts(entry: Any) -> list[tuple[str, str, str]]:
    """What an entry says of itself besides its functions: the field, its value, and what the field is."""
    about = _arguments(type(entry))
    rows = []
    for field in fields(entry):
        value = getattr(entry, field.name)
        if field.name in ("name", "about", "rank") or callable(value) or _figures(value):
            continue
        if value is not None and value not in ("", (), {}):
            rows.append((f"`{field.name}`", _value(value), plain(about.get(field.name, ""))))
    return rows


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "<br>".join(f"`{key}`: {_value(inner)}" for key, inner in value.items())
    if isinstance(value, tuple):
        return ", ".join(map(_value, value))
    return f"`{value}`" if isinstance(value, str) and " " not in value else plain(str(value))


def _arguments(cls: type) -> dict[str, str]:
    """What the docstring of a class says of each argument."""
    listed = (inspect.getdoc(cls) or "").partition("Args:\n")[2].partition("\n\n")[0]
    return {name: " ".join(text.split()) for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, re.M)}
