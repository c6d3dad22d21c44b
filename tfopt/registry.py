"""Registries: entries of one class by name, found by walking a package and the entry points of other packages."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Generic, TypeVar

from tfopt.errors import InputError

E = TypeVar("E")


class Registry(Mapping[str, E], Generic[E]):
    """The entries of one kind by name.

    A new entry is a new module in the package: every instance of the kind in it is found, also in a tuple of nothing
    else. Modules are imported when the registry is first looked at, and not before.

    Args:
        package: The package to walk, such as `tfopt.sparsity.allocations`.
        kind: Class of the entries, which have a `name` and may have a `rank`, by which they are listed.
        group: Group of entry points of other packages, such as `tfopt.targets`, each of which is an entry, or a
            module of entries. None where other packages cannot add entries.
    """

    def __init__(self, package: str, kind: type[E], group: str | None = None):
        self.package, self.kind, self.group = package, kind, group
        self._found: dict[str, E] | None = None

    def __getitem__(self, name: str) -> E:
        return self._entries()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())

    @property
    def walked(self) -> bool:
        """Whether the package has been walked."""
        return self._found is not None

    def name_of(self, entry: Any) -> str:
        """The name of an entry."""
        return entry.name

    def is_entry(self, value: object, module: ModuleType) -> bool:
        """Whether a value in a module is an entry of this registry."""
        return isinstance(value, self.kind)

    def entries_of(self, module: ModuleType) -> list[E]:
        """The entries in a module: single ones, and those of tuples of nothing else."""
        found: list[E] = []
        for value in vars(module).values():
            if self.is_entry(value, module):
                found.append(value)
            elif isinstance(value, tuple) and value and all(self.is_entry(one, module) for one in value):
                found += value
        return found

    def _entries(self) -> dict[str, E]:
        if self._found is None:
            own = importlib.import_module(self.package)
            found: dict[str, E] = {}
            for info in pkgutil.iter_modules(own.__path__):
                for entry in self.entries_of(importlib.import_module(f"{self.package}.{info.name}")):
                    if found.setdefault(self.name_of(entry), entry) is not entry:
                        raise InputError(f"{self.package} has two entries named {self.name_of(entry)!r}. Rename one.")
            for point in entry_points(group=self.group) if self.group else ():
                for entry in self._of_point(point):
                    name = self.name_of(entry)
                    if found.setdefault(name, entry) is not entry:
                        raise InputError(
                            f"the package {_package(point)} has the entry point {point.name!r} of {self.group} with "
                            f"the name {name!r}, which is taken. Rename it, or remove the package."
                        )
            self._found = dict(sorted(found.items(), key=lambda item: (getattr(item[1], "rank", 100), item[0])))
        return self._found

    def _of_point(self, point: EntryPoint) -> list[E]:
        try:
            value = point.load()
        except Exception as error:
            raise InputError(
                f"the entry point {point.name!r} of {self.group} in the package {_package(point)} does not load: "
                f"{type(error).__name__}: {error}. Mend the package, or remove it."
            ) from error
        if isinstance(value, ModuleType):
            return self.entries_of(value)
        if not self.is_entry(value, importlib.import_module(getattr(value, "__module__", None) or self.package)):
            raise InputError(
                f"the entry point {point.name!r} of {self.group} in the package {_package(point)} is no "
                f"{self.kind.__name__}. Received: {value!r:.80}."
            )
        return [value]


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value
