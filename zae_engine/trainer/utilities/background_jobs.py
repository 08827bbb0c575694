"""Background jobs: run functions one after another in a thread while the caller continues."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Job = Callable[[], None]
FailureHandler = Callable[[BaseException], None]


class BackgroundJobs:
    """Runs jobs in the order in which they are submitted, in a thread that exists while there are jobs.

    A job that raises an exception drops the jobs behind it. The thread that submits learns of it by `report` and
    `wait`. The interpreter waits for the jobs before it ends.

    Examples
    --------
    >>> jobs, done = BackgroundJobs(), []
    >>> jobs.submit(lambda: done.append("written"), on_failure=print)
    >>> jobs.wait()
    >>> done
    ['written']
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: deque[tuple[Job, FailureHandler]] = deque()
        self._failures: deque[tuple[BaseException, FailureHandler]] = deque()
        self._thread: threading.Thread | None = None
        self._is_running = False

    def submit(self, job: Job, on_failure: FailureHandler) -> None:
        """Run a job behind the others.

        Parameters
        ----------
        job : callable
            Takes no argument. It must not hold what the caller wants to be freed at once.
        on_failure : callable
            Receives the exception of the job, in `report` or `wait`.
        """
        with self._lock:
            self._jobs.append((job, on_failure))
            if self._is_running:
                return
            self._is_running = True
        self._thread = threading.Thread(target=self._run_all, name="zae-engine save")
        try:
            self._thread.start()
        except RuntimeError:  # the system starts no more threads, or the interpreter ends
            self._thread = None
            self._run_all()

    def report(self) -> None:
        """Call the handlers of the jobs that have failed so far."""
        while self._failures:
            error, on_failure = self._failures.popleft()
            on_failure(error)

    def wait(self) -> None:
        """Return when all jobs have ended, after calling the handlers of those that have failed."""
        if self._thread is not None:
            self._thread.join()  # at once in a copy of this process, which has no such thread
            self._thread, self._is_running = None, False
        self.report()

    def __reduce__(self) -> tuple[type[BackgroundJobs], tuple[()]]:
        """Copy without the jobs, which belong to this process."""
        return BackgroundJobs, ()

    def _run_all(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._is_running = False
                    return
                job, on_failure = self._jobs.popleft()
            try:
                job()
            except BaseException as error:
                with self._lock:
                    self._failures.append((error, on_failure))
                    self._jobs.clear()
            del job, on_failure  # and with them what the job holds
