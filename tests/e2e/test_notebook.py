"""The notebook runs from its first cell to its last, and is the script beside it."""

import textwrap
from pathlib import Path

import nbformat
import pytest

PIPELINES = Path(__file__).parents[2] / "pipelines"


@pytest.fixture
def notebook():
    return nbformat.read(PIPELINES / "existing_project.ipynb", as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_is_kept_without_results(notebook):
    nbformat.validate(notebook)
    assert {(cell.execution_count, len(cell.outputs)) for cell in code_of(notebook)} == {(None, 0)}


def test_data_and_model_are_those_of_the_script(notebook):
    script = (PIPELINES / "existing_project.py").read_text()
    imports, data, *_ = (cell.source for cell in code_of(notebook))
    assert imports in script
    assert textwrap.indent(data, "    ") in script


@pytest.mark.slow
def test_every_cell_runs_and_says_what_came_of_it(notebook, tmp_path):
    from nbclient import NotebookClient

    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    *_, sparsity, size, table, snippet = (cell.outputs[-1] for cell in code_of(notebook) if cell.outputs)
    assert "0.8" in sparsity.data["text/plain"]
    assert int(size.data["text/plain"]) == (tmp_path / "digits.tflite").stat().st_size
    assert "<table" in table.data["text/html"]
    assert "Interpreter" in snippet.text
