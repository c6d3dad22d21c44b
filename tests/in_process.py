"""The command in this process."""

import sys

import pytest

from tfopt.cli import main


def runner(monkeypatch, capfd):
    """Runs the command with its arguments; returns exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tfopt", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        return caught.value.code or 0, out, err

    return run
