"""The notebooks run from top to bottom, and are committed with what they show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes

EXAMPLES = Path(__file__).parents[3] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def outputs_of(book):
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures_of(book):
    return [output for output in outputs_of(book) if "image/png" in output.get("data", {})]


def test_the_tutorials_of_the_site_list_each_of_them():
    index = (EXAMPLES.parent / "docs" / "tutorials" / "index.md").read_text()
    assert len(NOTEBOOKS) >= 7
    assert sorted(re.findall(r"<(\w+)>$", index, re.MULTILINE)) == [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(path):
    book = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    for link in re.findall(r"\]\(((?!http)[^)#]+)", text):
        assert (EXAMPLES / link).exists(), link


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom_and_shows_as_many_pictures(path, tmp_path):
    book = nbformat.read(path, as_version=4)
    n_pictures = len(pictures_of(book))
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert len(pictures_of(book)) == n_pictures > 0
    assert not [output for output in outputs_of(book) if output.output_type == "error"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_with_its_outputs_and_nothing_of_the_machine_that_made_them(path):
    text = path.read_text()
    book = nbformat.reads(text, as_version=4)
    assert all(cell.execution_count for cell in book.cells if cell.cell_type == "code")
    assert pictures_of(book)
    shown = json.dumps([output for output in outputs_of(book) if "image/png" not in output.get("data", {})])
    assert not re.search(r"/root|/home|/work|/tmp|site-packages|Traceback|Warning", shown)
    assert "widget-view" not in shown
    assert len(text) < 1_000_000
