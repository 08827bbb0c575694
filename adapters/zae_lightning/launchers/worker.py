"""One of the processes that run a trainer."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import active_children, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from ..device_transfer import move_to_device
from .object_paths import named_objects
from .process_group import connect, disconnect
from .remote_proxy import RemoteProxy, make_proxies
from .results import collect_results
from .serialization import deserialize


@dataclass
class Task:
    """What a process has to do.

    Attributes
    ----------
    rank : int
        Which one it is.
    worlds : list of World
        The place of each rank.
    trainer : bytes or Trainer
        Packed, a function and its arguments that make the trainer; in a fork, the trainer itself.
    call : bytes or tuple
        The trainer's state, the function to call with it, its arguments, and the state of random numbers; packed, but
        in a fork.
    attributes : mapping
        About loggers and runs that stay behind; see `make_proxies`.
    store : tuple of (str, int) or None
        Host and port where the processes meet.
    init_method : str or None
        A URL where they meet otherwise.
    threads : int
        How many threads torch may use on the CPU.
    start_method : str
        How processes that load data are started.
    """

    rank: int
    worlds: list[Any]
    trainer: Any
    call: Any
    attributes: Mapping[str, Any]
    store: tuple[str, int] | None
    init_method: str | None
    threads: int
    start_method: str


def worker_main(connection: Connection, task: Task | None) -> None:
    """Run a trainer as one of several processes, and report to the one that waits.

    The channel are tuples: ``("call", path, args, kwargs)`` for what a stand-in is asked to do, ``("warning", ...)``,
    ``("failed", ...)``, ``("collecting",)`` and ``("result", parcel)``, the last two of rank 0.

    Parameters
    ----------
    connection : multiprocessing.connection.Connection
        To the process that waits.
    task : Task or None
        What to do; if None, it comes through the connection.
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # so that this process can be ended together with those that it starts, for loading data
    _end_with_parent()
    _be_interrupted_once()
    if task is None:
        task = pickle.loads(connection.recv_bytes())
    multiprocessing.set_start_method(task.start_method, force=True)  # for loading data, as in the process that waits
    channel = _ParentChannel(connection)
    failed = True
    try:
        channel.send("started")
        trainer, function, args, kwargs = _received(task, channel)
        objects = named_objects(trainer, args)
        try:
            _join(trainer, task)
            function(trainer, *args, **kwargs)
            failed = False
        except BaseException as error:
            channel.send("failed", *_described(error))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if task.rank == 0:
            channel.send("collecting")
            channel.send("result", collect_results(trainer, objects))
        if not failed:
            disconnect()
    except BaseException as error:
        channel.send("failed", *_described(error))
    connection.close()
    sys.stdout.flush()
    sys.stderr.flush()
    for loading in active_children():
        loading.terminate()
    # Not by way of the interpreter's end: after a failure it would wait for processes that are gone, and in a fork it
    # would run the exit handlers of the notebook that this is a copy of.
    os._exit(1 if failed else 0)


class _ParentChannel:
    """The way to the process that waits, for this process's threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def send(self, *report: Any) -> None:
        data = pickle.dumps(report)  # not the connection's own pickling, which would share the memory of tensors
        with self._lock:
            self._connection.send_bytes(data)

    def call(self, path: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            self.send("call", path, args, kwargs)
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise TypeError(
                f"{'.'.join(map(str, path))} was called with something that cannot be sent to the process which has "
                f"it: {error}. Give numbers, strings, arrays or CPU tensors."
            ) from error

    def warning(self, message: Any, category: Any, filename: str, lineno: int, *rest: Any) -> None:
        try:
            self.send("warning", str(message), category, filename, lineno)
        except (TypeError, AttributeError, pickle.PicklingError):
            self.send("warning", str(message), UserWarning, filename, lineno)


def _received(task: Task, channel: _ParentChannel) -> tuple[Any, Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return the trainer and the call, with stand-ins for all that stays behind."""
    is_rank_zero = task.rank == 0
    known = make_proxies(task.attributes, channel.call if is_rank_zero else _ignore)
    if isinstance(task.trainer, bytes):
        make, arguments = deserialize(task.trainer)
        trainer = known["trainer"] = make(*arguments)
        device = task.worlds[task.rank].local_rank
        state, function, args, kwargs, random_state = deserialize(
            task.call, known, lambda storage, location: storage.cuda(device) if location[:4] == "cuda" else storage
        )
        if hasattr(trainer, "__setstate__"):
            trainer.__setstate__(state)
        elif state:
            trainer.__dict__.update(state)
        trainer._zae_state.set_random_state(random_state)
    else:
        trainer, (function, args, kwargs) = task.trainer, task.call
        if isinstance(trainer.loggers, list):
            trainer.loggers[:] = [part for name, part in known.items() if name.startswith("loggers")]
        runs = getattr(trainer, "web_logger", None)
        if isinstance(runs, dict):
            runs.update({name: known[f"web_logger[{name}]"] for name in runs})
    if is_rank_zero:
        trainer._zae_state.process.screen = RemoteProxy(channel.call, ("screen",))
        warnings.showwarning = channel.warning  # type: ignore[assignment]
    else:
        warnings.showwarning = _ignore  # the first says it
    # Pickling an optimizer leaves out that its scheduler watches its steps; the scheduler misses it.
    warnings.filterwarnings("ignore", message=r"Seems like `optimizer\.step\(\)` has been overridden")
    return trainer, function, args, kwargs


def _join(trainer: Any, task: Task) -> None:
    """Make the trainer that of this rank, on its device, connected with the others."""
    trainer._zae_state.process.world = task.worlds[task.rank]
    trainer.primary_device_index = task.rank
    device = trainer.device[task.rank]
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(task.threads)
    move_to_device(trainer, device)
    if task.store is not None:
        connect(trainer, store=TCPStore(*task.store, is_master=False))
    else:
        connect(trainer, init_method=task.init_method)


def _described(error: BaseException) -> tuple[float, bytes | None, str, str]:
    """Return when it was, the exception, what it says, and where it came from."""
    text = f"{type(error).__name__}: {error}"
    try:
        packed = pickle.dumps(error)
        pickle.loads(packed)  # some exceptions can be written, but not read
    except Exception:
        packed = None
    return time.time(), packed, text, "".join(traceback.format_exception(error))


def _end_with_parent() -> None:
    """End this process when the one that waits for it is gone, whatever it is doing."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            wait([parent.sentinel])
            if hasattr(os, "killpg"):
                os.killpg(0, signal.SIGKILL)
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _be_interrupted_once() -> None:
    """Let SIGINT raise `KeyboardInterrupt` once: in a terminal it comes from there, and from the parent too."""
    seen: list[bool] = []

    def interrupt(*_: Any) -> None:
        if not seen:
            seen.append(True)
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def _ignore(*_: Any, **__: Any) -> None:
    """Do nothing: another rank does it."""
