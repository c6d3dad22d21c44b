"""The schema of recipes in an editor: installed where recipes look for it, and tried with a YAML language server."""

import json
import os
import shutil

import pytest

from tests.cli.language_server import LanguageServer
from tfopt.recipe.json_schema import SCHEMA_FILE, schema_line, with_schema_line

RECIPE = "# A recipe.\nname: a\nmodel: m.keras\ndata: digits\nstages:\n  - quantize: {mode: int8}\n"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A folder with a recipe in a folder of its own, as the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "a.yaml").write_text(RECIPE)
    return tmp_path


def test_the_schema_is_installed_and_recipes_get_a_line_that_leads_to_it(cli, project):
    recipe = project / "recipes" / "a.yaml"
    for _ in range(2):  # once more changes nothing
        code, out, _ = cli("schema", "--install", "recipes/a.yaml")
        assert code == 0
        assert recipe.read_text() == f"# yaml-language-server: $schema=../{SCHEMA_FILE}\n{RECIPE}"
    assert out == f"file {SCHEMA_FILE}\n"  # the line was there
    assert json.loads((project / SCHEMA_FILE).read_text()) == json.loads(cli("schema")[1])


def test_the_line_and_the_setting_of_an_editor_are_told_where_no_recipe_is_named(cli):
    code, out, _ = cli("schema", "--install")
    assert code == 0
    assert f"# yaml-language-server: $schema={SCHEMA_FILE}" in out
    assert '"yaml.schemas"' in out


@pytest.mark.parametrize("arguments", [("--install", "none.yaml"), ("recipes/a.yaml",)], ids=["no file", "no option"])
def test_a_mistake_is_one_line_and_installs_nothing(cli, project, arguments):
    code, out, err = cli("schema", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert not (project / SCHEMA_FILE).exists()


def test_an_older_line_makes_way(project):
    line = schema_line(project / "recipes" / "a.yaml", project / SCHEMA_FILE)
    assert with_schema_line(f"# yaml-language-server: $schema=elsewhere.json\n{RECIPE}", line) == f"# {line}\n{RECIPE}"


@pytest.fixture
def server():
    """A YAML language server, of npm's package `yaml-language-server`."""
    command = os.environ.get("YAML_LANGUAGE_SERVER") or shutil.which("yaml-language-server")
    if not command or not shutil.which("node"):
        pytest.skip("no yaml-language-server: npm install -g yaml-language-server, or name it in YAML_LANGUAGE_SERVER")
    with LanguageServer([command, "--stdio"]) as started:
        yield started


@pytest.mark.slow
def test_an_editor_completes_stages_and_their_settings_and_says_what_is_wrong(cli, project, server):
    recipe, wrong = project / "recipes" / "a.yaml", project / "recipes" / "wrong.yaml"
    recipe.write_text(RECIPE.replace("{mode: int8}", "\n      mode: int8\n      \n  - "))
    wrong.write_text(RECIPE + "  - quantise: {}\n  - quantize: {mode: int9}\n  - prune: {epochs: 1, sparsty: 0.5}\n")
    assert cli("schema", "--install", "recipes/a.yaml", "recipes/wrong.yaml")[0] == 0
    server.open(recipe)
    stages, settings, modes = (server.complete(recipe, *place) for place in ((9, 4), (8, 6), (7, 12)))
    assert {"train", "prune", "quantize", "verify"} <= set(stages)
    assert {"max_drop", "rounding", "target"} <= set(settings)
    assert {"int8", "int4", "float16"} <= set(modes)
    told = {found["range"]["start"]["line"]: found["message"] for found in server.open(wrong)}
    assert "quantise" in told[7]
    assert "int8" in told[8]
    assert "sparsty" in told[9]
    assert set(told) == {7, 8, 9}
