"""Monitor: waiting for the processes that run a trainer, and ending them."""

from __future__ import annotations

import os
import pickle
import signal
import time
import warnings
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

from .forks import ForksStopped, ForkWatch
from .interrupts import blocked_in_new_processes, deferred_interrupt
from .remote_proxy import apply_call
from .worker import Task, send_task, worker_main

GRACE_SECONDS = 15.0
"""How long the processes may take to end after one of them has failed."""
START_GRACE_SECONDS = 5.0
"""The same after an interrupt before all ranks have connected, when there is nothing to keep."""


class ProcessFailed(RuntimeError):
    """A process of a run has ended by a signal, with an exit code, or by an exception that cannot be pickled.

    Examples
    --------
    >>> import zae_lightning
    >>> try:
    ...     trainer.run(10, loader)  # doctest: +SKIP
    ... except zae_lightning.ProcessFailed:
    ...     trainer.save_model("so_far.pt")  # what rank 0 had done up to there
    """


class RankTraceback(Exception):
    """The traceback of an exception in the process of a rank: the cause of the exception in the user's process."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


class ProcessMonitor:
    """The processes of one run, from their start to their end.

    Parameters
    ----------
    targets : dict of str to object
        The objects that the processes call through proxies: the screen, loggers and runs, by name.
    fork_watch : ForkWatch, optional
        The time limit of forked processes; None where processes are spawned.

    Attributes
    ----------
    result : bytes or None
        The result of rank 0, serialized; None until rank 0 has sent it.
    """

    def __init__(self, targets: dict[str, Any], fork_watch: ForkWatch | None = None) -> None:
        self.result: bytes | None = None
        self._targets = targets
        self._fork_watch = fork_watch
        self._started: set[int] = set()
        self._joined: set[int] = set()
        self._failures: list[tuple[float, int, bytes | None, str, str]] = []
        self._failing_targets: set[str] = set()
        self._interrupt: KeyboardInterrupt | None = None
        self._terminated: set[int] = set()
        self._deadline: float | None = None
        self._interrupt_message_due: float | None = None
        self._is_collecting = False
        self._processes: list[Any] = []
        self._connections: dict[Any, int] = {}

    def start(self, tasks: list[Task], context: Any) -> None:
        """Start the processes.

        Parameters
        ----------
        tasks : list of Task
            The work of each process.
        context : multiprocessing context
            The context of the start method.
        """
        forks = context.get_start_method() == "fork"
        with deferred_interrupt(), blocked_in_new_processes():
            for task in tasks:
                parent_end, worker_end = context.Pipe()
                # A spawned process receives its task through the connection. If the task were an argument, and the
                # process died while it imports the script, this process would block on writing the argument.
                arguments = (worker_end, task if forks else None)
                process = context.Process(target=worker_main, args=arguments, name=f"zae-engine rank {task.rank}")
                process.start()
                worker_end.close()
                self._processes.append(process)
                self._connections[parent_end] = task.rank
        for connection, task in zip(self._connections, () if forks else tasks, strict=False):
            with suppress(OSError):  # the process has died; `wait` finds the reason
                send_task(connection, task, self._processes[task.rank].pid)

    def wait(self) -> None:
        """Handle the messages of the processes until all have ended.

        Raises
        ------
        ForksStopped
            If forked processes do not connect in time.
        """
        while self._connections or any(process.is_alive() for process in self._processes):
            try:
                self._wait_once()
            except KeyboardInterrupt as error:
                if self._interrupt is not None:  # a second interrupt stops the run at once
                    raise
                self._interrupt = error
                self._signal(signal.SIGINT)
                if len(self._joined) < len(self._processes):
                    self._deadline = time.monotonic() + START_GRACE_SECONDS
                self._interrupt_message_due = time.monotonic() + GRACE_SECONDS

    def _wait_once(self) -> None:
        sentinels = [process.sentinel for process in self._processes if process.is_alive()]
        for ready in wait([*self._connections, *sentinels], timeout=0.5):
            if ready in self._connections:
                self._receive(ready)
        for connection, rank in list(self._connections.items()):
            if not self._processes[rank].is_alive() and not connection.poll():
                self._close(connection)  # processes that load data may keep its other end open
        if not self._processes[0].is_alive():
            self._is_collecting = False
        if any(process.exitcode not in (0, None) for process in self._processes):
            self._start_grace_period()
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.end()
        self._check_forks()
        if self._interrupt_message_due is not None and time.monotonic() > self._interrupt_message_due:
            self._interrupt_message_due = None
            self._targets["screen"].write(
                "Interrupted; waiting for the processes to finish their current work. Interrupt once more to stop them "
                "at once: the results of this run are lost then."
            )

    def _check_forks(self) -> None:
        if self._fork_watch is None or self._deadline is not None:  # the processes are to end anyway
            return
        if len(self._joined) == len(self._processes):
            self._fork_watch = None
        elif self._fork_watch.is_over():
            late = [rank for rank in range(len(self._processes)) if rank not in self._joined]
            stacks = self._fork_watch.stacks(self._processes[rank].pid for rank in late)
            raise ForksStopped(
                f"Of the processes that were forked for this run, rank {', '.join(map(str, late))} did not connect "
                f"within {self._fork_watch.seconds:g} s.\n{stacks}"
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
            self._is_collecting, self._deadline = True, None  # without a time limit
        elif kind == "started":
            self._started.add(rank)
        elif kind == "joined":
            self._joined.add(rank)

    def _close(self, connection: Any) -> None:
        del self._connections[connection]
        connection.close()

    def _apply_call(self, path: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        name, *rest = path
        try:
            apply_call(self._targets[name], tuple(rest), args, kwargs)
        except Exception as error:
            if name not in self._failing_targets:
                self._failing_targets.add(name)
                warnings.warn(
                    f"{type(self._targets[name]).__name__}.{rest[-1] if rest else ''} failed ({type(error).__name__}: "
                    f"{error}). Training goes on.",
                    stacklevel=2,
                )

    def _start_grace_period(self) -> None:
        """Set the deadline for the processes to end, unless rank 0 still works after an interrupt or sends its result.

        After an interrupt the user ends the wait with a second one.
        """
        rank_zero_works = self._processes[0].is_alive() and self.result is None
        is_waiting = self._is_collecting or (self._interrupt is not None and rank_zero_works)
        if self._deadline is None and not is_waiting:
            self._deadline = time.monotonic() + GRACE_SECONDS

    def _signal(self, number: int) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def end(self) -> None:
        """End the processes that still run, and the processes that they have started."""
        with deferred_interrupt():
            for process in self._processes:
                if process.is_alive():
                    self._terminated.add(process.pid)
                    process.terminate()
            limit = time.monotonic() + 3.0
            for process in self._processes:
                process.join(max(0.0, limit - time.monotonic()))
                if process.is_alive():
                    process.kill()
                    process.join()
                if hasattr(os, "killpg"):
                    with suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGKILL)  # the processes that load data

    def failure(self) -> BaseException | None:
        """Return the exception of the run: for an interrupt, a signal, an exit code or an exception, in this order."""
        if self._interrupt is not None:
            return self._interrupt
        for rank, process in enumerate(self._processes):
            if process.exitcode < 0 and process.pid not in self._terminated:
                return ProcessFailed(
                    f"The process of rank {rank} (pid {process.pid}) was ended by signal "
                    f"{signal.Signals(-process.exitcode).name}; the others were stopped. SIGKILL often means that the "
                    f"system was out of memory, SIGSEGV an error in compiled code."
                )
        explained = {rank for _, rank, *_ in self._failures}
        for rank, process in enumerate(self._processes):
            if process.exitcode and rank not in explained and process.pid not in self._terminated:
                hint = ' Is all that your script does under `if __name__ == "__main__":`?'
                return ProcessFailed(
                    f"The process of rank {rank} (pid {process.pid}) ended with exit code {process.exitcode}"
                    f"{'.' if rank in self._started else ' before it began.' + hint}"
                )
        if self._failures:
            _, rank, pickled, text, rank_traceback = min(self._failures, key=lambda failure: failure[0])
            error: BaseException = ProcessFailed(f"Rank {rank} failed: {text}")
            if pickled is not None:
                error = pickle.loads(pickled)
            error.__cause__ = RankTraceback(f"Rank {rank} of {len(self._processes)} raised:\n{rank_traceback}")
            return error
        return None
