"""SIGTERM: stop a run between two steps, after saving the state of a trainer with StateManagerAddon.

A cluster sends SIGTERM before it takes a machine away.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .._protocol import TrainerProtocol

STEPS_BETWEEN_AGREEMENTS = 20
"""After how many steps several processes ask each other whether one of them is to stop."""


class Terminated(BaseException):
    """SIGTERM has stopped a run, and its state is saved; `Trainer.run` raises `SystemExit` in its place."""


class SigtermHandler:
    """Handles SIGTERM during a run: stops it between two steps, or after a validation.

    Parameters
    ----------
    trainer : Trainer
        A trainer with ``StateManagerAddon``.
    """

    def __init__(self, trainer: TrainerProtocol) -> None:
        self._trainer: Any = weakref.proxy(trainer)  # Lightning keeps the handler, and the trainer keeps Lightning
        self._is_requested = False
        self._steps = 0

    def request(self, number: int, frame: Any) -> None:
        """Request that the run and the processes that it has started stop: the handler of the signal."""
        self._is_requested = True
        for process in multiprocessing.active_children():
            if process.name.startswith("zae-engine rank") and process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    def step_done(self) -> None:
        """Save and raise `Terminated`, if the run is to stop; in all processes after the same training step."""
        self._steps += 1
        is_single = self._trainer._zae_state.process.world is None
        if is_single or self._steps % STEPS_BETWEEN_AGREEMENTS == 1:
            self._stop_if_requested()

    def epoch_done(self) -> None:
        """Save and raise `Terminated`, if the run is to stop, after an epoch."""
        self._stop_if_requested()

    def _stop_if_requested(self) -> None:
        world, trainer = self._trainer._zae_state.process.world, self._trainer
        if any(world.gather_ints(int(self._is_requested))) if world is not None else self._is_requested:
            trainer._zae_save_before_stopping()
            raise Terminated

    @property
    def is_requested(self) -> bool:
        """Whether the signal has arrived."""
        return self._is_requested


@contextmanager
def handled_sigterm(trainer: TrainerProtocol) -> Iterator[None]:
    """Handle SIGTERM within the block, if the trainer can save its state; afterwards end as the signal asks.

    Parameters
    ----------
    trainer : Trainer
        The trainer.

    Raises
    ------
    SystemExit
        With 143, if the signal has arrived and the user has no handler for it. A handler of the user's own is called
        instead, once the state is saved.
    """
    previous, state = signal.getsignal(signal.SIGTERM), trainer._zae_state
    stateful: Any = trainer  # with the methods of StateManagerAddon
    if (
        not hasattr(trainer, "_zae_save_before_stopping")
        or trainer.mode != "train"  # testing has nothing to save
        or state.run.sigterm is not None  # a run within a run
        or threading.current_thread() is not threading.main_thread()
        or previous in (None, signal.SIG_IGN)
    ):
        yield
        return
    handler = state.run.sigterm = SigtermHandler(trainer)
    signal.signal(signal.SIGTERM, handler.request)
    try:
        yield
        if handler.is_requested and state.process.world is None:  # too late for the last step
            stateful._zae_save_before_stopping()
    except Terminated:
        handler.request(signal.SIGTERM, None)  # the signal may have reached another process
        if state.process.world is not None and state.process.world.launcher == "trainer":  # the caller's process ends
            raise
    finally:
        state.run.sigterm = None
        signal.signal(signal.SIGTERM, previous)
    if not handler.is_requested:
        stateful._zae_run_is_complete()
    elif callable(previous):
        previous(signal.SIGTERM, sys._getframe())
    else:
        raise SystemExit(128 + signal.SIGTERM)
