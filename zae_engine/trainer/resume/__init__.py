"""Everything of a trainer as plain values, and a trainer made again from it: what files carry from run to run."""

from .checkpoint import load_checkpoint
from .loading import load
from .plain import decode, encode
from .state import callbacks_of, finish_epoch, random_state_of_rank, random_states, restore, resume_loaders, state_of
from .underway import can_go_on, go_on, underway

__all__ = [
    "callbacks_of",
    "can_go_on",
    "decode",
    "encode",
    "finish_epoch",
    "go_on",
    "load",
    "load_checkpoint",
    "random_state_of_rank",
    "random_states",
    "restore",
    "resume_loaders",
    "state_of",
    "underway",
]
