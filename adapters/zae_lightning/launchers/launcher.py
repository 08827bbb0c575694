"""Starting the processes that run a trainer, waiting for them, and bringing home what they made of it."""

from __future__ import annotations

import multiprocessing
import os
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed as dist

from ..protocol import TrainerProtocol
from .monitor import ProcessMonitor
from .remote_proxy import logger_attributes, named_loggers
from .serialization import find_unpicklable, serialize
from .worker import Task


def run_in_processes(
    trainer: TrainerProtocol,
    worlds: list[Any],
    screen: Any,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Any,
) -> LaunchResult:
    """Call a function with the trainer in several processes, and wait for them.

    Parameters
    ----------
    trainer : TrainerProtocol
        The trainer.
    worlds : list of World
        The place of each rank.
    screen : Screen
        What rank 0 draws on.
    function : callable
        Called with the trainer and the arguments; it can be pickled.
    args, kwargs : tuple, dict
        The arguments, loaders among them.

    Returns
    -------
    LaunchResult
        What has become of rank 0's trainer, and what went wrong.

    Raises
    ------
    TypeError
        If something cannot be sent to another process; the message names it.
    RuntimeError
        If the processes cannot be started here, or cannot meet where the user says.
    """
    method = start_method(trainer.device[0])
    named = named_loggers(trainer)
    attributes = {
        name: None if name.startswith("web_logger") else logger_attributes(value) for name, value in named.items()
    }
    task_trainer: Any = trainer
    call: Any = (function, args, kwargs)
    threads = 1  # OpenMP does not survive a fork
    if method == "spawn":
        task_trainer, call = _serialized(trainer, (function, args, kwargs), named)
        threads = max(1, torch.get_num_threads() // len(worlds))
    with _rendezvous(getattr(trainer, "init_method", None)) as (store, init_method):
        loading = multiprocessing.get_start_method()
        tasks = [
            Task(rank, worlds, task_trainer, call, attributes, store, init_method, threads, loading)
            for rank in range(len(worlds))
        ]
        monitor = ProcessMonitor({"screen": screen, **named})
        try:
            monitor.start(tasks, multiprocessing.get_context(method))
            monitor.wait()
        finally:
            monitor.end()
            screen.close()
    return LaunchResult(monitor.result, monitor.failure())


@dataclass
class LaunchResult:
    """How a run in several processes has ended.

    Attributes
    ----------
    result : bytes or None
        For `adopt`: what has become of rank 0's trainer; None if rank 0 could not tell.
    failure : BaseException or None
        What the run is to raise.
    """

    result: bytes | None
    failure: BaseException | None


def start_method(device: torch.device) -> str:
    """Return how processes are started: "spawn", or "fork" where there is no script that they could import.

    Parameters
    ----------
    device : torch.device
        What the processes run on.

    Raises
    ------
    RuntimeError
        If only a fork would do, but cannot be.
    """
    # Private to multiprocessing, which looks at it to refuse the same; but only once it comes to a spawn.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(
            "A process that was started for a trainer reads the script and comes to the trainer's run again. Put all "
            'that your script does under `if __name__ == "__main__":`.'
        )
    main = sys.modules["__main__"]
    if os.path.isfile(getattr(main, "__file__", None) or "") and not hasattr(sys, "ps1"):
        return "spawn"
    if "fork" not in multiprocessing.get_all_start_methods():
        raise RuntimeError(
            "This is a notebook or an interactive session, whose classes other processes can only have by a fork, and "
            "this system has no fork. Run a script instead."
        )
    if device.type == "cuda" and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        raise RuntimeError(
            "This is a notebook or an interactive session that has used CUDA already, so it cannot be forked into the "
            "processes of several GPUs. Restart it, and use CUDA through the trainer only: leave models and tensors "
            "on the CPU, where they come back to after a run. Or run a script."
        )
    return "fork"


def _serialized(trainer: Any, call: tuple[Any, ...], named: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return the trainer and the call for a spawned process."""
    make, arguments, *rest = trainer.__reduce_ex__(2)
    state = dict(rest[0]) if rest and rest[0] else {}
    state.update({key: vars(trainer)[key] for key in ("loggers", "web_logger") if key in state})
    known = {id(trainer): "trainer", **{id(value): name for name, value in named.items()}}
    parts = {"trainer": state, "function": call[0], "arguments": call[1], "keyword arguments": call[2]}
    try:
        making = serialize((make, arguments))
    except Exception as error:
        raise _unsendable(f"The trainer's class {type(trainer).__qualname__}", type(trainer), error) from error
    try:
        return making, serialize((state, *call, trainer._zae_state.random_state()), known)
    except Exception as error:
        for name, part in parts.items():
            try:
                serialize(part, known)
            except Exception:
                path, value = find_unpicklable(part, name, known)
                raise _unsendable(_readable(path), value, error) from error
        raise


def _readable(path: str) -> str:
    """Return a path as the user would write it: ``trainer.model`` for ``trainer['model']``."""
    for position, name in (("arguments[0]", "loader"), ("arguments[1]", "loader"), ("arguments[2]", "valid_loader")):
        path = path.replace(position, name)
    if path.startswith("trainer['"):
        name, _, rest = path[len("trainer['") :].partition("']")
        path = f"trainer.{name}{rest}"
    return path


def _unsendable(what: str, value: Any, error: Exception) -> TypeError:
    advice = (
        "What they use must be picklable: functions and classes are defined at the top level of a module or script, "
        "not within a function and not as a lambda; open files, locks and generators are made where they are needed."
    )
    if "parametrized" in str(error):
        advice = "Start the script with torchrun, where each process makes its own model."
    return TypeError(
        f"{what} cannot be sent to the processes that several devices need: it is {value!r} ({type(error).__name__}: "
        f"{error}). {advice}"
    )


@contextmanager
def _rendezvous(init_method: str | None) -> Iterator[tuple[tuple[str, int] | None, str | None]]:
    """Listen where the processes meet: at a free port, or where the user says."""
    if init_method is not None and not init_method.startswith("tcp://"):
        yield None, init_method
        return
    parts = urllib.parse.urlsplit(init_method or "tcp://127.0.0.1:0")
    host, port = parts.hostname or "127.0.0.1", parts.port or 0
    try:
        store = dist.TCPStore(host, port, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    except (dist.DistError, RuntimeError, ValueError) as error:
        raise RuntimeError(
            f"init_method={init_method!r}: cannot listen at port {port} ({str(error).splitlines()[0]}). Another "
            f'program, or another run, may be using it: give another port, init_method="tcp://{host}:{port + 1}", or '
            f"leave init_method out, and a free one is found."
        ) from error
    yield (host, store.port), None
    del store
