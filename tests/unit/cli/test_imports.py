"""Imports are tried in another process: an exception, an exit and a crash are each one line."""

from __future__ import annotations

import sys

from zae_engine.cli.imports import LONGEST, one_line, try_imports


def test_each_way_of_failing_is_one_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    files = {
        "good": "__version__ = '1.2'\nprint('noise')",
        "unnumbered": "",
        "broken": "raise ImportError('libx.so:\\n  cannot open\\n  shared object')",
        "needs": "import absent_dependency",
        "leaves": "raise SystemExit(3)",
        "dies": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "ends": "import os; os._exit(7)",
        "last": "__version__ = (3, 1)",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    results = try_imports([*files, "absent_module"])
    assert {name: (result.error, result.version) for name, result in results.items()} == {
        "good": (None, "1.2"),
        "unnumbered": (None, None),
        "broken": ("ImportError: libx.so: cannot open shared object", None),
        "needs": ("ModuleNotFoundError: No module named 'absent_dependency'", None),
        "leaves": ("SystemExit: 3", None),
        "dies": ("the import ends Python by SIGKILL", None),
        "ends": ("the import ends Python with status 7", None),
        "last": (None, "(3, 1)"),
        "absent_module": ("ModuleNotFoundError: No module named 'absent_module'", None),
    }
    assert [name for name, result in results.items() if result.is_missing] == ["absent_module"]
    assert "good" not in sys.modules


def test_a_long_message_is_cut():
    assert one_line("a  b\n c") == "a b c"
    assert len(one_line("x" * 1000)) == LONGEST
    assert one_line("x" * 1000).endswith("x...")
