from __future__ import annotations

import pytest

from . import table


@pytest.mark.parametrize("module", table.MODULES)
def test_every_callback_and_argument_of_lightning_has_a_test(module: str):
    assert set(table.rows(module)) >= table.expected()[module]


def test_the_site_has_the_tables_that_the_tests_show():
    assert table.in_page() == table.table(), "python -m tests.integration.lightning.table writes it"
