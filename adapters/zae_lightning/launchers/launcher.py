"""Launcher: starting the processes that run a trainer, and waiting for their result."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import urllib.parse
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed as dist

from ..protocol import Screen, TrainerProtocol, World
from .forks import ATTEMPTS, ForksStopped, ForkWatch
from .memory_file import MemoryFile, MemoryRanges, has_memory_files
from .monitor import ProcessMonitor
from .remote_proxy import logger_attributes, named_loggers
from .serialization import find_unpicklable, serialize
from .worker import Task

_log = logging.getLogger(__name__)


def run_in_processes(
    trainer: TrainerProtocol,
    worlds: Sequence[World],
    screen: Screen,
    function: Callable[..., None],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> LaunchResult:
    """Call a function with the trainer in several processes, and wait for them.

    Parameters
    ----------
    trainer : TrainerProtocol
        The trainer.
    worlds : sequence of World
        The world of each rank.
    screen : Screen
        The display of rank 0.
    function : callable
        A picklable function; it receives the trainer and the arguments.
    args, kwargs : tuple, dict
        The arguments, loaders among them.

    Returns
    -------
    LaunchResult
        The result of rank 0, and the exception of the run.

    Raises
    ------
    TypeError
        If an object cannot be sent to another process; the message names it.
    RuntimeError
        If the processes cannot be started here, or cannot connect at the user's address.
    """
    method = start_method(trainer.device[0])
    loggers = named_loggers(trainer)
    attributes = {
        name: None if name.startswith("web_logger") else logger_attributes(value) for name, value in loggers.items()
    }
    task_trainer: bytes | TrainerProtocol = trainer
    call: Any = (function, args, kwargs)
    memory: MemoryFile | None = None
    threads = 1  # OpenMP does not work after a fork
    if method == "spawn":
        task_trainer, call, memory = _serialize_trainer(trainer, (function, args, kwargs), loggers)
        threads = max(1, torch.get_num_threads() // len(worlds))
    data_start_method = multiprocessing.get_start_method()
    shared = (attributes, threads, data_start_method, memory)
    tasks = [Task(rank, worlds, task_trainer, call, *shared) for rank in range(len(worlds))]
    del task_trainer, call  # so that their bytes do not lie in memory while the processes run
    targets, init_method = {"screen": screen, **loggers}, getattr(trainer, "init_method", None)
    try:
        if method == "spawn":
            monitor = _run_once(tasks, targets, method, init_method)
        else:
            monitor = _fork(tasks, targets, init_method)
    finally:
        screen.close()
    return LaunchResult(monitor.result, monitor.failure())


@dataclass
class LaunchResult:
    """The end of a run in several processes.

    Attributes
    ----------
    result : bytes or None
        The input of `apply_results`; None if rank 0 has sent no result.
    failure : BaseException or None
        The exception that the run raises.
    """

    result: bytes | None
    failure: BaseException | None


def start_method(device: torch.device) -> str:
    """Return the start method of processes: "spawn", or "fork" where they have no script to import.

    Parameters
    ----------
    device : torch.device
        A device of the processes.

    Raises
    ------
    RuntimeError
        If a fork is required, but is not possible.
    """
    # multiprocessing raises the same error, but only at the spawn. The attribute is private to it;
    # tests/unit/zae_lightning/launchers/test_launcher.py fails if it changes.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(
            "A process that was started for a trainer imports the script and starts the run again. Put all that "
            'your script does under `if __name__ == "__main__":`.'
        )
    main = sys.modules["__main__"]
    if os.path.isfile(getattr(main, "__file__", None) or "") and not hasattr(sys, "ps1"):
        return "spawn"
    if "fork" not in multiprocessing.get_all_start_methods():
        raise RuntimeError(
            "This is a notebook or an interactive session. Other processes get its classes only by a fork, and this "
            "system has no fork. Run a script instead."
        )
    if device.type == "cuda" and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        raise RuntimeError(
            "This is a notebook or an interactive session that has used CUDA already, so it cannot be forked into the "
            "processes of several GPUs. Restart it, and use CUDA through the trainer only: keep models and tensors on "
            "the CPU; a run moves them back to it. Or run a script."
        )
    return "fork"


def _serialize_trainer(
    trainer: TrainerProtocol, call: tuple[Any, ...], loggers: Mapping[str, Any]
) -> tuple[bytes, bytes, MemoryFile | None]:
    """Return the ``trainer``, the ``call`` and the ``memory`` of a `Task` for a spawned process."""
    if has_memory_files():
        ranges = MemoryRanges()
        serialized = _serialize_call(trainer, call, loggers, ranges)
        try:
            return (*serialized, ranges.write())
        except OSError as error:
            _log.debug("Each process gets its own copy of all data: there is no memory file (%s).", error)
    return (*_serialize_call(trainer, call, loggers), None)


def _serialize_call(
    trainer: TrainerProtocol, call: tuple[Any, ...], loggers: Mapping[str, Any], memory: MemoryRanges | None = None
) -> tuple[bytes, bytes]:
    """Return the ``trainer`` and the ``call`` of a `Task` for a spawned process."""
    reduced: Any = trainer.__reduce_ex__(2)
    make, arguments, *rest = reduced
    state = dict(rest[0]) if rest and rest[0] else {}
    state.update({key: vars(trainer)[key] for key in ("loggers", "web_logger") if key in state})
    known = {id(trainer): "trainer", **{id(value): name for name, value in loggers.items()}}
    parts = {"trainer": state, "function": call[0], "arguments": call[1], "keyword arguments": call[2]}
    try:
        factory = serialize((make, arguments))
    except Exception as error:
        raise _not_sendable(f"The trainer's class {type(trainer).__qualname__}", type(trainer), error) from error
    try:
        return factory, serialize((state, *call, trainer._zae_state.random_state()), known, memory)
    except Exception as error:
        for name, part in parts.items():
            try:
                serialize(part, known)
            except Exception:
                path, value = find_unpicklable(part, name, known)
                raise _not_sendable(_user_path(path), value, error) from error
        raise


def _user_path(path: str) -> str:
    """Return a path in the user's notation: ``trainer.model`` for ``trainer['model']``."""
    for position, name in (("arguments[0]", "loader"), ("arguments[1]", "loader"), ("arguments[2]", "valid_loader")):
        path = path.replace(position, name)
    if path.startswith("trainer['"):
        name, _, rest = path[len("trainer['") :].partition("']")
        path = f"trainer.{name}{rest}"
    return path


def _not_sendable(name: str, value: Any, error: Exception) -> TypeError:
    """Return the error for an object that cannot be sent."""
    advice = (
        "What they use must be picklable: functions and classes are defined at the top level of a module or script, "
        "not within a function and not as a lambda; open files, locks and generators are created at their first use."
    )
    if "parametrized" in str(error):
        advice = "Start the script with torchrun, where each process makes its own model."
    return TypeError(
        f"{name} cannot be sent to the processes that several devices need: it is {value!r} ({type(error).__name__}: "
        f"{error}). {advice}"
    )


def _run_once(
    tasks: list[Task], targets: dict[str, Any], method: str, init_method: str | None, watch: ForkWatch | None = None
) -> ProcessMonitor:
    """Run tasks in processes, and return their monitor after their end. Tasks for spawned processes are released."""
    monitor = ProcessMonitor(targets, watch)
    with _rendezvous(tasks, init_method):
        try:
            monitor.start(tasks, multiprocessing.get_context(method))
            if method == "spawn":
                if (memory := tasks[0].memory) is not None:
                    memory.close()
                tasks.clear()
            monitor.wait()
        finally:
            monitor.end()
    return monitor


def _fork(tasks: list[Task], targets: dict[str, Any], init_method: str | None) -> ProcessMonitor:
    """Run tasks in forked processes, and return their monitor after their end. Those that stop are forked again."""
    for attempt in range(ATTEMPTS):
        watch = ForkWatch(attempt)
        for task in tasks:
            task.fork_watch = watch
        try:
            return _run_once(tasks, targets, "fork", init_method, watch)
        except ForksStopped as error:
            text = f"{error}\nA lock that another thread held during the fork stays locked in the copy, for one."
            if attempt < ATTEMPTS - 1:
                warnings.warn(f"{text} They had run nothing yet; they are forked again.", stacklevel=2)
        finally:
            watch.close()
    raise RuntimeError(
        f"{text} They were forked {ATTEMPTS} times. Restart the notebook and run this cell before those that start "
        f"threads, or run a script, which forks no process."
    )


@contextmanager
def _rendezvous(tasks: Sequence[Task], init_method: str | None) -> Iterator[None]:
    """Open the store by which the processes of tasks connect: at a free port, or at the user's address."""
    if init_method is not None and not init_method.startswith("tcp://"):
        for task in tasks:
            task.init_method = init_method
        yield
        return
    parts = urllib.parse.urlsplit(init_method or "tcp://127.0.0.1:0")
    host, port = parts.hostname or "127.0.0.1", parts.port or 0
    try:
        store = dist.TCPStore(host, port, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    except (dist.DistError, RuntimeError, ValueError) as error:
        raise RuntimeError(
            f"init_method={init_method!r}: cannot listen at port {port} ({str(error).splitlines()[0]}). Another "
            f'program, or another run, may be using it: give another port, init_method="tcp://{host}:{port + 1}", or '
            f"omit init_method for a free port."
        ) from error
    for task in tasks:
        task.store_address = (host, store.port)
    try:
        yield
    finally:
        del store  # its port is free for the next run
