"""What shells complete: names of registries, at once and without a framework."""

import os
import subprocess
import sys

import pytest

from tfopt.recipe.modes import MODES, RANGES, ROUNDINGS
from tfopt.recipe.stage import INSTALLED
from tfopt.recipe.target import TARGETS

COMPLETE = """
import sys
from tfopt.cli import main
sys.argv = ["tfopt"]
try:
    main()
finally:
    loaded = {"tensorflow", "keras", "sklearn", "scipy"} & set(sys.modules)
    print("loaded:", *loaded)
"""


@pytest.fixture
def complete(cli, monkeypatch):
    """What a shell is offered after some words, the last of which may be begun."""

    def offered(*words):
        monkeypatch.setenv("_TFOPT_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(["tfopt", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return cli()[1].split()

    return offered


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("stages", ""), INSTALLED),
        (("convert", "--mode", ""), MODES),
        (("convert", "--rounding", ""), ROUNDINGS),
        (("convert", "--ranges", ""), RANGES),
        (("convert", "--target", ""), TARGETS),
        (("devices", ""), TARGETS),
        (("init", "--goal", ""), ("safe", "smallest", "fastest")),
        (("run", "--strategy", "m"), ("mirrored", "multi_worker")),
        (("stages", "prune"), ("prune", "prune_channels")),
        (("convert", "--mode", "nothing"), ()),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_names_are_completed(complete, words, names):
    assert complete(*words) == list(names)


def test_completion_imports_no_framework(python):
    asked = {"_TFOPT_COMPLETE": "complete_bash", "COMP_WORDS": "tfopt convert --target e", "COMP_CWORD": "3"}
    *offered, loaded = python(COMPLETE, **asked).splitlines()
    assert offered == [name for name in TARGETS if name.startswith("e")]
    assert loaded == "loaded:"


def test_what_zsh_is_told_of_a_name_is_one_line(cli, monkeypatch):
    monkeypatch.setenv("_TFOPT_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "tfopt stages prune_")
    assert len(cli()[1].splitlines()) == 1


def test_completion_is_installed_under_the_commands_own_name(tmp_path):
    home = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-m", "tfopt", "--install-completion", "bash"]
    finished = subprocess.run(command, env={**os.environ, **home}, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    script = (tmp_path / ".bash_completions" / "tfopt.sh").read_text()
    assert "_TFOPT_COMPLETE=complete_bash" in script
    assert "tfopt.sh" in (tmp_path / ".bashrc").read_text()
