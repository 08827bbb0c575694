"""Waiting for the processes that run a trainer, and ending them."""

from __future__ import annotations

import os
import pickle
import signal
import time
import warnings
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

from .remote_proxy import apply_call
from .worker import Task, worker_main

GRACE_SECONDS = 15.0


class ProcessFailed(RuntimeError):
    """A process that ran a trainer has ended without saying why: by a signal, or with an exit code."""


class RankTraceback(Exception):
    """Where, in the process of a rank, an exception was raised; the cause of the exception in the caller."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


class ProcessMonitor:
    """The processes of one run, from start to end.

    Parameters
    ----------
    targets : dict of str to object
        What the processes may call: the screen, loggers and runs, by name.

    Attributes
    ----------
    result : bytes or None
        What rank 0's trainer has become, packed, once rank 0 has told.
    """

    def __init__(self, targets: dict[str, Any]) -> None:
        self.result: bytes | None = None
        self._targets = targets
        self._started: set[int] = set()
        self._failures: list[tuple[float, int, bytes | None, str, str]] = []
        self._broken: set[Any] = set()
        self._interrupt: KeyboardInterrupt | None = None
        self._ended_by_us: set[int] = set()
        self._deadline: float | None = None
        self._notice_time: float | None = None
        self._is_collecting = False
        self._processes: list[Any] = []
        self._connections: dict[Any, int] = {}

    def start(self, tasks: list[Task], context: Any) -> None:
        """Start the processes.

        Parameters
        ----------
        tasks : list of Task
            What each process has to do.
        context : multiprocessing context
            How they are started.
        """
        forks = context.get_start_method() == "fork"
        for task in tasks:
            ours, theirs = context.Pipe()
            # A spawned process is sent its task once it runs: as an argument, one that dies on reading the script would
            # keep this process waiting forever to write it.
            arguments = (theirs, task if forks else None)
            process = context.Process(target=worker_main, args=arguments, name=f"zae-engine rank {task.rank}")
            process.start()
            theirs.close()
            self._processes.append(process)
            self._connections[ours] = task.rank
        for connection, task in zip(self._connections, () if forks else tasks, strict=False):
            with suppress(OSError):  # it has died; `wait` sees why
                connection.send_bytes(pickle.dumps(task))

    def wait(self) -> None:
        """Do what the processes report, until all of them have ended."""
        while self._connections or any(process.is_alive() for process in self._processes):
            try:
                self._wait_once()
            except KeyboardInterrupt as error:
                if self._interrupt is not None:  # the second time: at once
                    raise
                self._interrupt = error
                self._signal(signal.SIGINT)
                self._notice_time = time.monotonic() + GRACE_SECONDS

    def _wait_once(self) -> None:
        sentinels = [process.sentinel for process in self._processes if process.is_alive()]
        for ready in wait([*self._connections, *sentinels], timeout=0.5):
            if ready in self._connections:
                self._receive(ready)
        for connection, rank in list(self._connections.items()):
            if not self._processes[rank].is_alive() and not connection.poll():
                self._close(connection)  # processes that load data may hold its other end still
        if not self._processes[0].is_alive():
            self._is_collecting = False
        if any(process.exitcode not in (0, None) for process in self._processes):
            self._start_grace_period()
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.end()
        if self._notice_time is not None and time.monotonic() > self._notice_time:
            self._notice_time = None
            self._targets["screen"].write(
                "Interrupted; waiting for the processes to end what they are doing. Interrupt once more to stop them "
                "at once: what this run has done is lost then."
            )

    def _receive(self, connection: Any) -> None:
        rank = self._connections[connection]
        try:
            kind, *details = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            self._close(connection)
            return
        if kind == "call":
            self._apply_call(*details)
        elif kind == "warning":
            message, category, filename, lineno = details
            warnings.warn_explicit(message, category, filename, lineno)
        elif kind == "failed":
            self._failures.append((details[0], rank, *details[1:]))
            self._start_grace_period()
        elif kind == "result":
            self.result, self._is_collecting = details[0], False
            self._start_grace_period()
        elif kind == "collecting":
            self._is_collecting, self._deadline = True, None  # however long it takes
        elif kind == "started":
            self._started.add(rank)

    def _close(self, connection: Any) -> None:
        del self._connections[connection]
        connection.close()

    def _apply_call(self, path: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        name, *rest = path
        try:
            apply_call(self._targets[name], tuple(rest), args, kwargs)
        except Exception as error:
            if name not in self._broken:
                self._broken.add(name)
                warnings.warn(
                    f"{type(self._targets[name]).__name__}.{rest[-1] if rest else ''} failed ({type(error).__name__}: "
                    f"{error}). Training goes on.",
                    stacklevel=2,
                )

    def _start_grace_period(self) -> None:
        """Let the processes end by themselves, but not for long; after an interrupt the user decides how long."""
        first_works = self._processes[0].is_alive() and self.result is None
        waits = self._is_collecting or (self._interrupt is not None and first_works)
        if self._deadline is None and not waits:
            self._deadline = time.monotonic() + GRACE_SECONDS

    def _signal(self, number: int) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def end(self) -> None:
        """End the processes that have not ended, and all that they have started."""
        for process in self._processes:
            if process.is_alive():
                self._ended_by_us.add(process.pid)
                process.terminate()
        limit = time.monotonic() + 3.0
        for process in self._processes:
            process.join(max(0.0, limit - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            if hasattr(os, "killpg"):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)  # those that it started for loading data

    def failure(self) -> BaseException | None:
        """Return what went wrong first: an interrupt, a signal, an exception, or an exit code."""
        if self._interrupt is not None:
            return self._interrupt
        for rank, process in enumerate(self._processes):
            if process.exitcode < 0 and process.pid not in self._ended_by_us:
                return ProcessFailed(
                    f"The process of rank {rank} (pid {process.pid}) was ended by signal "
                    f"{signal.Signals(-process.exitcode).name}; the others were stopped. SIGKILL often means that the "
                    f"system was out of memory, SIGSEGV an error in compiled code."
                )
        told = {rank for _, rank, *_ in self._failures}
        for rank, process in enumerate(self._processes):
            if process.exitcode and rank not in told and process.pid not in self._ended_by_us:
                hint = ' Is all that your script does under `if __name__ == "__main__":`?'
                return ProcessFailed(
                    f"The process of rank {rank} (pid {process.pid}) ended with exit code {process.exitcode}"
                    f"{'.' if rank in self._started else ' before it began.' + hint}"
                )
        if self._failures:
            _, rank, packed, text, trace = min(self._failures, key=lambda failure: failure[0])
            error: BaseException = ProcessFailed(f"Rank {rank} failed: {text}")
            if packed is not None:
                error = pickle.loads(packed)
            error.__cause__ = RankTraceback(f"Rank {rank} of {len(self._processes)} raised:\n{trace}")
            return error
        return None
