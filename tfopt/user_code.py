"""References to a user's own code, `file.py:name` or `package.module:name`: resolved, imported, digested."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tfopt.errors import InputError, did_you_mean
from tfopt.source_names import check_defined, check_module_defines

_DIGEST = "__tfopt_digest__"
# What Keras writes around the cause of an error: for a terminal, before it and after it.
_BOLD = re.compile(r"\x1b\[\d*m")
_CALLING = "Exception encountered when calling"
_ARGUMENTS = ("Arguments received by", "Call arguments received")


def find_file(text: str, folder: Path) -> Path:
    """The file that `text` names, looked for beside the recipe and then from the working directory.

    Raises:
        InputError: The file is in neither place.
    """
    tried = dict.fromkeys(Path(os.path.abspath(base / text)) for base in (folder, Path.cwd()))
    for path in tried:
        if path.exists():
            return path.resolve()
    places = " and ".join(map(str, tried))
    raise InputError(f"there is no file {text!r}. Looked for: {places}.")


@dataclass(frozen=True)
class Ref:
    """A reference to a function or class in a Python file or module.

    Args:
        target: A `.py` file, or the dotted name of a module that Python can import.
        name: Name of the function or class; with dots for an attribute of a class.
        arguments: Keyword arguments of the call.
    """

    target: Path | str
    name: str
    arguments: dict[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, text: Any, folder: Path) -> Ref:
        """Reads `file.py:name` (relative to the recipe's folder or the working directory) or `package.module:name`.

        `{file.py:name: {argument: value}}` gives it arguments.

        Raises:
            InputError: `text` has neither form, the file does not exist, or certainly does not define the name.
        """
        if isinstance(text, Mapping):
            return cls._with_arguments(text, folder)
        target, _, name = text.rpartition(":")
        if not target or not all(part.isidentifier() for part in name.split(".")):
            raise InputError(f"a reference is written file.py:function or package.module:function. Received: {text!r}.")
        if target.endswith(".py"):
            file = find_file(target, folder)
            check_defined(file, name)
            return cls(file, name)
        if "/" in target or not all(part.isidentifier() for part in target.split(".")):
            raise InputError(f"{target!r} is neither a .py file nor the name of a module. Received: {text!r}.")
        with _importable(Path.cwd() / "_"):
            check_module_defines(target, name)
        return cls(target, name)

    @classmethod
    def _with_arguments(cls, call: Mapping[Any, Any], folder: Path) -> Ref:
        if len(call) != 1 or not isinstance(next(iter(call.values())), Mapping | None):
            raise InputError(
                "a reference with arguments is written {file.py:function: {argument: value}}. "
                f"Received: {dict(call)!r:.100}."
            )
        [(name, arguments)] = call.items()
        return replace(cls.parse(str(name), folder), arguments={str(k): v for k, v in (arguments or {}).items()})

    def load(self) -> Any:
        """Imports the module and returns what the name stands for.

        Raises:
            InputError: The import failed (with the original error), or the module has no such name.
        """
        module = import_file(self.target) if isinstance(self.target, Path) else _import_module(self.target)
        found: Any = module
        for part in self.name.split("."):
            if not hasattr(found, part):
                public = [n for n in dir(found) if not n.startswith("_")]
                raise InputError(f"{self.target} has no {self.name!r}. {did_you_mean(part, public)}")
            found = getattr(found, part)
        return found

    def call(self, *args: Any) -> Any:
        """Loads the function and calls it with its arguments and the file's folder importable; lists become tuples.

        Raises:
            InputError: The name is not callable, or the call raised; the message says what and where.
        """
        function = self.load()
        if not callable(function):
            raise InputError(f"{self} is not a function. Received: {type(function).__name__}.")
        with _importable(self.target):
            try:
                return function(*args, **{k: tuple(v) if isinstance(v, list) else v for k, v in self.arguments.items()})
            except (Exception, SystemExit) as error:
                raise InputError(f"{self} failed: {describe(error)}") from error

    def digest(self) -> str:
        """sha256 over the code behind the name: the file and the files beside it that it imports, in any depth."""
        path = self.target if isinstance(self.target, Path) else _module_file(self.target)
        return digest_sources(path, self.name, *([repr(sorted(self.arguments.items()))] if self.arguments else []))

    def __str__(self) -> str:
        return f"{self.target}:{self.name}"


def describe(error: BaseException) -> str:
    """An exception as one line: its type, its first line, and the user's line that raised it."""
    text = [line for line in _BOLD.sub("", str(error)).strip().splitlines() if line.strip()]
    ends = [number for number, line in enumerate(text) if line.lstrip().startswith(_ARGUMENTS)]
    text = [line for line in text[: ends[0] if ends else None] if not line.lstrip().startswith(_CALLING)] or text
    if text and text[0].endswith(":"):  # TensorFlow says the cause last
        causes = [cause for line in text if (cause := line.split("[[")[0].strip())]
        text = causes[-1:]
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    foreign = ("<", sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(__file__).parent))
    own = [frame for frame in frames if not frame.filename.startswith(foreign)]
    at = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {text[0] if text else 'no message'}{at}"


def import_file(path: Path) -> ModuleType:
    """Imports a Python file by path, once in a process, with its folder importable meanwhile.

    Raises:
        InputError: The import failed; the original error is in the message.
    """
    digest, file = digest_sources(path), str(path)
    for module in list(sys.modules.values()):
        # Of the module's own: thousands are asked, and some would import more to answer.
        if getattr(module, "__dict__", {}).get("__file__") == file:
            if vars(module).setdefault(_DIGEST, digest) == digest:
                return module
            _forget(path)  # the file changed since, in a notebook say: its code must be that of its digest
    _make_way(path)
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    setattr(module, _DIGEST, digest)
    sys.modules[name] = module
    with _importable(path):
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # a script may parse a command line or exit as it is imported
            del sys.modules[name]
            raise InputError(f"{path} does not import: {describe(error)}") from error
    return module


def _forget(path: Path) -> None:
    """Has a file and the user's files that it imports imported anew, by dropping their modules."""
    files = {str(file) for file in _closure(path)}
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) in files and name != "__main__":
            del sys.modules[name]


def _make_way(path: Path) -> None:
    """Drops modules of other projects that have the names of files that this one imports from its folder."""
    for file in _closure(path):
        module = sys.modules.get(file.stem)
        other = getattr(module, "__file__", None)
        installed = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
        if file != path and other and other != str(file) and not other.startswith(installed):
            del sys.modules[file.stem]


def _import_module(name: str) -> ModuleType:
    with _importable(Path.cwd() / "_"):
        try:
            module = importlib.import_module(name)
            file = getattr(module, "__file__", None)
            digest = digest_sources(Path(file)) if file else ""
            if vars(module).setdefault(_DIGEST, digest) != digest:
                _forget(Path(str(file)))
                module = importlib.import_module(name)
                setattr(module, _DIGEST, digest)
            return module
        except (Exception, SystemExit) as error:
            raise InputError(f"module {name!r} does not import: {describe(error)}") from error


def _module_file(name: str) -> Path:
    with _importable(Path.cwd() / "_"):
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError) as error:
            raise InputError(f"module {name!r} does not import: {describe(error)}") from error
    if spec is None or not spec.origin:
        raise InputError(f"there is no module {name!r}. Python looks in the working directory and in packages.")
    return Path(spec.origin)


@contextlib.contextmanager
def _importable(target: Path | str) -> Iterator[None]:
    """Puts the folder of a file on the import path for the length of the block, as `python file.py` would."""
    if not isinstance(target, Path):
        yield
        return
    folder = str(target.parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def digest_sources(path: Path, *extra: str) -> str:
    """sha256 over a Python file and the files of its folder or package that it imports, directly or through others.

    An installed package, which may have thousands, is digested by the sizes and dates of its files.
    """
    digest = hashlib.sha256(repr(extra).encode())
    if installed := _installed(path):
        stats = [(str(file), file.stat()) for file in sorted(installed.rglob("*.py"))] or [(path.name, path.stat())]
        digest.update(repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]).encode())
        return digest.hexdigest()
    for file, content in sorted(_closure(path).items()):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _installed(path: Path) -> Path | None:
    """The installed package, or the file of the standard library, that a file belongs to; None for a user's own."""
    for folder in map(Path, (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))):
        if path.is_relative_to(folder):
            return folder / path.relative_to(folder).parts[0]
    return path if path.is_relative_to(sysconfig.get_path("stdlib")) else None


def _closure(path: Path) -> dict[Path, bytes]:
    """A file and the user's files that it imports, directly or through others, with their contents."""
    seen: dict[Path, bytes] = {}
    queue = [path]
    while queue:
        file = queue.pop()
        if file not in seen and file.is_file():
            seen[file] = file.read_bytes()
            queue.extend(_imports(file, seen[file]) if file.suffix == ".py" else ())
    return seen


def _imports(file: Path, source: bytes) -> Iterator[Path]:
    """The files that the imports of a file could mean, in its folder and from the top of its package."""
    top = file.parent
    while (top / "__init__.py").exists():
        top = top.parent
    for name, level in _imported_names(source):
        for root in {file.parents[level - 1]} if level else {file.parent, top}:
            stem = root.joinpath(*name.split("."))
            yield from (stem.with_suffix(".py"), stem / "__init__.py")


@functools.lru_cache(maxsize=256)
def _imported_names(source: bytes) -> tuple[tuple[str, int], ...]:
    """The names that a source could import as modules, each with the level of a relative import, else 0.

    A run asks for those of the same few files over and over.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = f"{node.module}." if node.module else ""
            names = [node.module or "", *(module + alias.name for alias in node.names)]
            found += [(name, node.level) for name in names if name]
    return tuple(found)


def digest_callable(function: Any) -> str:
    """sha256 over the code of a function or class that was handed over as an object.

    One at the top of a file is digested with its file, and a function always with what is loaded, which may be older
    than the file; values that it carries or finds around it (a closure's, a method's object, globals) count too.
    """
    if isinstance(function, functools.partial):
        return hashlib.sha256(
            repr([_content(function.func), _content([function.args, function.keywords])]).encode()
        ).hexdigest()
    parts: list[str] = [_content(vars(getattr(function, "__self__", None)))] if inspect.ismethod(function) else []
    function = inspect.unwrap(function.__func__ if inspect.ismethod(function) else function)
    known = inspect.isfunction(function) or inspect.isclass(function)
    file = _source_file(function) if known else None
    if file and "<locals>" not in function.__qualname__:
        parts.append(digest_sources(file, function.__qualname__))
    elif inspect.isclass(function):
        parts += [digest_callable(value) for value in vars(function).values() if inspect.isfunction(value)]
    code = getattr(function, "__code__", None)
    if code is None:
        return hashlib.sha256(repr([*parts, "" if known else _content(function)]).encode()).hexdigest()
    around = {name: function.__globals__[name] for name in code.co_names if name in function.__globals__}
    carried = [cell.cell_contents for cell in function.__closure__ or ()]
    values = [carried, function.__defaults__, function.__kwdefaults__, around if not file else None]
    parts += [repr(_code(code)), _content(values)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _source_file(function: Any) -> Path | None:
    try:
        file = inspect.getsourcefile(function)
    except TypeError:
        return None
    return Path(file).resolve() if file and Path(file).is_file() else None


def _code(code: CodeType) -> tuple[Any, ...]:
    """The parts of a code object that do not change where its lines move."""
    constants = tuple(_code(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.co_code, constants, code.co_names, code.co_varnames


def _content(value: Any) -> str:
    """A text that identifies the content of a value that a function carries with it."""
    if isinstance(value, ModuleType):
        return value.__name__
    if inspect.isfunction(value) or inspect.ismethod(value) or isinstance(value, functools.partial):
        return digest_callable(value)
    if inspect.isclass(value):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Mapping):
        return repr([(repr(key), _content(item)) for key, item in value.items()])
    if isinstance(value, list | tuple | set):
        return repr([_content(item) for item in value])
    if hasattr(value, "tobytes"):
        array = f"{getattr(value, 'dtype', '')} {getattr(value, 'shape', '')}"
        return f"{array} {hashlib.sha256(value.tobytes()).hexdigest()}"
    return repr(value)
