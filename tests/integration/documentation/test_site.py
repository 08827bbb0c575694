"""The site's Python runs, page by page, and what its pages claim holds.

The blocks of a page run from top to bottom in one namespace, those of included files too. A line ``% check: ...`` is a
comment of the page, which readers do not see, and a statement of the test. A block that cannot run here is marked as
``py``, below a comment that says why.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
KOREAN = DOCS / "ko"  # test_korean.py: its code is that of the English pages
PAGES = sorted(path for path in DOCS.rglob("*.md") if not path.name.startswith("_") and KOREAN not in path.parents)
CODE = re.compile(r"^```(?:python\n(.*?)^```|\{include\} (\S+)\n.*?```)|^% check: (.*?)$", re.DOTALL | re.MULTILINE)


def name_of(path: Path) -> str:
    return path.relative_to(DOCS).with_suffix("").as_posix()


def statements(page: Path) -> list[str]:
    """Return the page's blocks and checks in order, with those of the site's own files that it includes."""
    found = []
    for block, included, check in CODE.findall(page.read_text()):
        if included and DOCS in (source := (page.parent / included).resolve()).parents:
            found += statements(source)
        elif block or check:
            found.append(block or check)
    return found


RUNNABLE = [page for page in PAGES if statements(page)]


def test_pages_with_code_are_found():
    assert {"index", "howto/early-stopping", "lightning/own-trainer"} <= {name_of(page) for page in RUNNABLE}


@pytest.fixture
def _one_thread():
    """Use one thread: small models are faster so, much faster on a loaded machine."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_the_code_of_a_page_runs_and_its_claims_hold(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("PL_SEED_WORKERS", os.environ.get("PL_SEED_WORKERS", "0"))  # seed_everything sets both,
    monkeypatch.setenv("PL_GLOBAL_SEED", os.environ.get("PL_GLOBAL_SEED", "0"))  # and other tests may read them
    names: dict[str, object] = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for number, code in enumerate(statements(page), 1):
            exec(compile(code, f"{name_of(page)}.md, block {number}", "exec"), names)
    torch._dynamo.reset()
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_python_runs_or_says_why_not(page):
    text = page.read_text()
    marked = re.findall(r"<!-- not run: .+? -->\n```py\n", text)
    assert len(marked) == len(re.findall(r"^```py\n", text, re.MULTILINE))
    assert not re.search(r"^```(\{code-block\}|\{code-cell\}|py3|Python)", text, re.MULTILINE)


@pytest.mark.parametrize("module", ["trainer", "trainer.addons", "schedulers", "metrics"])
def test_every_public_name_is_in_the_reference(module):
    reference = "\n".join(path.read_text() for path in (DOCS / "reference").glob("*.md"))
    public = set(importlib.import_module(f"zae_engine.{module}").__all__) - {"T"}
    listed = set(re.findall(r"^(?:\.\. auto\w+:: |   )(\w+)", reference, re.MULTILINE))
    assert public <= listed


def test_the_messages_of_the_troubleshooting_page_are_those_of_the_package():
    import lightning.pytorch.callbacks.early_stopping as lightning_source

    sources = [path.read_text() for name in ("zae_engine", "adapters") for path in (ROOT / name).rglob("*.py")]
    sources.append(Path(lightning_source.__file__).read_text())
    text = re.sub(r"""["']\s*\n\s*f?["']""", "", "\n".join(sources)).replace("\\", "")
    messages = re.findall(r"^### (.*)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(messages) > 20
    assert [message for message in messages if message not in text] == []


def test_the_errors_from_a_to_z_are_those_of_the_troubleshooting_page():
    messages = re.findall(r"^### (.*)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    listed = re.findall(
        r"^- \[(.*)\]\(\.\./troubleshooting\.md#", (DOCS / "reference" / "errors.md").read_text(), re.MULTILINE
    )
    assert listed == sorted(messages, key=str.lower)


def test_every_link_has_a_text_so_that_the_pages_can_be_read_as_files():
    assert [name_of(page) for page in DOCS.rglob("*.md") if re.search(r"(?<!!)\[\]\(", page.read_text())] == []


def test_broken_links_are_found(tmp_path):
    (tmp_path / "one.html").write_text(
        '<a id="here"></a><a href="two.html#there">a</a><a href="#here">b</a><a href="https://example.org/x">c</a>'
        '<a href="three.html">d</a><a href="two.html#nowhere">e</a><img src="picture.png">'
    )
    (tmp_path / "two.html").write_text('<p id="there"></p>')
    done = subprocess.run(
        [sys.executable, DOCS / "check_links.py", tmp_path], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert [line.split(": ")[1].split(" leads")[0] for line in done.stdout.splitlines()] == [
        "picture.png",
        "three.html",
        "two.html#nowhere",
    ]
