"""Worker: one of the processes that run a trainer."""

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import active_children, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

import torch

from ..device_transfer import move_to_device
from ..protocol import TrainerProtocol, World
from .forks import ForkWatch
from .interrupts import unblock
from .memory_file import MappedMemory, MemoryFile
from .object_paths import named_objects
from .process_group import connect, disconnect
from .remote_proxy import RemoteProxy, make_proxies
from .results import collect_results
from .serialization import deserialize


@dataclass
class Task:
    """The work of one process.

    Attributes
    ----------
    rank : int
        The rank of the process.
    worlds : sequence of World
        The world of each rank.
    trainer : bytes or TrainerProtocol
        For a spawned process a serialized function, which makes the trainer, and its arguments; in a fork the trainer.
    call : bytes or tuple
        For a spawned process the serialized state of the trainer, the function to call, its arguments and the random
        state; in a fork the function and its arguments.
    attributes : mapping
        The attributes of loggers and runs in the user's process; see `make_proxies`.
    threads : int
        The number of CPU threads of torch.
    start_method : str
        The start method of processes that load data.
    memory : MemoryFile, optional
        For a spawned process the data that ``call`` does not contain.
    store_address : tuple of (str, int) or None, optional
        Host and port of the store by which the processes connect.
    init_method : str or None, optional
        The URL by which the processes connect without such a store.
    fork_watch : ForkWatch, optional
        For a forked process the pipe for its stacks.
    """

    rank: int
    worlds: Sequence[World]
    trainer: bytes | TrainerProtocol
    call: bytes | tuple[Callable[..., None], tuple[Any, ...], dict[str, Any]]
    attributes: Mapping[str, Any]
    threads: int
    start_method: str
    memory: MemoryFile | None = None
    store_address: tuple[str, int] | None = None
    init_method: str | None = None
    fork_watch: ForkWatch | None = None


def send_task(connection: Connection, task: Task, pid: int) -> None:
    """Send a task to a spawned process, for `receive_task`.

    Parameters
    ----------
    connection : multiprocessing.connection.Connection
        The connection with the process.
    task : Task
        Its work, with ``trainer`` and ``call`` as bytes.
    pid : int
        The number of the process.
    """
    assert isinstance(task.trainer, bytes)
    assert isinstance(task.call, bytes)
    places = None if task.memory is None else task.memory.places
    descriptor = None if task.memory is None else task.memory.descriptor
    small = replace(task, trainer=b"", call=b"", memory=None)
    connection.send_bytes(pickle.dumps((small, places, descriptor is not None)))
    connection.send_bytes(task.trainer)
    connection.send_bytes(task.call)
    if descriptor is not None:
        send_handle(connection, descriptor, pid)


def receive_task(connection: Connection) -> Task:
    """Return the task that `send_task` has sent."""
    task: Task
    task, places, has_descriptor = pickle.loads(connection.recv_bytes())
    trainer, call = connection.recv_bytes(), connection.recv_bytes()
    descriptor = recv_handle(connection) if has_descriptor else None
    memory = None if places is None else MemoryFile(descriptor, places)
    return replace(task, trainer=trainer, call=call, memory=memory)


def worker_main(connection: Connection, task: Task | None) -> None:
    """Run a trainer as one of several processes, and send messages to the parent process.

    The messages are tuples: ``("started",)``, ``("joined",)`` once it is connected with the other ranks,
    ``("call", path, args, kwargs)`` for the call of a proxy, ``("warning", ...)``, ``("failed", ...)``, and from rank 0
    ``("collecting",)`` and ``("result", data)``.

    Parameters
    ----------
    connection : multiprocessing.connection.Connection
        The connection with the parent process.
    task : Task or None
        The work; if None, the parent sends it through the connection.
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # the parent kills this group, which includes the processes that load data
    if task is not None and task.fork_watch is not None:
        task.fork_watch.enter()
    _exit_with_parent()
    _raise_one_interrupt()
    if task is None:
        task = receive_task(connection)
    multiprocessing.set_start_method(task.start_method, force=True)  # as in the parent, for processes that load data
    channel = _ParentChannel(connection)
    failed = True
    try:
        unblock()
        channel.send("started")
        _connect_wandb(task, channel)
        trainer, function, args, kwargs = _load(task, channel)
        objects = named_objects(trainer, args)
        try:
            _join_group(trainer, task)
            channel.send("joined")
            if task.fork_watch is not None:
                task.fork_watch.leave()
            function(trainer, *args, **kwargs)
            failed = False
        except BaseException as error:
            channel.send("failed", *_describe(error))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if task.rank == 0:
            channel.send("collecting")
            channel.send("result", collect_results(trainer, objects))
        if not failed:
            disconnect()
    except BaseException as error:
        channel.send("failed", *_describe(error))
    connection.close()
    sys.stdout.flush()
    sys.stderr.flush()
    for data_process in active_children():
        data_process.terminate()
    # The interpreter's shutdown is skipped: after a failure it would wait for processes that no longer exist, and in a
    # fork it would run the exit handlers of the notebook.
    os._exit(1 if failed else 0)


class _ParentChannel:
    """The connection with the parent process, shared by the threads of this process."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def send(self, *message: Any) -> None:
        data = pickle.dumps(message)  # the pickling of the connection would share the memory of tensors
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


def _load(
    task: Task, channel: _ParentChannel
) -> tuple[TrainerProtocol, Callable[..., None], tuple[Any, ...], dict[str, Any]]:
    """Return the trainer, the function and its arguments, with proxies of loggers and runs."""
    is_rank_zero = task.rank == 0
    known = make_proxies(task.attributes, channel.call if is_rank_zero else _ignore)
    trainer: Any
    if isinstance(task.trainer, bytes):
        make, arguments = deserialize(task.trainer)
        trainer = known["trainer"] = make(*arguments)
        device = task.worlds[task.rank].local_rank
        assert isinstance(task.call, bytes)
        memory = None if task.memory is None else MappedMemory(task.memory.descriptor, task.memory.places)
        state, function, args, kwargs, random_state = deserialize(
            task.call,
            known,
            lambda storage, location: storage.cuda(device) if location[:4] == "cuda" else storage,
            memory,
        )
        if task.memory is not None:
            task.memory.close()
        task.trainer = task.call = b""  # they would lie in memory while the trainer runs
        if hasattr(trainer, "__setstate__"):
            trainer.__setstate__(state)
        elif state:
            trainer.__dict__.update(state)
        trainer._zae_state.set_random_state(random_state)
    else:
        assert isinstance(task.call, tuple)
        trainer, (function, args, kwargs) = task.trainer, task.call
        if isinstance(trainer.loggers, list):
            trainer.loggers[:] = [proxy for name, proxy in known.items() if name.startswith("loggers")]
        runs = getattr(trainer, "web_logger", None)
        if isinstance(runs, dict):
            runs.update({name: known[f"web_logger[{name}]"] for name in runs})
    if is_rank_zero:
        trainer._zae_state.process.screen = RemoteProxy(channel.call, ("screen",))
        warnings.showwarning = channel.warning  # type: ignore[assignment]
    else:
        warnings.showwarning = _ignore  # rank 0 shows the warning
    # Pickling an optimizer omits the hook that its scheduler installs; torch warns of that.
    warnings.filterwarnings("ignore", message=r"Seems like `optimizer\.step\(\)` has been overridden")
    return trainer, function, args, kwargs


def _connect_wandb(task: Task, channel: _ParentChannel) -> None:
    """Let the user's ``wandb.log`` reach the trainer's run, before an import of the user's code copies the function."""
    name = "web_logger[wandb]"
    if name in task.attributes:
        from ..loggers.wandb import set_global_run  # a second, which only trainers with such a run spend

        set_global_run(make_proxies({name: None}, channel.call if task.rank == 0 else _ignore)[name])


def _join_group(trainer: TrainerProtocol, task: Task) -> None:
    """Move the trainer to the device of this rank, and connect the process with the other ranks."""
    trainer._zae_state.process.world = task.worlds[task.rank]
    trainer.primary_device_index = task.rank
    device = trainer.device[task.rank]
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(task.threads)
    move_to_device(trainer, device)
    connect(trainer, task.store_address, task.init_method)


def _describe(error: BaseException) -> tuple[float, bytes | None, str, str]:
    """Return the time, the pickled exception, its message and its traceback."""
    text = f"{type(error).__name__}: {error}"
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)  # some exceptions can be pickled, but not unpickled
    except Exception:
        pickled = None
    return time.time(), pickled, text, "".join(traceback.format_exception(error))


def _exit_with_parent() -> None:
    """Start a thread that kills this process, and those that it started, when the parent process ends."""
    parent = parent_process()

    def wait_for_parent() -> None:
        if parent is not None:
            wait([parent.sentinel])
            if hasattr(os, "killpg"):
                os.killpg(0, signal.SIGKILL)
            os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True).start()


def _raise_one_interrupt() -> None:
    """Raise `KeyboardInterrupt` for the first SIGINT only: the terminal and the parent process send one each."""
    is_interrupted = False

    def interrupt(*_: Any) -> None:
        nonlocal is_interrupted
        if not is_interrupted:
            is_interrupted = True
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def _ignore(*_: Any, **__: Any) -> None:
    """Do nothing: rank 0 executes the call."""
