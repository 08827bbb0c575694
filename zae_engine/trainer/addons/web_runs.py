"""Web runs: the runs of web loggers that trainers have opened, each closed with the last trainer that has it."""

from __future__ import annotations

import atexit
import os
import threading
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class _HeldRun:
    """A run that trainers close.

    Attributes
    ----------
    run : object
        The run.
    close : callable
        Closes it.
    closes_at_exit : bool
        Whether the run's package closes it, when the program ends.
    holders : int
        The number of trainers that have it.
    process : int
        The process that has opened it; a fork does not close it.
    """

    run: Any
    close: Callable[[Any], None]
    closes_at_exit: bool
    holders: int = 0
    process: int = field(default_factory=os.getpid)


_held: dict[int, _HeldRun] = {}
_finalizers: dict[int, list[Any]] = {}
_lock = threading.RLock()


def hold(trainer: Any, run: Any, close: Callable[[Any], None], *, closes_at_exit: bool) -> None:
    """Close a run when the trainers that have it are freed, or when the program ends.

    Parameters
    ----------
    trainer : object
        A trainer that has the run.
    run : object
        The run, which has a method ``is_live()`` when it is closed.
    close : callable
        Closes the run.
    closes_at_exit : bool
        Whether the run's package closes it, when the program ends.
    """
    with _lock:
        held = _held.setdefault(id(run), _HeldRun(run, close, closes_at_exit))
        held.holders += 1
    finalizer = weakref.finalize(trainer, _release, held, id(trainer))
    finalizer.atexit = False  # finalizers run after the exit hooks of packages that are imported later
    _finalizers.setdefault(id(trainer), []).append(finalizer)
    if not closes_at_exit:
        atexit.unregister(close_at_exit)
        atexit.register(close_at_exit)  # the latest hook runs first: before that of the run's package


def release_all(trainer: Any) -> None:
    """Let a trainer give up its runs, as if it were freed."""
    for finalizer in _finalizers.pop(id(trainer), []):
        finalizer()


def _release(held: _HeldRun, trainer_id: int) -> None:
    with _lock:
        _finalizers.pop(trainer_id, None)
        held.holders -= 1
        if held.holders or held.process != os.getpid():
            return
        _held.pop(id(held.run), None)
    _close(held)


def close_at_exit() -> None:
    """Close the runs that are still open when the program ends."""
    for held in list(_held.values()):
        if not held.closes_at_exit and held.process == os.getpid():
            _close(held)


def _close(held: _HeldRun) -> None:
    """Close a run that is still open. Nothing waits for an exception here."""
    try:
        if held.run.is_live():
            held.close(held.run)
    except Exception as error:
        warnings.warn(
            f"A run of {type(held.run).__module__} was not closed ({type(error).__name__}: {error}).", stacklevel=2
        )
