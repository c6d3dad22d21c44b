"""The package as it is installed: built, put into a clean environment, and its demo run without a checkout."""

import json
import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tfopt.cli import demo

ROOT = Path(__file__).parents[2]
# What a build is made of.
SOURCES = ("tfopt", "pipelines", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
UNREACHABLE = ("No matching distribution", "NewConnectionError", "Temporary failure in name resolution")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, made from the source distribution as `python -m build` does."""
    sources, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, sources)
    built = run(sys.executable, "-m", "build", "--outdir", out, sources)
    if any(words in built.stdout + built.stderr for words in UNREACHABLE):
        pytest.skip(f"the build's own packages cannot be had here: {built.stderr.strip().splitlines()[-1]}")
    assert built.returncode == 0, (built.stdout + built.stderr)[-3000:]
    [file] = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def bin_folder(wheel, tmp_path_factory):
    """The programs of an environment with the wheel, whose dependencies are those of this one."""
    place = tmp_path_factory.mktemp("environment")
    assert run(sys.executable, "-m", "venv", place).returncode == 0
    python = place / "bin" / "python"
    installed = run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    assert installed.returncode == 0, installed.stderr
    [packages] = place.glob("lib/python*/site-packages")
    # Python looks for `.pth` files in no folder that one names: this environment's own tfopt stays out.
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return place / "bin"


def run(*command, **options):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, env=environment, timeout=1800, **options
    )


def test_in_a_checkout_the_demo_is_the_recipe_of_the_pipelines():
    assert demo.recipe_of_demo() == ROOT / "pipelines" / "digits.yaml"


@pytest.mark.slow
def test_the_wheel_has_all_files_of_the_package_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = {file.relative_to(ROOT) for file in (ROOT / "tfopt").rglob("*") if file.is_file()}
    kept = {str(file) for file in tracked if "__pycache__" not in file.parts}
    assert names == kept | {"tfopt/pipelines/digits.yaml", "tfopt/pipelines/digits.py"}


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_in_an_empty_folder(bin_folder, tmp_path):
    where = run(bin_folder / "python", "-c", "import tfopt; print(tfopt.__file__)", cwd=tmp_path)
    assert Path(where.stdout.strip()).is_relative_to(bin_folder.parent)
    finished = run(bin_folder / "tfopt", "demo", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.rstrip().endswith(f"{Path('tfopt', 'pipelines', 'digits.yaml')}")
    assert [path.name for path in tmp_path.iterdir()] == ["saved_models"]
    report = json.loads((tmp_path / "saved_models" / "digits" / "report.json").read_text())
    assert report["passed"]
    assert {row["stage"]: row["metrics"] for row in report["rows"]}["int8"]["accuracy"] > 0.95
