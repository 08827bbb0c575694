"""Interrupts at random moments of a run in several processes; 200 of them: see `interrupt_at_random`."""

from __future__ import annotations

import pytest

from .interrupt_at_random import duration, interrupt_once


@pytest.mark.timeout(400)
def test_a_program_ends_with_keyboard_interrupt_and_leaves_no_process():
    whole = duration()
    for i, share in enumerate((0.0, 0.2, 0.45, 0.7, 0.9)):
        ended, _, left = interrupt_once(share * whole, whole_group=i % 2 == 0)
        assert ended in ("interrupted", "completed")  # the latter where the machine was faster than before
        assert left == 0
