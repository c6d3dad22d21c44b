"""The command in this process."""

import pytest

from tests import in_process


@pytest.fixture
def cli(monkeypatch, capfd):
    """Runs the command with its arguments; returns exit code, standard output and standard error."""
    return in_process.runner(monkeypatch, capfd)
