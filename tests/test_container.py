"""The Dockerfile, as far as it can be read: it installs and runs what the documents tell, from what is copied."""

import json
import re
import tomllib
from pathlib import Path

from tests.docs.commands import commands_of
from tests.docs.documents import blocks_of

ROOT = Path(__file__).parents[1]


def instructions():
    """The instructions of the Dockerfile, each with the rest of its line."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_runs_the_commands_of_the_page_on_installing():
    told = [" ".join(words) for block in blocks_of(ROOT / "docs" / "install.md") for words in commands_of(block)]
    run = [rest for word, rest in instructions() if word == "RUN"]
    assert run == ["pip install .", "tfopt demo"]
    assert set(run) <= set(told)


def test_the_entry_point_is_a_command_of_the_package_on_a_python_that_it_takes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = dict(instructions())
    assert json.loads(found["ENTRYPOINT"])[0] in project["scripts"]
    version = re.fullmatch(r"python:(3\.\d+)-slim", found["FROM"])[1]
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]


def test_what_is_copied_is_all_that_the_package_is_built_from():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    built_from = {"tfopt", "pipelines", "pyproject.toml", "setup.py", "MANIFEST.in", project["readme"]}
    assert copied == built_from | set(project["license-files"])
