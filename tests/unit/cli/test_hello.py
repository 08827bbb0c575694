"""The greeting keeps 0.7.6's line and has the version."""

from __future__ import annotations

import zae_engine
from zae_engine.cli.__main__ import main


def test_the_greeting_has_the_author_and_the_version(capsys):
    assert main(["hello"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "My name is zae-park",
        f"This is zae-engine {zae_engine.__version__}",
    ]
