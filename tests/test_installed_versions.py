"""Packages that are older than tfopt's metadata allows are said when tfopt is imported."""

import os
import subprocess
import sys
import warnings
from importlib.metadata import PackageNotFoundError

import pytest

import tfopt
from tfopt import installed_versions

ROOT = os.path.dirname(os.path.dirname(tfopt.__file__))


def said_with(monkeypatch, needed, installed):
    """The warnings of a tfopt whose metadata asks for `needed`, where `installed` is there."""

    def version(name):
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(installed_versions, "requires", lambda name: needed)
    monkeypatch.setattr(installed_versions, "version", version)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        installed_versions.warn_of_old_versions()
    return [str(warning.message) for warning in said]


def test_older_packages_are_one_line_with_the_way_out(monkeypatch):
    needed = ["keras>=3.15", "numpy>=2.0", "tensorflow>=2.21"]
    said = said_with(monkeypatch, needed, {"keras": "3.8.0", "numpy": "2.4.6", "tensorflow": "2.18.1"})
    assert said == [
        "tfopt needs newer releases: pip install --upgrade 'keras>=3.15' 'tensorflow>=2.21'. "
        "Received: keras 3.8.0, tensorflow 2.18.1."
    ]


@pytest.mark.parametrize(
    ("needed", "installed"),
    [
        (["keras>=3.15"], {"keras": "3.15.0"}),
        (["keras>=3.15"], {"keras": "3.16.0.dev2"}),
        (["keras>=3.15"], {}),
        (["keras-hub>=0.32; extra == 'hub'"], {"keras-hub": "0.1"}),
        (["setuptools>=65; python_version < '3'"], {"setuptools": "1.0"}),
        (None, {}),
    ],
    ids=["the bound", "a preview of a later release", "missing", "an extra", "another Python", "no requirements"],
)
def test_nothing_is_said_of_what_is_new_enough_or_not_needed(monkeypatch, needed, installed):
    assert said_with(monkeypatch, needed, installed) == []


def test_a_checkout_that_is_not_installed_says_nothing(monkeypatch):
    def requires(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installed_versions, "requires", requires)
    installed_versions.warn_of_old_versions()


def test_importing_tfopt_says_it(tmp_path):
    info = tmp_path / "tfopt-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tfopt\nVersion: 0.1.0\nRequires-Dist: numpy>=999\n")
    path = os.pathsep.join([str(tmp_path), ROOT])
    environment = {**os.environ, "PYTHONPATH": path}
    finished = subprocess.run(
        [sys.executable, "-c", "import tfopt"], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert finished.returncode == 0, finished.stderr
    assert "TfoptWarning: tfopt needs newer releases: pip install --upgrade 'numpy>=999'." in finished.stderr
    assert finished.stderr.startswith("<string>:1:")
