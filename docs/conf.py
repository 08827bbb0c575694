"""Configuration: how Sphinx builds the documentation site. ``nox -s docs`` builds it; it needs no network."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx

import zae_engine
from zae_engine.trainer import addons
from zae_engine.trainer.addons.state_manager import StateManagerMixin

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

project = "zae-engine"
author = "the authors of zae-engine"
project_copyright = "the authors of zae-engine"
version = release = zae_engine.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_design",
    "sphinx_copybutton",
]
exclude_patterns = ["_*"]
templates_path = ["_templates"]

# The tests execute the notebooks and compare them with what is committed; the site shows them as they are committed.
# Their links are those of files in examples/.
for notebook in sorted((ROOT / "examples").glob("*.ipynb")):
    content = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../")
    copied = DOCS / "tutorials" / notebook.name
    if not copied.exists() or copied.read_text(encoding="utf-8") != content:
        copied.write_text(content, encoding="utf-8")
shutil.copy2(ROOT / "examples" / "curves.png", DOCS / "curves.png")
shutil.copy2(ROOT / "tests" / "benchmarks" / "soak.png", DOCS / "project" / "soak.png")
nb_execution_mode = "off"
nb_merge_streams = True

myst_enable_extensions = ["colon_fence", "attrs_inline", "substitution"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # included sections of other files begin at their own level

smartquotes = False  # headings that are messages are found by their own quotes

default_role = "py:obj"
autodoc_typehints = "none"  # the docstrings have the types, in the words of a reader
autodoc_member_order = "bysource"
autosummary_generate = True
autosummary_ignore_module_all = False
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
add_module_names = False
toc_object_entries_show_parents = "hide"

# `Trainer.add_on(StateManagerAddon)` makes this class when it is called; the reference shows it under its own name.
addons.TrainerWithStateManager = type(
    "TrainerWithStateManager",
    (StateManagerMixin,),
    {"__module__": addons.__name__, "__doc__": "A trainer class with `StateManagerAddon`."},
)

# Links into the references of torch and Lightning need their inventories, that is, the network; ask for them with
# ZAE_ENGINE_DOCS_INTERSPHINX=1. Without it, such names are plain code.
if os.environ.get("ZAE_ENGINE_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "lightning": ("https://lightning.ai/docs/pytorch/stable", None),
        "torchmetrics": ("https://lightning.ai/docs/torchmetrics/stable", None),
    }

html_theme = "furo"
html_title = f"zae-engine {release}"
html_copy_source = False
html_show_sphinx = False
html_search_scorer = str(DOCS / "_search" / "scorer.js")
html_static_path = ["_static"]
html_css_files = ["site.css"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def one_attribute_an_entry(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Write "a, b : type" under "Attributes" as two entries; napoleon would take "a," for the type of b."""
    if what != "class" or "Attributes" not in lines:
        return
    rewritten, pending, inside = [], [], False
    for i, line in enumerate(lines):
        if i + 1 < len(lines) and re.fullmatch("-+", lines[i + 1]):
            inside = line == "Attributes"
        if not line.startswith(" "):
            rewritten += pending
            pending = []
        match = re.fullmatch(r"(\w+), (\w+) : (.*)", line) if inside else None
        if match:
            line, pending = f"{match[1]} : {match[3]}", [f"{match[2]} : {match[3]}"]
        elif pending:
            pending.append(line)
        rewritten.append(line)
    lines[:] = rewritten + pending


def public_bases(app: Sphinx, name: str, obj: type, options: object, bases: list[type]) -> None:
    """Show the nearest public classes in place of bases that are internal."""
    shown = [base for base in obj.__mro__[1:] if not base.__name__.startswith("_")][:1]
    bases[:] = shown if any(base.__name__.startswith("_") for base in bases) else bases


def setup(app: Sphinx) -> None:
    """Run the rewriting before napoleon's."""
    app.connect("autodoc-process-docstring", one_attribute_an_entry, priority=400)
    app.connect("autodoc-process-bases", public_bases)
