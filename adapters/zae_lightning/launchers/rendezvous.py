"""Rendezvous: a store that holds no keys of earlier attempts, for processes that torchrun restarts."""

from __future__ import annotations

import os
import time
import uuid
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from ..protocol import World

TIMEOUT = timedelta(minutes=30)
"""How long the ranks wait for one another, as in `torch.distributed.init_process_group`."""
_KEYS = "zae-engine/rendezvous"
_POLL_SECONDS = 0.02


def shares_store_of_agent() -> bool:
    """Whether the processes of torchrun connect through the store of its agent, which outlives them."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def store_of_attempt(world: World) -> Any:
    """Return a store in which only the processes of this attempt have keys; every rank must call this.

    torchrun's agent keeps one store for all of its attempts. In it, the addresses of processes that have ended remain
    under the keys that their successors use, so that a rank that reads one before it is replaced is refused or waits.
    The number of restarts does not tell attempts apart: it does not count changes of the number of nodes, and differs
    between agents. Here rank 0 chooses a new prefix and confirms with each rank, by keys that no earlier process can
    have set, that both use it.

    Parameters
    ----------
    world : World
        The world of torchrun.

    Returns
    -------
    torch.distributed.Store
        The agent's store under a prefix of this attempt.

    Raises
    ------
    torch.distributed.DistError
        If a rank does not arrive within `TIMEOUT`.
    """
    c10d: Any = dist  # torch exports these names to users, but not to type checkers
    agent_store = c10d.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=TIMEOUT)
    store, own = c10d.PrefixStore(_KEYS, agent_store), uuid.uuid4().hex
    if world.rank == 0:
        _confirm_all(store, own, world.size)
        return c10d.PrefixStore(f"{_KEYS}/{own}", agent_store)
    store.set(f"arrived/{world.rank}", own)
    attempt = store.get(f"answer/{own}").decode()
    store.set(f"confirmed/{attempt}/{world.rank}", "")
    return c10d.PrefixStore(f"{_KEYS}/{attempt}", agent_store)


def _confirm_all(store: Any, attempt: str, size: int) -> None:
    """Answer each rank that arrives, until all have confirmed this attempt.

    The key of an arrival may be that of an earlier process, whose answer nobody reads: it is read again until the
    process of this attempt has replaced it.
    """
    deadline = time.monotonic() + TIMEOUT.total_seconds()
    pending, answered = set(range(1, size)), set()
    while pending:
        for rank in sorted(pending):
            if store.check([f"confirmed/{attempt}/{rank}"]):
                pending.remove(rank)
            elif (
                store.check([f"arrived/{rank}"]) and (process := store.get(f"arrived/{rank}").decode()) not in answered
            ):
                answered.add(process)
                store.set(f"answer/{process}", attempt)
        if pending and time.monotonic() > deadline:
            raise dist.DistStoreError(
                f"Ranks {sorted(pending)} of {size} have not arrived within {TIMEOUT.total_seconds() / 60:.0f} minutes."
            )
        if pending:
            time.sleep(_POLL_SECONDS)
