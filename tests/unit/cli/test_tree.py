"""The tree has every module with its first line, and imports none."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

import zae_engine
from zae_engine.cli import tree
from zae_engine.cli.__main__ import main

PACKAGE = Path(zae_engine.__file__).parent


def test_every_module_stands_in_the_tree_with_its_job(capsys):
    assert main(["tree"]) == 0
    shown = capsys.readouterr().out.splitlines()
    files = [path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts]
    assert len(shown) == len(files)
    assert shown[0].startswith("zae_engine  zae-engine: write a `train_step`")
    assert "│   ├── doctor.py  Doctor: report versions" in "\n".join(shown)
    assert "├── trainer  The trainer: `Trainer` to subclass" in "\n".join(shown).replace("└", "├")


def test_the_tree_imports_nothing():
    code = "import sys; from zae_engine.cli import tree; tree.run(); print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("False\n")


def test_a_terminal_without_unicode_gets_ascii(monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    assert main(["tree"]) == 0
    output.seek(0)
    assert "|-- _root.py  Root: " in output.read()


@pytest.mark.parametrize("text", [b"def broken(:", b"\xff\xfe", b"x = 1\n", b""])
def test_a_file_without_a_docstring_has_its_name_alone(text, tmp_path):
    (tmp_path / "module.py").write_bytes(text)
    assert list(tree.lines(tmp_path)) == ["└── module.py"]


def test_folders_that_are_no_packages_are_left_out(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text('"""Package: a job.\n\nMore."""\n')
    (tmp_path / "package" / "inner.py").write_text('"""Inner: another."""\n')
    (tmp_path / "a.py").write_text("")
    expected = ["├── a.py", "└── package  Package: a job.", "    └── inner.py  Inner: another."]
    assert list(tree.lines(tmp_path)) == expected
