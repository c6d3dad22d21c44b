"""Packages that are older than tfopt's metadata allows are said when tfopt is imported."""

import os
import subprocess
import sys
import sysconfig
import warnings
from importlib.metadata import requires

import packaging.requirements  # noqa: F401  loaded before the tests take its folder off the path
import pytest

import tfopt
from tfopt import installed_versions

ROOT = os.path.dirname(os.path.dirname(tfopt.__file__))
STANDARD = [one for one in sys.path if one.startswith(sysconfig.get_path("stdlib")) and "-packages" not in one]


def install(folder, name, version, needed=()):
    """Puts metadata of a package into a folder, as an installer does."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = [f"Requires-Dist: {line}\n" for line in needed]
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{''.join(lines)}\nRequires-Dist: prose>=9\n"
    (info / "METADATA").write_text(text)


@pytest.fixture
def outcome(monkeypatch, tmp_path):
    """What is said where tfopt asks for `needed` and `installed` is there, and whether folders' names told it."""

    def outcome(needed, installed):
        install(tmp_path, "tfopt", "0.1.0", needed)
        for name, version in installed.items():
            install(tmp_path, name, version)
        monkeypatch.setattr(sys, "path", [str(tmp_path), *STANDARD])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            installed_versions.warn_of_old_versions()
        return [str(warning.message) for warning in said], installed_versions._new_enough_by_name()

    return outcome


def test_older_packages_are_one_line_with_the_way_out(outcome):
    needed = ["keras>=3.15", "numpy>=2.0", "tensorflow>=2.21"]
    said, _ = outcome(needed, {"keras": "3.8.0", "numpy": "2.4.6", "tensorflow": "2.18.1"})
    assert said == [
        "tfopt needs newer releases: pip install --upgrade 'keras>=3.15' 'tensorflow>=2.21'. "
        "Received: keras 3.8.0, tensorflow 2.18.1."
    ]


@pytest.mark.parametrize(
    ("needed", "installed"),
    [
        (["keras>=3.15"], {"keras": "3.14.9"}),
        (["keras>=3.15"], {"keras": "3.9"}),
        (["keras>=3.15"], {"keras": "3.15.0.dev2"}),
        (["keras>=3.15,<4"], {"keras": "4.0"}),
        (["ruamel.yaml>=0.18"], {"ruamel_yaml": "0.17.40"}),
        (["setuptools>=65; python_version > '3'"], {"setuptools": "64"}),
    ],
    ids=["a patch", "one digit", "a preview of the bound", "an upper bound", "another spelling", "a marker"],
)
def test_what_is_older_is_said(outcome, needed, installed):
    [line], by_name = outcome(needed, installed)
    assert line.endswith(f"{next(iter(installed.values()))}.")
    assert not by_name


@pytest.mark.parametrize(
    ("needed", "installed", "by_name"),
    [
        (["keras>=3.15"], {"keras": "3.15.0"}, True),
        (["keras>=3.9"], {"keras": "3.15"}, True),
        (["ruamel.yaml>=0.18"], {"ruamel_yaml": "0.18"}, True),
        (["tensorflow>=2.21"], {"tensorflow": "2.21.0+cpu"}, True),
        (["keras-hub>=0.32; extra == 'hub'"], {"keras_hub": "0.1"}, True),
        ([], {}, True),
        (["keras>=3.15.0"], {"keras": "3.15"}, False),
        (["keras>=3.15"], {"keras": "3.16.0.dev2"}, False),
        (["keras>=3.15,<4"], {"keras": "3.16"}, False),
        (["keras>=3.15"], {}, False),
        (["setuptools>=65; python_version < '3'"], {"setuptools": "1.0"}, False),
    ],
    ids=[
        "the bound",
        "two digits",
        "another spelling",
        "a local build",
        "an extra",
        "no requirements",
        "a zero less",
        "a preview of a later release",
        "two bounds",
        "missing",
        "another Python",
    ],
)
def test_nothing_is_said_of_what_is_new_enough_or_not_needed(outcome, needed, installed, by_name):
    assert outcome(needed, installed) == ([], by_name)


def test_a_checkout_that_is_not_installed_says_nothing(monkeypatch, tmp_path):
    (tmp_path / "empty.zip").touch()
    places = [tmp_path, tmp_path / "gone", tmp_path / "empty.zip"]
    monkeypatch.setattr(sys, "path", [*map(str, places), *STANDARD])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        installed_versions.warn_of_old_versions()


def test_every_bound_of_tfopt_itself_is_one_that_names_of_folders_tell():
    own = [line for line in requires("tfopt") if "extra ==" not in line]
    assert own
    for line in own:
        name, _, bound = line.partition(";")[0].partition(">=")
        assert installed_versions._numbers(bound.strip()), name


def test_importing_tfopt_says_it(tmp_path):
    finished = imported(tmp_path, ["numpy>=999"], "import tfopt")
    assert "TfoptWarning: tfopt needs newer releases: pip install --upgrade 'numpy>=999'." in finished.stderr
    assert finished.stderr.startswith("<string>:1:")


def test_importing_tfopt_imports_nothing_to_compare_versions_where_all_are_new_enough(tmp_path):
    install(tmp_path, "numpy", "2.4.6")
    code = "import sys; import tfopt; print('packaging' in sys.modules)"
    finished = imported(tmp_path, ["numpy>=2.0"], code)
    assert (finished.stdout, finished.stderr) == ("False\n", "")


def imported(folder, needed, code):
    """Runs code in a fresh interpreter, where tfopt asks for `needed`."""
    install(folder, "tfopt", "0.1.0", needed)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), ROOT])}
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished
