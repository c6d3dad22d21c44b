"""Pages of the errors, and of the exit codes of the command."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import tfopt
from tfopt import errors
from tfopt.cli import INTERRUPTED
from tfopt.cli.interruption import BY_SIGNAL

from .page import Page, docstring, joined, link, plain, table
from .registries import api

ERRORS_PAGE = "reference/errors.md"
EXIT_CODES_PAGE = "reference/exit-codes.md"
# What an exit code means to one who runs the command.
_MEANINGS = {
    0: "Done.",
    1: "Something failed on the way; the results before it are there, and the same command goes on from them.",
    2: "What was handed in cannot work; one line says what and where, and nothing was computed.",
    3: "Every file and every report was made, and a file is less accurate than was allowed.",
    INTERRUPTED: "Interrupted by Ctrl-C (SIGINT); a run goes on where it was, with the same command.",
    BY_SIGNAL + signal.SIGTERM: "Ended by SIGTERM, in the same way.",
}


def public_errors() -> list[Any]:
    """The classes of errors and warnings, parents before their children."""
    found = [one for name in dir(tfopt) if isinstance(one := getattr(tfopt, name), type)]
    return sorted((one for one in found if issubclass(one, Exception)), key=_ancestry)


def _ancestry(error: type) -> list[str]:
    return [one.__name__ for one in reversed(error.__mro__)]


def error_pages() -> Iterator[Page]:
    """The tree of errors with each of them, and the exit codes."""
    classes = public_errors()
    tree = docstring(errors.__doc__)
    yield Page(ERRORS_PAGE, "Errors", joined("# Errors", tree, *(api(one, 2) for one in classes)))
    rows = []
    for code, meaning in _MEANINGS.items():
        names = [one.__name__ for one in classes if getattr(one, "exit_code", None) == code]
        links = ", ".join(link(f"`{name}`", f"{ERRORS_PAGE}#tfopt.errors.{name}", EXIT_CODES_PAGE) for name in names)
        rows.append((str(code), plain(meaning), links))
    text = joined("# Exit codes", "The codes that `tfopt` ends with.", table(("code", "meaning", "errors"), rows))
    yield Page(EXIT_CODES_PAGE, "Exit codes", text)
