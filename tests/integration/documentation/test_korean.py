"""A Korean page says what its English page says: the same headings, tables, code and links."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from .outline import Outline, outline, without_comments

DOCS = Path(__file__).parents[3] / "docs"
KOREAN = DOCS / "ko"
TRANSLATED = ("index", "install", "porting/index", "troubleshooting")


def page_outline(page: Path) -> Outline:
    """Return a page's outline, without the links between the languages; links are those to English pages."""
    text = (
        re.sub(r":::\{note\}.*?:::\n", "", page.read_text(), count=1, flags=re.DOTALL)
        if KOREAN in page.parents
        else page.read_text()
    )
    text = re.sub(r"^\[한국어\].*\n", "", text, flags=re.MULTILINE)
    found = outline(re.sub(r"```\{toctree\}.*?```", "", text, flags=re.DOTALL))
    return found._replace(links=sorted({english(page, link) for link in found.links}))


def english(page: Path, link: str) -> str:
    """Return where a link leads to, from `docs`, on the English page; without the anchor, which is translated."""
    if "://" in link:
        return link
    path = os.path.relpath((page.parent / link.split("#")[0]).resolve(), DOCS)
    return path.removeprefix("ko/")


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_korean_page_has_the_outline_of_its_english_page(name):
    assert page_outline(KOREAN / f"{name}.md") == page_outline(DOCS / f"{name}.md")


def test_the_korean_tutorial_has_the_code_of_the_notebook():
    book = json.loads((DOCS.parent / "examples" / "1_first_trainer.ipynb").read_text())
    code_cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    cells = [("python", code.removesuffix(";") + "\n") for code in code_cells]  # a semicolon hides a cell's value
    page = outline((KOREAN / "tutorials" / "first-trainer.md").read_text())
    assert page.code == [(language, without_comments(language, code)) for language, code in cells]
    text = "\n".join("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "markdown")
    assert page.headings == outline(text).headings


def test_every_korean_page_is_compared_or_the_glossary():
    pages = {path.relative_to(KOREAN).with_suffix("").as_posix() for path in KOREAN.rglob("*.md")}
    assert pages == {*TRANSLATED, "tutorials/first-trainer", "glossary"}


def test_the_messages_stay_in_english_on_the_korean_page_of_errors():
    messages = [
        re.findall(r"^### (.*)$", (folder / "troubleshooting.md").read_text(), re.MULTILINE)
        for folder in (DOCS, KOREAN)
    ]
    assert messages[0] == messages[1]
