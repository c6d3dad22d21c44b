"""The names that a Python file defines, and how its models are compiled, read from its syntax without running it."""

from __future__ import annotations

import ast
import importlib.util
import symtable
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfopt.errors import InputError, did_you_mean

# Calls, and a function of a module, that define names which the syntax does not show.
_DYNAMIC = {"exec", "eval", "globals", "vars", "locals", "setattr", "__import__", "import_module"}
_LOOKUP = "__getattr__"


@dataclass(frozen=True)
class SourceNames:
    """The names that the top of a Python file binds.

    Args:
        names: Every name, of imports and of definitions under a condition too.
        certain: Whether there can be no others, such as those of `from x import *`.
        imported: Those of them that imports bind.
    """

    names: frozenset[str]
    certain: bool
    imported: frozenset[str] = frozenset()

    @classmethod
    def of(cls, path: Path) -> SourceNames:
        """Reads a file.

        Raises:
            SyntaxError, ValueError: It is not Python.
            OSError: It cannot be read.
        """
        with tokenize.open(path) as file:  # in the encoding that the file names
            source = file.read()
        tree = ast.parse(source, path.name)
        top = symtable.symtable(source, path.name, "exec")
        symbols = top.get_symbols()
        bound = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported() or s.is_namespace()}
        bound |= _declared_global(top)
        certain = _LOOKUP not in bound and not any(map(_hides_names, ast.walk(tree)))
        return cls(frozenset(bound), certain, frozenset(s.get_name() for s in symbols if s.is_imported()))


def words(path: Path) -> set[str]:
    """Every text that is written out in a Python file, such as the names that its entries of a registry have."""
    tree = ast.parse(path.read_bytes())
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def registered_names(path: Path, package: str) -> set[str]:
    """The names `package>name` by which the classes and functions of a Python file are registered with Keras."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and package in map(_registers_in, node.decorator_list):
            found.add(f"{package}>{node.name}")
    return found


def _registers_in(decorator: ast.expr) -> Any:
    """The package that a decorator registers in with Keras; None of any other decorator."""
    if not isinstance(decorator, ast.Call) or not ast.unparse(decorator.func).endswith("register_keras_serializable"):
        return None
    given = [*decorator.args[:1], *(one.value for one in decorator.keywords if one.arg == "package")]
    return given[0].value if given and isinstance(given[0], ast.Constant) else None


def check_module_defines(module: str, name: str) -> None:
    """As `check_defined`, of a module that Python finds in a package or the working directory; nothing is imported.

    Raises:
        InputError: There is no such package, or the module's file does not define the name.
    """
    top, *inner = module.split(".")
    if module in sys.modules:
        return
    try:
        spec = importlib.util.find_spec(top)  # which imports nothing, where a name inside of it would
    except ValueError:  # a module that says nothing of where it is from
        return
    if spec is None:
        raise InputError(f"there is no module {module!r}. Python looks in the working directory and in packages.")
    if spec.origin is None or not spec.origin.endswith(".py"):
        return
    place = Path(spec.origin).parent.joinpath(*inner) if inner else Path(spec.origin)
    for file in (place, place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file() and not (file.parent / name.split(".")[0]).exists() and file.suffix == ".py":
            check_defined(file, name, module)
            return


def check_defined(path: Path, name: str, called: str | None = None) -> None:
    """Refuses a name that a file certainly does not define.

    Args:
        path: A Python file.
        name: The name, with dots for an attribute of a class, which is left to the import.
        called: The name of the file's module, if it is called so.

    Raises:
        InputError: The file does not define it, or is not Python.
    """
    try:
        found = SourceNames.of(path)
    except SyntaxError as error:
        at = f"{path}:{error.lineno}" if error.lineno else str(path)
        raise InputError(f"{path} does not import: SyntaxError: {error.msg} ({at}).") from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{path} does not import: {type(error).__name__}: {error}.") from error
    first = name.split(".")[0]
    if found.certain and first not in found.names:
        own = found.names if called else found.names - found.imported
        public = [known for known in own if not known.startswith("_")]
        way = did_you_mean(first, public) if public else "It defines no function."
        raise InputError(f"{called or path} has no {name!r}. {way}")


def compiled_with(path: Path, function: str) -> dict[str, Any]:
    """The plain values that the one call of `compile` in a function is given, by argument.

    Args:
        path: A Python file.
        function: A function at its top.

    Returns:
        Names and lists of names as they are written; empty where they are computed, or there is not one such call.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return {}
    [*bodies] = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    calls = [
        node
        for body in bodies
        for node in ast.walk(body)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "compile"
    ]
    if len(bodies) != 1 or len(calls) != 1 or calls[0].args or any(word.arg is None for word in calls[0].keywords):
        return {}
    return {str(word.arg): _literal(word.value) for word in calls[0].keywords}


def _literal(node: ast.expr) -> Any:
    """A value that is written out; an object that equals nothing else for one that is computed."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return object()


def _declared_global(table: symtable.SymbolTable) -> set[str]:
    """The names that functions in a scope assign at the top of the file."""
    found: set[str] = set()
    for inner in table.get_children():
        found |= {s.get_name() for s in inner.get_symbols() if s.is_declared_global() and s.is_assigned()}
        found |= _declared_global(inner)
    return found


def _hides_names(node: ast.AST) -> bool:
    """Whether a part of the syntax may define names that it does not show."""
    if isinstance(node, ast.ImportFrom):
        return any(alias.name == "*" for alias in node.names)
    if isinstance(node, ast.Attribute):
        return node.attr in ("modules", "__dict__", "import_module")  # sys.modules[__name__].build = ...
    return isinstance(node, ast.Name) and node.id in _DYNAMIC
