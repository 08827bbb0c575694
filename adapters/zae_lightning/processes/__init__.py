"""Running a trainer in several processes, and bringing everything home to the one that asked."""

from .connection import ProcessEnvironment, connect
from .homecoming import adopt
from .launch import Outcome, run_in_processes
from .watch import ProcessFailed

__all__ = ["Outcome", "ProcessEnvironment", "ProcessFailed", "adopt", "connect", "run_in_processes"]
