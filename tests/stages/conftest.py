"""Recipes over the digits, for a test module whose `MODEL` is the source of the recipe's model file."""

import pytest

HEAD = "name: t\nmodel: model.py:{build}\ndata: digits\nloss: sparse_categorical_crossentropy\nstages:\n"


@pytest.fixture
def recipe(request, tmp_path):
    """Writes r.yaml of the given stages, each a line of YAML, and returns its path; the first stage is on line 6."""
    (tmp_path / "model.py").write_text(request.module.MODEL)

    def write(*stages, build="build"):
        path = tmp_path / "r.yaml"
        path.write_text(HEAD.format(build=build) + "".join(f"  - {stage}\n" for stage in stages))
        return path

    return write
