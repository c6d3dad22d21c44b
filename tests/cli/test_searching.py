"""The command `search`, without a search."""

import pytest
from typer.testing import CliRunner

import tfopt.cli.searching as searching
from tfopt.cli import app
from tfopt.errors import InputError
from tfopt.pipeline import process_pool

SEARCH = """
name: searched
model: model.py:build
data: digits
stages:
  - train: {epochs: 1}
  - search: {max_drop: 0.1}
"""
TUNE = """
name: tuned
model: model.py:build
data: digits
stages:
  - tune: {stages: [{train: {epochs: 1}}], space: {train.l2: [0.0, 0.1]}}
"""


@pytest.fixture
def started(monkeypatch):
    """The command and the environments of the processes that would be started."""
    found = []

    class Fake:
        def __init__(self, command, environments, notify):
            found.append((command, environments))

        def run(self):
            return 0

    monkeypatch.setattr(process_pool, "ProcessPool", Fake)
    return found


def call(monkeypatch, tmp_path, text, *words):
    file = tmp_path / "r.yaml"
    file.write_text(text)
    words = ["search", str(file), *words]
    monkeypatch.setattr(searching.sys, "argv", ["tfopt", *words])
    return CliRunner().invoke(app, words)


@pytest.mark.parametrize(
    "words", [["--workers", "3"], ["--workers=3"], ["-w", "3"], ["-w3"], ["-w2", "--workers", "3"]]
)
def test_every_process_runs_the_same_alone(monkeypatch, tmp_path, started, words):
    assert call(monkeypatch, tmp_path, SEARCH, *words).exit_code == 0
    [(command, environments)] = started
    assert environments == [{}] * 3
    again = command[command.index("tfopt") + 1 :]
    assert again[-2:] == ["--workers", "1"]
    started.clear()
    monkeypatch.setattr(
        "tfopt.pipeline.runner.run", lambda *arguments, **more: (_ for _ in ()).throw(InputError("here"))
    )
    result = CliRunner().invoke(app, again)  # what each of them does: it starts no other
    assert isinstance(result.exception, InputError)
    assert started == []


def test_to_tune_there_is_a_chief_besides(monkeypatch, tmp_path, started):
    assert call(monkeypatch, tmp_path, TUNE, "--workers", "2").exit_code == 0
    [(_, environments)] = started
    assert [own["KERASTUNER_TUNER_ID"] for own in environments] == ["chief", "tuner0", "tuner1"]
    assert len({(own["KERASTUNER_ORACLE_IP"], own["KERASTUNER_ORACLE_PORT"]) for own in environments}) == 1


def test_a_recipe_without_anything_to_share_is_one_line(monkeypatch, tmp_path):
    result = call(monkeypatch, tmp_path, SEARCH.replace("  - search: {max_drop: 0.1}\n", ""), "--workers", "2")
    assert isinstance(result.exception, InputError)
    assert "has no stage whose work can be shared" in str(result.exception)


def test_the_storage_of_the_command_line_is_that_of_the_recipe(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("tfopt.pipeline.runner.run", lambda recipe, *rest, **more: seen.append(recipe) or 1 / 0)
    call(monkeypatch, tmp_path, SEARCH, "--storage", "sqlite:///here.db")
    assert seen[0].runtime.storage == "sqlite:///here.db"
