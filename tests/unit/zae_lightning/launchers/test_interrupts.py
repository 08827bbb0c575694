"""Interrupts: a Ctrl-C that waits, here and in processes that start."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from zae_lightning.launchers.interrupts import blocked_in_new_processes, deferred_interrupt, unblock


def test_a_deferred_interrupt_is_delivered_after_the_block():
    done = []

    def work():
        with deferred_interrupt():
            signal.raise_signal(signal.SIGINT)
            done.append("in the block")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["in the block"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_new_process_is_interrupted_once_it_unblocks():
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('still here', flush=True)\n"
        "from zae_lightning.launchers.interrupts import unblock\n"
        "try:\n    unblock()\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    with blocked_in_new_processes():
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.communicate()[0] == "still here\ninterrupted\n"


def test_this_process_is_not_blocked_afterwards():
    with blocked_in_new_processes():
        pass
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    unblock()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
