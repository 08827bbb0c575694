"""Outline of a page: what a translation has in common with its original."""

from __future__ import annotations

import io
import re
import tokenize
from typing import NamedTuple


class Outline(NamedTuple):
    """The code without comments, the levels of headings, the rows of tables and the targets of links."""

    code: list[tuple[str, str]]
    headings: list[str]
    rows: list[int]
    links: list[str]


def without_comments(language: str, code: str) -> str:
    """Return the code of a block without its comments; those are translated."""
    if language in ("python", "py"):
        tokens = tokenize.generate_tokens(io.StringIO(code).readline)
        return " ".join(token.string for token in tokens if token.type not in (tokenize.COMMENT, tokenize.NL))
    return "\n".join(re.sub(r"\s*(?<!\S)# .*", "", line).rstrip() for line in code.splitlines())


def outline(text: str) -> Outline:
    """Return the outline of a page of Markdown."""
    blocks = re.findall(r"^```(.*?)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    code = [(language, without_comments(language, block)) for language, block in blocks]
    headings = re.findall(r"^(#+) ", prose, re.MULTILINE)
    rows = [len(re.findall(r"(?<!\\)\|", line)) for line in prose.splitlines() if line.startswith("|")]
    links = sorted(set(re.findall(r"\]\(((?!#)[^)]+)\)", prose)))
    return Outline(code, headings, rows, links)
