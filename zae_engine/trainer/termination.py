"""SIGTERM, by which a cluster takes a machine back: save the state and stop, if the trainer has a StateManagerAddon."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._trainer import Trainer

STEPS_BETWEEN_AGREEMENTS = 20
"""In several processes: after how many steps they ask each other whether one of them is to stop."""


class Terminated(BaseException):
    """A run was stopped by SIGTERM, its state saved; `Trainer.run` makes a `SystemExit` of it."""


class Termination:
    """Waits for SIGTERM during a run, and stops it between two steps, or when a validation is over.

    Parameters
    ----------
    trainer : Trainer
        A trainer with ``StateManagerAddon``.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer: Any = weakref.proxy(trainer)  # Lightning keeps the handler, and the trainer keeps Lightning
        self._is_requested = False
        self._steps = 0

    def request(self, number: int, frame: Any) -> None:
        """Have the run stop, and the processes that it has started: the handler of the signal."""
        self._is_requested = True
        for process in multiprocessing.active_children():
            if process.name.startswith("zae-engine rank") and process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    def step_done(self) -> None:
        """Save and raise `Terminated`, if the run is to stop; in all processes after the same training step."""
        self._steps += 1
        if self._trainer._zae_state.world is None or self._steps % STEPS_BETWEEN_AGREEMENTS == 1:
            self._stop_if_requested()

    def epoch_done(self) -> None:
        """As `step_done`, where the books of an epoch have been closed."""
        self._stop_if_requested()

    def _stop_if_requested(self) -> None:
        world, trainer = self._trainer._zae_state.world, self._trainer
        if any(world.gather_ints(int(self._is_requested))) if world is not None else self._is_requested:
            trainer._zae_save_before_stopping()
            raise Terminated

    @property
    def is_requested(self) -> bool:
        """Whether the signal has come."""
        return self._is_requested


@contextmanager
def watched(trainer: Trainer) -> Iterator[None]:
    """Wait for SIGTERM within, if the trainer can save its state; afterwards end as the signal asks to.

    Parameters
    ----------
    trainer : Trainer
        The trainer.

    Raises
    ------
    SystemExit
        With 143, where the signal has come and nobody else handles it. A handler of the user's own is called instead,
        once the state is saved.
    """
    previous, state = signal.getsignal(signal.SIGTERM), trainer._zae_state
    if (
        not hasattr(trainer, "_zae_save_before_stopping")
        or trainer.mode != "train"  # testing has nothing to save
        or state.termination is not None  # a run within a run
        or threading.current_thread() is not threading.main_thread()
        or previous in (None, signal.SIG_IGN)
    ):
        yield
        return
    termination = state.termination = Termination(trainer)
    signal.signal(signal.SIGTERM, termination.request)
    try:
        yield
        if termination.is_requested and state.world is None:  # too late for the last step
            trainer._zae_save_before_stopping()
    except Terminated:
        termination.request(signal.SIGTERM, None)  # it may have come to another process
        if state.world is not None and state.world.launcher == "trainer":  # the process that waits for us ends
            raise
    finally:
        state.termination = None
        signal.signal(signal.SIGTERM, previous)
    if not termination.is_requested:
        trainer._zae_run_is_complete()  # type: ignore[attr-defined]  # the add-on's
    elif callable(previous):
        previous(signal.SIGTERM, sys._getframe())
    else:
        raise SystemExit(128 + signal.SIGTERM)
