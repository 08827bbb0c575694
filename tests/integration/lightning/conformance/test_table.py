"""The documentation's page names every situation, and how many there are."""

from __future__ import annotations

from .situations import all_situations
from .table import PAGE, page


def test_the_page_is_made_from_the_situations():
    assert PAGE.read_text() == page()


def test_there_are_enough_situations():
    assert len(all_situations()) >= 250
